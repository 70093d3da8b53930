//! ConfigMaps and Secrets from literals and files.

use super::bare;
use crate::args::{CreateData, CreateDockerRegistry, CreateGeneric, CreateNamed};
use anyhow::{Context as _, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

pub(super) fn config_map(args: &CreateData) -> Result<Value> {
    let (mut text, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in read(args)? {
        match String::from_utf8(bytes) {
            Ok(value) => drop(text.insert(key, value.into())),
            Err(error) => drop(binary.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into())),
        }
    }
    let mut map = bare("v1", "ConfigMap", &args.named);
    for (field, data) in [("data", text), ("binaryData", binary)] {
        if !data.is_empty() {
            map[field] = data.into();
        }
    }
    Ok(hashed(map, args.append_hash))
}

fn secret(named: &CreateNamed, kind: &str, data: impl IntoIterator<Item = (String, Vec<u8>)>) -> Value {
    let data: Map<String, Value> =
        data.into_iter().map(|(key, bytes)| (key, BASE64_STANDARD.encode(bytes).into())).collect();
    let mut secret = bare("v1", "Secret", named);
    if !data.is_empty() {
        secret["data"] = data.into();
    }
    if !kind.is_empty() {
        secret["type"] = kind.into();
    }
    secret
}

pub(super) fn generic(args: &CreateGeneric) -> Result<Value> {
    let secret = secret(&args.data.named, &args.secret_type, read(&args.data)?);
    Ok(hashed(secret, args.data.append_hash))
}

pub(super) fn tls(named: &CreateNamed, cert: &Path, key: &Path, append_hash: bool) -> Result<Value> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("Cannot read file {}", path.display()));
    let data = [("tls.crt".to_owned(), read(cert)?), ("tls.key".to_owned(), read(key)?)];
    Ok(hashed(secret(named, "kubernetes.io/tls", data), append_hash))
}

pub(super) fn docker_registry(args: &CreateDockerRegistry) -> Result<Value> {
    let mut data = Vec::new();
    for source in &args.from_file {
        read_file(source, &mut data)?;
    }
    if data.is_empty() {
        data.push((".dockerconfigjson".to_owned(), docker_config(args).into_bytes()));
    }
    if !data.iter().any(|(key, _)| key == ".dockerconfigjson") {
        bail!("data[.dockerconfigjson]: Required value");
    }
    Ok(hashed(secret(&args.named, "kubernetes.io/dockerconfigjson", data), args.append_hash))
}

/// The order of the fields is kubectl's, so that both make the same Secret.
fn docker_config(args: &CreateDockerRegistry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (username, password) = (text(&args.docker_username), text(&args.docker_password));
    let auth = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let fields = [("username", username), ("password", password), ("email", args.docker_email.clone()), ("auth", auth)];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<String> = fields.map(|(name, value)| format!("\"{name}\":{}", Value::from(value))).collect();
    let server = Value::from(args.docker_server.as_str());
    format!("{{\"auths\":{{{server}:{{{}}}}}}}", fields.join(","))
}

/// Puts a hash of the content after the name, as kubectl and kustomize do.
fn hashed(mut object: Value, wanted: bool) -> Value {
    if !wanted {
        return object;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let data = if object["data"].is_null() { json!({}) } else { object["data"].clone() };
    let mut content = json!({"kind": object["kind"], "name": name, "data": data});
    for field in ["binaryData", "type"] {
        if !object[field].is_null() {
            content[field] = object[field].clone();
        }
    }
    if content["kind"] == "Secret" && content["type"].is_null() {
        content["type"] = "".into();
    }
    // Go's JSON has these letters escaped.
    let content = content.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let digest = Sha256::digest(content);
    let digits = digest.iter().take(5).flat_map(|byte| [byte >> 4, byte & 15]);
    // Letters that make no words.
    let hash: String = digits.map(|digit| char::from(b"gh2k456789mbcdtf"[usize::from(digit)])).collect();
    object["metadata"]["name"] = format!("{name}-{hash}").into();
    object
}

fn read(args: &CreateData) -> Result<Vec<(String, Vec<u8>)>> {
    let mut data = Vec::new();
    for literal in &args.from_literal {
        let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("invalid literal source {literal}, expected key=value");
        };
        data.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    for source in &args.from_file {
        read_file(source, &mut data)?;
    }
    for path in &args.from_env_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        data.extend(env_lines(&text));
    }
    let mut keys: Vec<&String> = data.iter().map(|(key, _)| key).collect();
    keys.sort();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!("cannot add key {:?}, another key by that name already exists", pair[0]),
        None => Ok(data),
    }
}

/// `[KEY=]FILE`; of a directory each file in it.
fn read_file(source: &str, data: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name_of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (key, path) = match source.split_once('=') {
        Some((key, path)) => (Some(key.to_owned()), Path::new(path)),
        None => (None, Path::new(source)),
    };
    let mut add = |key: String, path: &Path| -> Result<()> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                anyhow::anyhow!("error reading {}: no such file or directory", path.display())
            }
            _ => anyhow::anyhow!("error reading {}: {error}", path.display()),
        })?;
        data.push((key, bytes));
        Ok(())
    };
    if !path.is_dir() {
        return add(key.unwrap_or_else(|| name_of(path)), path);
    }
    if key.is_some() {
        bail!("cannot give a key name for a directory path");
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    files.iter().try_for_each(|file| add(name_of(file), file))
}

/// `KEY=VALUE` lines; `#` begins a comment, a bare `KEY` is taken from the environment.
fn env_lines(text: &str) -> Vec<(String, Vec<u8>)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| match line.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.as_bytes().to_vec())),
        None => std::env::var(line).ok().map(|value| (line.to_owned(), value.into_bytes())),
    };
    lines.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::made, *};
    use serde_json::json;

    #[test]
    fn literals_need_a_key() {
        assert!(made("create cm x --from-literal =x").is_err());
        assert_eq!(made("create cm x --from-literal a=b=c").expect("valid")["data"], json!({"a": "b=c"}));
        assert!(made("create cm x --from-literal a=1 --from-literal a=2").is_err());
    }

    #[test]
    fn secrets_are_encoded_and_typed() {
        let secret = made("create secret generic x --from-literal a=1 --type my/type").expect("valid");
        assert_eq!((&secret["data"], &secret["type"]), (&json!({"a": "MQ=="}), &json!("my/type")));
        let secret = made("create secret docker-registry x --docker-username u --docker-password p").expect("valid");
        let config = secret["data"][".dockerconfigjson"].as_str().expect("there");
        let config: Value = serde_json::from_slice(&BASE64_STANDARD.decode(config).expect("base64")).expect("JSON");
        assert_eq!(config["auths"]["https://index.docker.io/v1/"]["auth"], BASE64_STANDARD.encode("u:p"));
    }

    #[test]
    fn env_files_have_comments() {
        assert_eq!(
            env_lines("# x\n\nA=1\n  B=2=3\n"),
            [("A".to_owned(), b"1".to_vec()), ("B".to_owned(), b"2=3".to_vec())]
        );
    }
}
