//! What the files of a volume say: configMap, secret, downwardAPI, and
//! projected, which is any of these together and tokens of service accounts.

use super::{Sources, payload::File, payload::Files};
use crate::{spec, translate::fields};
use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume,
            VolumeProjection,
        },
    },
};
use kube::{Api, Client, api::PostParams};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Permissions of files that name none.
const MODE: i32 = 0o644;

/// How long a token is valid that names no time (upstream's default).
const TOKEN_SECONDS: i64 = 3600;

/// The part of its life after which a token is replaced (upstream: 80 %).
const TOKEN_REFRESH_PERCENT: u32 = 80;

/// Gives tokens of service accounts.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token for the pod, and how long it is valid.
    async fn token(&self, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<(String, Duration), TokenError>;
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The API server gives none at all: the pod goes without.
    #[error("the API server gives no service account tokens")]
    Unsupported,
    /// Not now.
    #[error("{0}")]
    Failed(String),
}

/// Tokens from the `token` subresource of service accounts.
pub struct Tokens(pub Client);

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<(String, Duration), TokenError> {
        let account = spec::of(pod).service_account_name.as_deref().unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: source.audience.clone().into_iter().collect(),
                expiration_seconds: Some(source.expiration_seconds.unwrap_or(TOKEN_SECONDS)),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(spec::name(pod).to_owned()),
                    uid: Some(spec::uid(pod).to_owned()),
                }),
            },
            ..TokenRequest::default()
        };
        let failed = |error: String| TokenError::Failed(format!("failed to fetch token: {error}"));
        let api: Api<ServiceAccount> = Api::namespaced(self.0.clone(), spec::namespace(pod));
        let answer: Result<TokenRequest, _> =
            api.create_subresource("token", account, &PostParams::default(), &request).await;
        match answer {
            Ok(answer) => {
                let status = answer.status.ok_or_else(|| failed("no status".to_owned()))?;
                let seconds = answer.spec.expiration_seconds.unwrap_or(TOKEN_SECONDS);
                Ok((status.token, Duration::from_secs(u64::try_from(seconds).unwrap_or_default())))
            }
            // A missing account is a 404 with details; a missing subresource has none or is a 405.
            Err(kube::Error::Api(status)) if status.code == 405 || (status.code == 404 && !names_account(&status)) => {
                Err(TokenError::Unsupported)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn names_account(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "serviceaccounts" && !details.name.is_empty())
}

/// The files of a volume.
#[derive(Default)]
pub(super) struct Content {
    pub files: Files,
    pub refresh_at: Option<Timestamp>,
    pub warnings: Vec<String>,
}

pub(super) struct Problem {
    pub message: String,
    pub waits_for_objects: bool,
}

impl Problem {
    fn missing(message: String) -> Self {
        Self { message, waits_for_objects: true }
    }
}

/// The kind of volume in paths; `None` when it is not made of files.
pub(super) fn kind(volume: &Volume) -> Option<&'static str> {
    match volume {
        Volume { config_map: Some(_), .. } => Some("configmap"),
        Volume { secret: Some(_), .. } => Some("secret"),
        Volume { downward_api: Some(_), .. } => Some("downward-api"),
        Volume { projected: Some(_), .. } => Some("projected"),
        _ => None,
    }
}

pub(super) async fn content(volume: &Volume, sources: &Sources<'_>) -> Result<Content, Problem> {
    let mut content = Content::default();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(MODE);
        config_map(&mut content, sources, &source.name, source.items.as_deref(), source.optional, mode)?;
    } else if let Some(source) = &volume.secret {
        let (name, mode) = (source.secret_name.as_deref().unwrap_or_default(), source.default_mode.unwrap_or(MODE));
        secret(&mut content, sources, name, source.items.as_deref(), source.optional, mode)?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut content, sources, source.items.as_deref(), source.default_mode.unwrap_or(MODE))?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(MODE);
        for projection in source.sources.iter().flatten() {
            project(&mut content, sources, projection, mode).await?;
        }
    }
    Ok(content)
}

