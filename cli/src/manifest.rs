//! `-f` files, directories, standard input and URLs become objects, with their
//! place in the source for error messages.

use crate::args::Files;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::{
    io::Read,
    path::{Path, PathBuf},
};
use wk_apiserver::selector::Labels;

/// A manifest larger than this is refused: the API takes no object over 3 MiB.
const SOURCE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// The file, URL or `STDIN` it came from.
    pub source: String,
}

impl Manifest {
    /// `apiVersion`
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    /// `kind`
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty())
    }
}

/// Reads every object that `files` names, in order; lists are taken apart.
///
/// # Errors
/// A missing or unreadable source, invalid YAML (with file, line and column),
/// an object without `apiVersion`, `kind` or name.
pub async fn read(files: &Files) -> Result<Vec<Manifest>> {
    read_selected(files, None).await
}

/// The same, of those that have the labels.
///
/// # Errors
/// As [`read`]; also a selector that is none.
pub async fn read_selected(files: &Files, selector: Option<&str>) -> Result<Vec<Manifest>> {
    if let Some(directory) = &files.kustomize {
        bail!("kustomizations are not built in: run `kustomize build {directory} | wk apply -f -`");
    }
    let labels = Labels::parse(selector.unwrap_or_default()).map_err(|error| anyhow::anyhow!(error))?;
    let mut manifests = Vec::new();
    for name in &files.filename {
        for (source, text) in sources(name, files.recursive).await? {
            manifests.extend(parse(&source, &text)?);
        }
    }
    manifests.retain(|manifest| {
        let own = manifest.object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.matches(&own)
    });
    if manifests.is_empty() {
        bail!("no objects passed to {}", crate::args::command_word());
    }
    Ok(manifests)
}

/// The bytes of the only file, for who sends them as they are.
///
/// # Errors
/// No file or several; one that cannot be read.
pub fn raw(files: &Files) -> Result<Vec<u8>> {
    let [name] = files.filename.as_slice() else { bail!("--raw needs one -f") };
    let mut bytes = Vec::new();
    if name == "-" {
        std::io::stdin().take(SOURCE_BYTES_MAX).read_to_end(&mut bytes).context("read standard input")?;
    } else {
        let file = std::fs::File::open(name).with_context(|| format!("open {name}"))?;
        file.take(SOURCE_BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("read {name}"))?;
    }
    Ok(bytes)
}

async fn sources(name: &str, recursive: bool) -> Result<Vec<(String, String)>> {
    if name == "-" {
        let mut text = String::new();
        std::io::stdin().take(SOURCE_BYTES_MAX).read_to_string(&mut text).context("read standard input")?;
        return Ok(vec![("STDIN".to_owned(), text)]);
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(vec![(name.to_owned(), download(name).await?)]);
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!("the path {name:?} does not exist");
    }
    let paths = if path.is_dir() { directory(path, recursive)? } else { vec![path.to_owned()] };
    paths.iter().map(|path| Ok((path.display().to_string(), read_file(path)?))).collect()
}

fn read_file(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut text = String::new();
    file.take(SOURCE_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("read {}", path.display()))?;
    Ok(text)
}

/// The `.json`, `.yaml` and `.yml` files of a directory, in name order.
fn directory(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() && recursive {
            files.extend(directory(&path, recursive)?);
        } else if path.is_file() && matches!(extension, "json" | "yaml" | "yml") {
            files.push(path);
        }
    }
    Ok(files)
}

async fn download(url: &str) -> Result<String> {
    use http_body_util::BodyExt;
    let uri: http::Uri = url.parse().with_context(|| format!("parse URL {url}"))?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let client = kube::Client::try_from(kube::Config::new(origin(&uri)?)).context("make an HTTP client")?;
    let request = http::Request::get(path).body(kube::client::Body::empty()).context("make the request")?;
    let response = client.send(request).await.with_context(|| format!("download {url}"))?;
    if !response.status().is_success() {
        bail!("unable to read URL {url:?}, server reported {}", response.status());
    }
    let limited = http_body_util::Limited::new(response.into_body(), SOURCE_BYTES_MAX as usize);
    let bytes = limited.collect().await.map_err(|error| anyhow::anyhow!("download {url}: {error}"))?.to_bytes();
    String::from_utf8(bytes.to_vec()).with_context(|| format!("{url} is not UTF-8"))
}

