//! Every failure of a request and the `metav1.Status` it becomes: the only place
//! that knows upstream's reasons, codes and frames of text
//! (`apimachinery/pkg/api/errors`). Called by the router for each answer that is
//! an error, and by watches for their ERROR event.

use crate::{admission::Cause, patch::ConflictCause, registry::Resource, schema::FieldError};
use http::StatusCode;
use serde_json::{Map, Value, json};
use wk_store as store;

/// Why a request failed.
#[derive(Debug, Clone)]
pub enum ApiError {
    /// The object does not exist.
    NotFound(Target),
    /// An object of that name exists.
    AlreadyExists(Target),
    /// The object is not in the state that the request is for; the text says why.
    Conflict(Target, String),
    /// A server-side apply met fields of other managers.
    ApplyConflict {
        /// One per field.
        causes: Vec<ConflictCause>,
        /// The whole message.
        message: String,
    },
    /// The object breaks rules; `target.resource` is the kind.
    Invalid(Target, Vec<FieldError>),
    /// The user may not, or admission does not let it; `name` may be empty.
    Forbidden(Target, String, Option<Box<Cause>>),
    /// The user may not use a path that is no resource.
    ForbiddenPath(String),
    /// The request makes no sense.
    BadRequest(String),
    /// The credentials are not valid.
    Unauthorized,
    /// The path has no such method.
    MethodNotAllowed,
    /// The path is under a known API, but is nothing there.
    NoSuchResource,
    /// No known path; answered in plain text.
    NoSuchPath,
    /// None of the accepted forms can be given. The details are present when
    /// the router refuses and absent when the serialiser does.
    NotAcceptable(String, Details),
    /// The body's form is not understood.
    UnsupportedMediaType(String, Details),
    /// The body is too large; the limit in bytes.
    TooLarge(usize),
    /// The patch cannot be applied to the object.
    Unprocessable,
    /// The revision or continue token is no longer known.
    Expired(String),
    /// As [`ApiError::Expired`], with a token to go on inconsistently.
    ContinueExpired(String),
    /// The revision asked for has not been reached in time.
    FutureRevision {
        /// What the client asked for.
        asked: u64,
        /// Where the server is.
        current: u64,
    },
    /// The request took too long.
    Timeout(String),
    /// A disruption budget holds; retry after the seconds given.
    TooManyRequests {
        /// What holds the request back.
        message: String,
        /// The budget's own words.
        cause: String,
        /// When to ask again.
        retry_after_seconds: Option<u32>,
    },
    /// The store cannot write now.
    Unavailable(String),
    /// An error that upstream passes on without a reason (code 500).
    Untyped(String),
    /// Our fault.
    Internal(String),
}

/// Whether a Status of the router has an empty `details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Details {
    /// `details: {}`
    Empty,
    /// No `details`.
    Absent,
}

/// What a message is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for core.
    pub group: String,
    /// Plural resource, or the kind for [`ApiError::Invalid`].
    pub resource: String,
    /// Object name; may be empty.
    pub name: String,
}

impl Target {
    /// The object `name` of `row`'s resource.
    pub fn object(row: &Resource, name: &str) -> Self {
        Self { group: row.group.to_owned(), resource: row.plural.to_owned(), name: name.to_owned() }
    }

    /// The object `name`, told by kind, as validation errors do.
    pub fn kind(row: &Resource, name: &str) -> Self {
        Self { group: row.group.to_owned(), resource: row.kind.to_owned(), name: name.to_owned() }
    }

    /// Options of a request (`DeleteOptions.meta.k8s.io ""`).
    pub fn options(kind: &str) -> Self {
        Self { group: "meta.k8s.io".to_owned(), resource: kind.to_owned(), name: String::new() }
    }

    /// `pods` or `deployments.apps`
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        let fields = [("name", &self.name), ("group", &self.group), ("kind", &self.resource)];
        for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            details.insert(field.to_owned(), json!(value));
        }
        details
    }
}

/// What a Status says besides its constant parts.
struct Parts {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Map<String, Value>>,
}

