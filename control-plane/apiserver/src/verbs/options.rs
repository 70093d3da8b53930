//! The options of a request: `CreateOptions`, `UpdateOptions`, `PatchOptions`,
//! `ListOptions`, `DeleteOptions`, read from the query (and, for deletions, the
//! body) and validated in upstream's words (`metav1/validation`).

use crate::{
    http::{
        query::Query,
        status::{ApiError, Target},
    },
    schema::{FieldError, FieldErrorKind, FieldValidation},
};
use http::{HeaderMap, header::USER_AGENT};
use serde::Deserialize;
use serde_json::Value;

/// The longest name of a field manager, in bytes.
const MANAGER_BYTES_MAX: usize = 128;

/// What a write may say about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// Who manages the fields written; empty when nobody can be told.
    pub field_manager: String,
    /// Whether `field_manager` was given, rather than taken from the user agent.
    pub manager_given: bool,
    /// What to do with unknown fields.
    pub validation: FieldValidation,
    /// Whether a server-side apply takes fields over; `None` when not said.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads the options of kind `kind` (`CreateOptions`…).
    ///
    /// # Errors
    /// 422 naming every option that is wrong.
    pub fn parse(kind: &str, query: &Query, headers: &HeaderMap) -> Result<Self, ApiError> {
        let manager = query.get("fieldManager");
        let mut errors = manager_errors(manager);
        errors.extend(dry_run_errors(&query.all("dryRun").collect::<Vec<_>>()));
        let (validation, error) = field_validation(query.get("fieldValidation"));
        errors.extend(error);
        if !errors.is_empty() {
            return Err(ApiError::Invalid(Target::options(kind), errors));
        }
        let manager_given = !manager.is_empty();
        let field_manager = if manager_given { manager.to_owned() } else { manager_of_agent(headers) };
        let force = query.has("force").then(|| query.flag("force"));
        Ok(Self { dry_run: query.has("dryRun"), field_manager, manager_given, validation, force })
    }
}

fn manager_errors(manager: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > MANAGER_BYTES_MAX {
        let (field, detail) = ("fieldManager".to_owned(), format!("may not be more than {MANAGER_BYTES_MAX} bytes"));
        errors.push(FieldError { kind: FieldErrorKind::TooLong, field, bad_value: None, detail });
    }
    let unprintable = manager.char_indices().find(|(_, character)| character.is_control());
    if let Some((at, character)) = unprintable {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(character));
        errors.push(FieldError::invalid("fieldManager", manager, detail));
    }
    errors
}

fn dry_run_errors(values: &[&str]) -> Vec<FieldError> {
    if values.iter().all(|value| *value == "All") {
        return Vec::new();
    }
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    let detail = format!("[]string{{{}}}: supported values: \"All\"", quoted.join(", "));
    vec![FieldError { kind: FieldErrorKind::NotSupported, field: "dryRun".to_owned(), bad_value: None, detail }]
}

fn field_validation(text: &str) -> (FieldValidation, Option<FieldError>) {
    match text {
        "" | "Warn" => (FieldValidation::Warn, None),
        "Ignore" => (FieldValidation::Ignore, None),
        "Strict" => (FieldValidation::Strict, None),
        other => {
            let known = ["", "Ignore", "Strict", "Warn"];
            (FieldValidation::Warn, Some(FieldError::not_supported("fieldValidation", other, &known)))
        }
    }
}

/// The part of the user agent before the first slash (upstream: `managerOrUserAgent`).
fn manager_of_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    name.chars().filter(|character| !character.is_control()).take(MANAGER_BYTES_MAX).collect()
}

/// How a list's `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The newest state.
    Newest,
    /// Whatever is at hand (`0`).
    Any,
    /// At least this revision.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

/// What a list or watch may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// How new the data must be. For a watch, where it starts.
    pub freshness: Freshness,
    /// At most so many items; all when `None`.
    pub limit: Option<usize>,
    /// Token of an earlier page; empty for the first.
    pub token: String,
    /// When the server ends it.
    pub timeout_seconds: Option<u64>,
    /// Whether bookmarks may be sent.
    pub bookmarks: bool,
    /// Whether a watch begins with the current state, when that is said.
    pub initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads the options of a list, or of a watch.
    ///
    /// # Errors
    /// 400 for numbers that are none, 422 for combinations that make no sense,
    /// 500 for a resource version that is none (as upstream).
    pub fn parse(query: &Query, is_watch: bool) -> Result<Self, ApiError> {
        let (limit, timeout) = (query.integer("limit")?, query.integer("timeoutSeconds")?);
        let initial_events = query.has("sendInitialEvents").then(|| query.flag("sendInitialEvents"));
        let (version, token) = (query.get("resourceVersion"), query.get("continue"));
        if let Some(error) = match_error(query, initial_events.is_some(), is_watch) {
            return Err(ApiError::invalid_option("ListOptions", error));
        }
        if !token.is_empty() && !version.is_empty() && version != "0" {
            let text = "specifying resource version is not allowed when using continue";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
        Ok(Self {
            freshness: freshness(version, query.get("resourceVersionMatch"))?,
            limit: limit.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok()),
            token: token.to_owned(),
            timeout_seconds: timeout.and_then(|seconds| u64::try_from(seconds).ok()),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
        })
    }
}

