//! ConfigMaps and Secrets from literals and files.

use super::bare;
use crate::args::{CreateData, CreateNamed, CreateSecret};
use anyhow::{Context as _, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
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
    Ok(map)
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

pub(super) fn generic(args: &CreateData) -> Result<Value> {
    Ok(secret(&args.named, args.secret_type.as_deref().unwrap_or_default(), read(args)?))
}

pub(super) fn tls(named: &CreateNamed, cert: &Path, key: &Path) -> Result<Value> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let data = [("tls.crt".to_owned(), read(cert)?), ("tls.key".to_owned(), read(key)?)];
    Ok(secret(named, "kubernetes.io/tls", data))
}

pub(super) fn docker_registry(args: &CreateSecret) -> Result<Value> {
    let CreateSecret::DockerRegistry { named, docker_server, docker_username, docker_password, docker_email } = args
    else {
        bail!("no credentials of a registry are given")
    };
    let auth = BASE64_STANDARD.encode(format!("{docker_username}:{docker_password}"));
    // The order of the fields is kubectl's, so that both make the same Secret.
    let fields =
        [("username", docker_username), ("password", docker_password), ("email", docker_email), ("auth", &auth)];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<String> =
        fields.map(|(name, value)| format!("\"{name}\":{}", Value::from(value.as_str()))).collect();
    let server = Value::from(docker_server.as_str());
    let config = format!("{{\"auths\":{{{server}:{{{}}}}}}}", fields.join(","));
    Ok(secret(named, "kubernetes.io/dockerconfigjson", [(".dockerconfigjson".to_owned(), config.into_bytes())]))
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
        data.push((key, std::fs::read(path).with_context(|| format!("read {}", path.display()))?));
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