impl Parts {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(self, target: &Target) -> Self {
        Self { details: Some(target.details()), ..self }
    }

    fn details(self, details: Details) -> Self {
        match details {
            Details::Empty => Self { details: Some(Map::new()), ..self },
            Details::Absent => self,
        }
    }

    fn with_cause(self, cause: Option<&Cause>) -> Self {
        let Some(Cause { reason, message, field }) = cause else { return self };
        self.with("causes", json!([{"reason": reason, "message": message, "field": field}]))
    }

    fn with_retry(self, seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => self.with("retryAfterSeconds", json!(seconds)),
            None => self,
        }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.details.get_or_insert_default().insert(field.to_owned(), value);
        self
    }
}

/// The text for an update that lost a race (upstream: `OptimisticLockErrorMsg`).
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl ApiError {
    /// The error of an update whose base has changed.
    pub fn modified(row: &Resource, name: &str) -> Self {
        Self::Conflict(Target::object(row, name), MODIFIED.to_owned())
    }

    /// The error of one invalid option of a request.
    pub fn invalid_option(kind: &str, error: FieldError) -> Self {
        Self::Invalid(Target::options(kind), vec![error])
    }

    /// The HTTP code.
    pub fn code(&self) -> StatusCode {
        StatusCode::from_u16(self.parts().code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Seconds for a `Retry-After` header.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::TooManyRequests { retry_after_seconds, .. } => *retry_after_seconds,
            Self::FutureRevision { .. } | Self::Unavailable(_) => Some(1),
            _ => None,
        }
    }

    /// The `metav1.Status`.
    pub fn status(&self) -> Value {
        let Parts { code, reason, message, details } = self.parts();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if let Self::ContinueExpired(token) = self {
            status["metadata"] = json!({"continue": token});
        }
        if let Some(details) = details {
            status["details"] = Value::Object(details);
        }
        status
    }

    fn parts(&self) -> Parts {
        match self {
            Self::NotFound(target) => {
                Parts::new(404, "NotFound", format!("{} {:?} not found", target.qualified(), target.name)).about(target)
            }
            Self::AlreadyExists(target) => {
                let message = format!("{} {:?} already exists", target.qualified(), target.name);
                Parts::new(409, "AlreadyExists", message).about(target)
            }
            Self::Conflict(target, why) => {
                let what = format!("{} {:?}", target.qualified(), target.name);
                Parts::new(409, "Conflict", format!("Operation cannot be fulfilled on {what}: {why}")).about(target)
            }
            Self::ApplyConflict { causes, message } => apply_conflict(causes, message),
            Self::Invalid(target, errors) => invalid(target, errors),
            Self::Forbidden(target, why, cause) => {
                let parts = Parts::new(403, "Forbidden", forbidden(target, why)).about(target);
                parts.with_cause(cause.as_deref())
            }
            Self::ForbiddenPath(why) => {
                Parts::new(403, "Forbidden", format!("forbidden: {why}")).details(Details::Empty)
            }
            Self::BadRequest(message) => Parts::new(400, "BadRequest", message),
            Self::Unauthorized => Parts::new(401, "Unauthorized", "Unauthorized"),
            Self::MethodNotAllowed => {
                let message = "the server does not allow this method on the requested resource";
                Parts::new(405, "MethodNotAllowed", message).details(Details::Empty)
            }
            Self::NoSuchResource | Self::NoSuchPath => {
                let message = "the server could not find the requested resource";
                Parts::new(404, "NotFound", message).details(Details::Empty)
            }
            Self::NotAcceptable(message, details) => Parts::new(406, "NotAcceptable", message).details(*details),
            Self::UnsupportedMediaType(message, details) => {
                Parts::new(415, "UnsupportedMediaType", message).details(*details)
            }
            Self::TooLarge(limit) => {
                Parts::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
            }
            Self::Unprocessable => {
                let message = "the server rejected our request due to an error in our request";
                Parts::new(422, "Invalid", message).details(Details::Empty)
            }
            Self::Expired(message) => Parts::new(410, "Expired", message),
            Self::ContinueExpired(_) => Parts::new(410, "Expired", CONTINUE_EXPIRED),
            Self::FutureRevision { asked, current } => future_revision(*asked, *current),
            Self::Timeout(message) => Parts::new(504, "Timeout", format!("Timeout: {message}")).details(Details::Empty),
            Self::TooManyRequests { message, cause, retry_after_seconds } => {
                let cause = json!([{"reason": "DisruptionBudget", "message": cause}]);
                let parts = Parts::new(429, "TooManyRequests", message).with("causes", cause);
                parts.with_retry(*retry_after_seconds)
            }
            Self::Unavailable(message) => Parts::new(503, "ServiceUnavailable", message).with_retry(Some(1)),
            Self::Untyped(message) => Parts::new(500, "", message),
            Self::Internal(message) => {
                let causes = json!([{"message": message}]);
                Parts::new(500, "InternalError", format!("Internal error occurred: {message}")).with("causes", causes)
            }
        }
    }
}