fn origin(uri: &http::Uri) -> Result<http::Uri> {
    let authority = uri.authority().context("the URL has no host")?;
    let scheme = uri.scheme_str().unwrap_or("http");
    format!("{scheme}://{authority}").parse().context("parse the URL's host")
}

/// Reads the YAML (or JSON) documents of one source.
///
/// # Errors
/// As [`read`].
pub fn parse(source: &str, text: &str) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).map_err(|error| syntax(source, text, &error))?;
        if value.is_null() {
            continue;
        }
        flatten(source, to_json(value, source)?, &mut manifests)?;
    }
    Ok(manifests)
}

/// `error parsing FILE: line:column: …`
fn syntax(source: &str, text: &str, error: &serde_yaml::Error) -> anyhow::Error {
    // The parser of kube's configuration prints the lines around the mistake.
    let detail = serde_saphyr::from_multiple::<serde_json::Value>(text).err().map(|error| error.to_string());
    match error.location() {
        Some(at) => {
            let detail = detail.unwrap_or_else(|| error.to_string());
            anyhow::anyhow!("error parsing {source}: line {}, column {}: {detail}", at.line(), at.column())
        }
        None => anyhow::anyhow!("error parsing {source}: {error}"),
    }
}

fn to_json(mut value: serde_yaml::Value, source: &str) -> Result<Value> {
    value.apply_merge().with_context(|| format!("error parsing {source}: merge keys"))?;
    serde_json::to_value(strip_tags(value)).with_context(|| format!("error converting {source} to JSON"))
}

/// Go's YAML ignores tags it does not know; so do we.
fn strip_tags(value: serde_yaml::Value) -> serde_yaml::Value {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Tagged(tagged) => strip_tags(tagged.value),
        Yaml::Sequence(items) => Yaml::Sequence(items.into_iter().map(strip_tags).collect()),
        Yaml::Mapping(fields) => {
            Yaml::Mapping(fields.into_iter().map(|(key, value)| (string_key(key), strip_tags(value))).collect())
        }
        other => other,
    }
}

/// Map keys are strings in JSON: `80: x` is `"80": x`.
fn string_key(key: serde_yaml::Value) -> serde_yaml::Value {
    match key {
        serde_yaml::Value::Bool(value) => value.to_string().into(),
        serde_yaml::Value::Number(value) => value.to_string().into(),
        other => other,
    }
}

fn flatten(source: &str, object: Value, manifests: &mut Vec<Manifest>) -> Result<()> {
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List") && object["items"].is_array() {
        for item in object["items"].as_array().cloned().unwrap_or_default() {
            flatten(source, item, manifests)?;
        }
        return Ok(());
    }
    if kind.is_empty() {
        bail!("error validating {source:?}: error validating data: kind not set");
    }
    if object["apiVersion"].as_str().unwrap_or_default().is_empty() {
        bail!("error validating {source:?}: error validating data: apiVersion not set");
    }
    manifests.push(Manifest { object, source: source.to_owned() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n---\n";

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let manifests = parse("x.yaml", TWO).expect("valid");
        assert_eq!(manifests.iter().map(Manifest::name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn invalid_yaml_names_file_line_and_column() {
        let error = parse("bad.yaml", "apiVersion: v1\nkind: [Pod\nmetadata: {}\n").expect_err("unclosed bracket");
        assert!(error.to_string().starts_with("error parsing bad.yaml: line 3, column 9"), "{error}");
    }

    #[test]
    fn a_missing_kind_is_said() {
        let error = parse("x.yaml", "apiVersion: v1\n").expect_err("no kind");
        assert!(error.to_string().ends_with("kind not set"), "{error}");
    }

    #[test]
    fn duplicate_keys_are_refused_and_merge_keys_merged() {
        assert!(parse("x.yaml", "kind: Pod\nkind: Pod\n").is_err());
        let text = "apiVersion: v1\nkind: ConfigMap\nbase: &b {x: '1'}\ndata: {<<: *b, y: '2'}\n";
        assert_eq!(parse("x.yaml", text).expect("valid")[0].object["data"], serde_json::json!({"x": "1", "y": "2"}));
    }
}
