//! Who may do what, asked about oneself or another (upstream:
//! `registry/authorization`).

use crate::{
    authorization::{Attributes, Decision, rule::Rule},
    http::status::{ApiError, Target},
    object,
    registry::metadata::invalid_shown,
    schema::FieldError,
    verbs::Call,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wk_platform::UserInfo;

/// `SubjectAccessReview` and its likes: whether the user may.
pub(super) async fn decide(call: &Call, review: &Value) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    validate(call, spec)?;
    let user = if call.row.kind == "SelfSubjectAccessReview" { call.user.clone() } else { subject(spec) };
    let decision = call.server.authorizer.decide(&call.server.caches, &user, &attributes(spec)).await?;
    let (allowed, reason) = match decision {
        Decision::Allowed(reason) => (true, reason),
        Decision::NoOpinion(reason) => (false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

/// `SelfSubjectRulesReview`: all that the caller may do in a namespace.
pub(super) async fn rules(call: &Call, review: &Value) -> Result<Value, ApiError> {
    let namespace = object::str_at(review, "spec.namespace");
    if namespace.is_empty() {
        return Err(ApiError::BadRequest("no namespace on request".to_owned()));
    }
    let (rules, unresolved) = call.server.authorizer.rules(&call.server.caches, &call.user, namespace).await?;
    let (paths, resources): (Vec<&Rule>, _) = rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
    let values = |rules: Vec<&Rule>| -> Vec<Value> { rules.into_iter().map(Rule::to_value).collect() };
    let mut status = json!({"resourceRules": values(resources), "nonResourceRules": values(paths), "incomplete": !unresolved.is_empty()});
    if !unresolved.is_empty() {
        status["evaluationError"] = unresolved.join(", ").into();
    }
    Ok(status)
}

fn validate(call: &Call, spec: &Value) -> Result<(), ApiError> {
    let (of_resource, of_path) = (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object());
    let mut errors: Vec<FieldError> = Vec::new();
    match (of_resource, of_path) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.push(invalid_shown(
                "spec.nonResourceAttributes",
                &object::go_map(&spec["nonResourceAttributes"]),
                why,
            ));
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(invalid_shown("spec.resourceAttributes", "null", why));
        }
        _ => {}
    }
    let nobody = object::str_at(spec, "user").is_empty() && object::list_at(spec, "groups").is_empty();
    if nobody && call.row.kind != "SelfSubjectAccessReview" {
        errors.push(FieldError::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    if call.row.kind == "LocalSubjectAccessReview" {
        let namespace = call.namespace();
        if of_path {
            errors.push(invalid_shown("spec.nonResourceAttributes", "{}", "disallowed on this kind of request"));
        } else if object::str_at(spec, "resourceAttributes.namespace") != namespace {
            let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
            return Err(ApiError::BadRequest(why));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(Target::kind(call.row, ""), errors)) }
}

fn subject(spec: &Value) -> UserInfo {
    let texts = |list: &[Value]| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let extra = spec["extra"].as_object().into_iter().flatten();
    UserInfo {
        name: object::str_at(spec, "user").to_owned(),
        uid: object::str_at(spec, "uid").to_owned(),
        groups: texts(object::list_at(spec, "groups")),
        extra: extra
            .map(|(key, values)| (key.clone(), texts(values.as_array().map(Vec::as_slice).unwrap_or_default())))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn attributes(spec: &Value) -> Attributes<'_> {
    let path = &spec["nonResourceAttributes"];
    if path.is_object() {
        let (verb, path) = (object::str_at(path, "verb"), object::str_at(path, "path"));
        return Attributes { verb, path, ..Attributes::default() };
    }
    let asked = &spec["resourceAttributes"];
    let text = |field| object::str_at(asked, field);
    Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: "",
        is_resource: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_a_resource_or_a_path() {
        let spec =
            json!({"resourceAttributes": {"verb": "get", "resource": "pods", "subresource": "log", "name": "p"}});
        let asked = attributes(&spec);
        assert!(asked.is_resource && (asked.resource, asked.subresource, asked.name) == ("pods", "log", "p"));
        let spec = json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}});
        let asked = attributes(&spec);
        assert!(!asked.is_resource && (asked.verb, asked.path) == ("get", "/metrics"));
    }

    #[test]
    fn the_user_asked_about_has_only_what_is_said() {
        let user = subject(&json!({"user": "jane", "groups": ["devs"], "extra": {"scope": ["a", "b"]}}));
        assert_eq!((user.name.as_str(), user.groups.as_slice()), ("jane", &["devs".to_owned()][..]));
        assert_eq!(user.extra["scope"], ["a", "b"]);
    }
}