/// What a list says when its continue token is older than what is kept.
const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to \
    retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - \
    objects that were created, modified, or deleted between the time the first chunk was returned and now may \
    show up in the list.";

fn future_revision(asked: u64, current: u64) -> Parts {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    Parts::new(504, "Timeout", message).with("causes", causes).with_retry(Some(1))
}

fn forbidden(target: &Target, why: &str) -> String {
    match (target.resource.is_empty(), target.name.is_empty()) {
        (true, _) => format!("forbidden: {why}"),
        (false, true) => format!("{} is forbidden: {why}", target.qualified()),
        (false, false) => format!("{} {:?} is forbidden: {why}", target.qualified(), target.name),
    }
}

fn apply_conflict(causes: &[ConflictCause], message: &str) -> Parts {
    let cause = |cause: &ConflictCause| json!({"reason": "FieldManagerConflict", "message": cause.message, "field": cause.field});
    Parts::new(409, "Conflict", message).with("causes", causes.iter().map(cause).collect())
}

fn invalid(target: &Target, errors: &[FieldError]) -> Parts {
    let causes: Vec<Value> = errors
        .iter()
        .map(|error| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field}))
        .collect();
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let list = if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) };
    let message = format!("{} {:?} is invalid: {list}", target.qualified(), target.name);
    let parts = Parts::new(422, "Invalid", message).about(target);
    if causes.is_empty() { parts } else { parts.with("causes", Value::Array(causes)) }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Expired { .. } => {
                Self::Expired("The resourceVersion for the provided list is too old.".to_owned())
            }
            store::Error::Future { asked, newest } => Self::FutureRevision { asked: asked.0, current: newest.0 },
            // As upstream passes on etcd's "database space exceeded": no client repeats
            // it, and the person reads what is wrong.
            store::Error::NoSpace(_) => Self::Untyped(error.to_string()),
            store::Error::Unavailable(_) | store::Error::Closed => Self::Unavailable(error.to_string()),
            store::Error::Conflict { .. } | store::Error::NotFound(_) | store::Error::Corrupt(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Target {
        Target { group: String::new(), resource: "pods".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_lost_race_reads_as_upstream_has_it() {
        let status = ApiError::Conflict(pod("x"), MODIFIED.to_owned()).status();
        let text = "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your \
                    changes to the latest version and try again";
        assert_eq!((status["message"].as_str(), status["code"].as_u64()), (Some(text), Some(409)));
        assert_eq!(status["details"], json!({"kind": "pods", "name": "x"}));
    }

    #[test]
    fn several_causes_are_listed_and_the_same_text_is_said_once() {
        let twice = FieldError::required("spec.a", "");
        let errors = vec![twice.clone(), twice, FieldError::required("spec.b", "why")];
        let status = ApiError::Invalid(Target { group: "apps".into(), ..pod("x") }, errors).status();
        let text = "pods.apps \"x\" is invalid: [spec.a: Required value, spec.b: Required value: why]";
        assert_eq!(status["message"], text);
        assert_eq!(status["details"]["causes"].as_array().map(Vec::len), Some(3));
    }
}