/// Upstream: `ValidateListOptions`.
fn match_error(query: &Query, initial_events: bool, is_watch: bool) -> Option<FieldError> {
    let (version, matching) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
    let forbidden = |detail: &str| Some(FieldError::forbidden("resourceVersionMatch", detail));
    if initial_events {
        return match matching {
            _ if !is_watch => {
                Some(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
            }
            "NotOlderThan" => None,
            _ => forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        };
    }
    match matching {
        "" => None,
        _ if is_watch => forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
        _ if query.has("continue") => forbidden("resourceVersionMatch is forbidden when continue is provided"),
        _ if version.is_empty() => forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        "Exact" if version == "0" => forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        "Exact" | "NotOlderThan" => None,
        other => Some(FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""])),
    }
}

fn freshness(version: &str, matching: &str) -> Result<Freshness, ApiError> {
    match version {
        "" => Ok(Freshness::Newest),
        "0" => Ok(Freshness::Any),
        text => {
            let revision = text.parse().map_err(|_| {
                let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
                ApiError::Untyped(format!("resourceVersion: Invalid value: {text:?}: {why}"))
            })?;
            Ok(if matching == "Exact" { Freshness::Exact(revision) } else { Freshness::NotOlderThan(revision) })
        }
    }
}

/// What happens to an object's dependants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// The garbage collector deletes them afterwards.
    Background,
    /// The owner waits for them.
    Foreground,
}

/// What a deletion may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Do everything but delete.
    pub dry_run: bool,
    /// Seconds to wait; the kind's default when `None`.
    pub grace_period_seconds: Option<i64>,
    /// What happens to dependants; what the finalizers say when `None`.
    pub propagation: Option<Propagation>,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only the object at this revision.
    pub resource_version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireDeleteOptions {
    dry_run: Vec<String>,
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<WirePreconditions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePreconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body when there is one, else the query.
    ///
    /// # Errors
    /// 400 when unreadable, 422 when the options contradict each other.
    pub fn parse(query: &Query, body: Option<&Value>) -> Result<Self, ApiError> {
        let wire = match body {
            Some(body) => WireDeleteOptions::deserialize(body)
                .map_err(|error| ApiError::BadRequest(format!("unable to decode DeleteOptions: {error}")))?,
            None => WireDeleteOptions::from_query(query)?,
        };
        wire.checked()
    }
}

impl WireDeleteOptions {
    fn from_query(query: &Query) -> Result<Self, ApiError> {
        let text = |name: &str| Some(query.get(name).to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            dry_run: query.all("dryRun").map(str::to_owned).collect(),
            grace_period_seconds: query.integer("gracePeriodSeconds")?,
            propagation_policy: text("propagationPolicy"),
            orphan_dependents: query.has("orphanDependents").then(|| query.flag("orphanDependents")),
            preconditions: None,
        })
    }

    fn checked(self) -> Result<DeleteOptions, ApiError> {
        let Self { dry_run, grace_period_seconds, propagation_policy, orphan_dependents, preconditions } = self;
        let mut errors = Vec::new();
        if let (Some(policy), Some(_)) = (&propagation_policy, orphan_dependents) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", policy.as_str(), detail));
        }
        let propagation = match propagation_policy.as_deref() {
            None => orphan_dependents.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", other, &known));
                None
            }
        };
        errors.extend(dry_run_errors(&dry_run.iter().map(String::as_str).collect::<Vec<_>>()));
        if !errors.is_empty() {
            return Err(ApiError::Invalid(Target::options("DeleteOptions"), errors));
        }
        let WirePreconditions { uid, resource_version } = preconditions.unwrap_or_default();
        Ok(DeleteOptions { dry_run: !dry_run.is_empty(), grace_period_seconds, propagation, uid, resource_version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str, is_watch: bool) -> Result<ListOptions, u16> {
        ListOptions::parse(&Query::parse(query), is_watch).map_err(|error| error.code().as_u16())
    }

    #[test]
    fn resource_versions_say_how_fresh() {
        let freshness = |query| list(query, false).map(|options| options.freshness);
        assert_eq!(freshness(""), Ok(Freshness::Newest));
        assert_eq!(freshness("resourceVersion=0"), Ok(Freshness::Any));
        assert_eq!(freshness("resourceVersion=7"), Ok(Freshness::NotOlderThan(7)));
        assert_eq!(freshness("resourceVersion=7&resourceVersionMatch=Exact"), Ok(Freshness::Exact(7)));
        assert_eq!(freshness("resourceVersion=x"), Err(500));
        assert_eq!(freshness("resourceVersionMatch=Exact"), Err(422));
        assert_eq!(freshness("sendInitialEvents=true"), Err(422));
        assert!(list("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", true).is_ok());
        assert_eq!(list("sendInitialEvents=true", true).err(), Some(422));
    }

    #[test]
    fn deletions_take_their_options_from_the_body_or_the_query() {
        let query = Query::parse("gracePeriodSeconds=3&propagationPolicy=Orphan");
        let options = DeleteOptions::parse(&query, None).expect("valid");
        assert_eq!((options.grace_period_seconds, options.propagation), (Some(3), Some(Propagation::Orphan)));
        let body = serde_json::json!({"preconditions": {"uid": "u"}, "orphanDependents": false});
        let options = DeleteOptions::parse(&query, Some(&body)).expect("valid");
        assert_eq!((options.uid.as_deref(), options.propagation), (Some("u"), Some(Propagation::Background)));
        assert_eq!(options.grace_period_seconds, None);
    }
}