async fn project(
    content: &mut Content,
    sources: &Sources<'_>,
    projection: &VolumeProjection,
    mode: i32,
) -> Result<(), Problem> {
    if let Some(source) = &projection.config_map {
        config_map(content, sources, &source.name, source.items.as_deref(), source.optional, mode)?;
    }
    if let Some(source) = &projection.secret {
        secret(content, sources, &source.name, source.items.as_deref(), source.optional, mode)?;
    }
    if let Some(source) = &projection.downward_api {
        downward(content, sources, source.items.as_deref(), mode)?;
    }
    if let Some(source) = &projection.service_account_token {
        token(content, sources, source).await?;
    }
    if projection.cluster_trust_bundle.is_some() {
        content.warnings.push("a clusterTrustBundle source was left out: this node does not have them".to_owned());
    }
    Ok(())
}

async fn token(
    content: &mut Content,
    sources: &Sources<'_>,
    source: &ServiceAccountTokenProjection,
) -> Result<(), Problem> {
    match sources.tokens.token(sources.pod, source).await {
        Ok((token, life)) => {
            let refresh = sources.now + life * TOKEN_REFRESH_PERCENT / 100;
            content.refresh_at = Some(content.refresh_at.map_or(refresh, |known| known.min(refresh)));
            add(&mut content.files, &source.path, token.into_bytes(), 0o600);
        }
        Err(TokenError::Unsupported) => {
            content.warnings.push(format!("token {} was left out: {}", source.path, TokenError::Unsupported));
        }
        Err(TokenError::Failed(message)) => return Err(Problem { message, waits_for_objects: false }),
    }
    Ok(())
}

fn config_map(
    content: &mut Content,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<(), Problem> {
    let found = sources.references.config_map(name);
    let Some(found) = found else {
        return absent("configmap", name, optional);
    };
    let text = found.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let binary = found.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
    let data = text.chain(binary).collect();
    select(&mut content.files, data, items, optional, mode, "configmap")
}

fn secret(
    content: &mut Content,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<(), Problem> {
    let found = sources.references.secret(name);
    let Some(found) = found else {
        return absent("secret", name, optional);
    };
    let data = found.data.iter().flatten().map(|(key, ByteString(bytes))| (key.clone(), bytes.clone())).collect();
    select(&mut content.files, data, items, optional, mode, "secret")
}

fn absent(kind: &str, name: &str, optional: Option<bool>) -> Result<(), Problem> {
    if optional == Some(true) { Ok(()) } else { Err(Problem::missing(format!("{kind} {name:?} not found"))) }
}

/// All keys under their own names, or the chosen ones at their paths.
fn select(
    files: &mut Files,
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
    kind: &str,
) -> Result<(), Problem> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        data.into_iter().for_each(|(key, bytes)| add(files, &key, bytes, mode));
        return Ok(());
    };
    for item in items {
        match data.remove(&item.key) {
            Some(bytes) => {
                add(files, &item.path, bytes.clone(), item.mode.unwrap_or(mode));
                data.insert(item.key.clone(), bytes); // another item may want the same key
            }
            None if optional == Some(true) => {}
            None => return Err(Problem::missing(format!("{kind} references non-existent {kind} key: {}", item.key))),
        }
    }
    Ok(())
}

fn downward(
    content: &mut Content,
    sources: &Sources,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<(), Problem> {
    for item in items.into_iter().flatten() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(sources.pod, selector, sources.place),
            (None, Some(selector)) => fields::resource(sources.pod, "", selector, &sources.place.capacity),
            (None, None) => Ok(String::new()),
        };
        let value = value.map_err(|message| Problem { message, waits_for_objects: false })?;
        add(&mut content.files, &item.path, value.into_bytes(), item.mode.unwrap_or(mode));
    }
    Ok(())
}

fn add(files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) {
    files.insert(PathBuf::from(path), File { bytes, mode: u32::try_from(mode).unwrap_or_default() & 0o777 });
}
