//! `wk create`: objects from files or from flags; fails when they exist.

use super::{Context, apply::resource_of};
use crate::{
    args::{Create, Files},
    manifest, output,
    resources::query,
};
use anyhow::{Context as _, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

pub(super) async fn run(context: &Context, args: &Create) -> Result<()> {
    match args {
        Create::File { filename } => from_files(context, filename).await,
        Create::Deployment { name, image, replicas, port, command } => {
            let object = deployment(name, image, *replicas, *port, command);
            create(context, "deployments.apps", object).await
        }
        Create::Namespace { name } => {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            create(context, "namespaces", object).await
        }
        Create::Configmap { name, from_literal, from_file } => {
            let (data, binary) = split_binary(read_data(from_literal, from_file)?);
            let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
            if !binary.is_empty() {
                object["binaryData"] = binary.into();
            }
            create(context, "configmaps", object).await
        }
        Create::Secret { kind, name, from_literal, from_file } => {
            if kind != "generic" {
                bail!("unknown kind of secret {kind:?}; this version creates generic ones");
            }
            let data = read_data(from_literal, from_file)?;
            let data: Map<String, Value> =
                data.into_iter().map(|(key, bytes)| (key, BASE64_STANDARD.encode(bytes).into())).collect();
            let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": data});
            create(context, "secrets", object).await
        }
    }
}

async fn from_files(context: &Context, filename: &[String]) -> Result<()> {
    let files = Files { filename: filename.to_vec(), recursive: false };
    let discovery = context.discovery().await?;
    let mut failures = Vec::new();
    for manifest in manifest::read(&files).await? {
        let resource = resource_of(&discovery, &manifest)?;
        let namespace = context.namespace_of(resource, manifest.namespace())?;
        match post(context, resource, namespace, &manifest.object).await {
            Ok(()) => {}
            Err(error) => failures.push(error),
        }
    }
    super::apply::first_failure(failures)
}

async fn create(context: &Context, resource: &str, object: Value) -> Result<()> {
    let discovery = context.discovery().await?;
    let resource = discovery.find(resource)?;
    post(context, resource, context.namespace(), &object).await
}

async fn post(
    context: &Context,
    resource: &crate::resources::ResourceType,
    namespace: &str,
    object: &Value,
) -> Result<()> {
    let parameters = query(&[("fieldManager", "wk-create"), ("fieldValidation", "Strict")]);
    let path = format!("{}{parameters}", resource.collection(Some(namespace)));
    let created = context.rest.create(&path, object).await?;
    output::line(format_args!("{} created", resource.display(super::name_of(&created))))
}

/// The Deployment that `kubectl create deployment` makes.
fn deployment(name: &str, images: &[String], replicas: i32, port: Option<u16>, command: &[String]) -> Value {
    let containers: Vec<Value> = images.iter().map(|image| container(image, port, command)).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        },
    })
}

fn container(image: &str, port: Option<u16>, command: &[String]) -> Value {
    let mut container = json!({"name": container_name(image), "image": image});
    if let Some(port) = port {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    container
}

/// The last part of an image's name, without tag and digest, as a name.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split(['@', ':']).next().unwrap_or(last);
    bare.to_lowercase().replace(['_', '.'], "-")
}

fn read_data(literals: &[String], files: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut data = Vec::new();
    for literal in literals {
        let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("invalid literal source {literal}, expected key=value");
        };
        data.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    for file in files {
        let (key, path) = match file.split_once('=') {
            Some((key, path)) => (key.to_owned(), path),
            None => (file.rsplit('/').next().unwrap_or(file).to_owned(), file.as_str()),
        };
        data.push((key, std::fs::read(path).with_context(|| format!("read {path}"))?));
    }
    Ok(data)
}

/// Text goes into `data`, anything else into `binaryData`.
fn split_binary(data: Vec<(String, Vec<u8>)>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut text, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in data {
        match String::from_utf8(bytes) {
            Ok(value) => drop(text.insert(key, value.into())),
            Err(error) => drop(binary.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into())),
        }
    }
    (text, binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_after_its_image() {
        assert_eq!(container_name("localhost:5000/kiamol/ch02-hello:v1@sha256:abc"), "ch02-hello");
    }

    #[test]
    fn literals_need_a_key() {
        assert!(read_data(&["=x".to_owned()], &[]).is_err());
        assert_eq!(read_data(&["a=b=c".to_owned()], &[]).expect("valid"), [("a".to_owned(), b"b=c".to_vec())]);
    }
}
