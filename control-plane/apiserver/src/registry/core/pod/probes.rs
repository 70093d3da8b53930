//! What is wrong with probes and lifecycle hooks. Called by the validation of
//! containers.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::names;
use crate::schema::FieldError;
use serde_json::Value;

/// One of the three probes, by the name of its field.
pub(super) fn validate(kind: &str, probe: &Value, path: &str, errors: &mut Errors) {
    let own_period = probe["terminationGracePeriodSeconds"].as_i64();
    handler(probe, None, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        check::not_negative(probe, path, field, errors);
    }
    let field = format!("{path}.terminationGracePeriodSeconds");
    if let Some(seconds) = own_period.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(field.as_str(), seconds, "must be greater than 0"));
    }
    if kind == "readinessProbe" {
        if let Some(seconds) = own_period {
            errors.push(FieldError::invalid(field, seconds, "must not be set for readinessProbes"));
        }
        return;
    }
    let successes = probe["successThreshold"].as_i64().unwrap_or(0);
    if successes != 1 {
        errors.push(FieldError::invalid(format!("{path}.successThreshold"), successes, "must be 1"));
    }
}

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Exactly one way to do it. `grace_period_seconds` bounds how long a hook sleeps.
pub(super) fn handler(handler: &Value, grace_period_seconds: Option<i64>, path: &str, errors: &mut Errors) {
    let mut kinds = HANDLERS.into_iter().filter(|kind| handler[*kind].is_object());
    let Some(first) = kinds.next() else {
        errors.push(FieldError::required(path, "must specify a handler type"));
        return;
    };
    action(first, &handler[first], grace_period_seconds, &format!("{path}.{first}"), errors);
    for other in kinds {
        errors.push(FieldError::forbidden(format!("{path}.{other}"), "may not specify more than 1 handler type"));
    }
}

fn action(kind: &str, action: &Value, grace_period_seconds: Option<i64>, path: &str, errors: &mut Errors) {
    match kind {
        "exec" if object::list_at(action, "command").is_empty() => {
            errors.push(FieldError::required(format!("{path}.command"), ""));
        }
        "httpGet" => http_get(action, path, errors),
        "tcpSocket" | "grpc" => check::port_number_or_name(&action["port"], &format!("{path}.port"), errors),
        "sleep" => {
            let seconds = action["seconds"].as_i64().unwrap_or(0);
            if let Some(limit) = grace_period_seconds.filter(|limit| seconds < 1 || seconds > *limit) {
                let detail = format!("must be greater than 0 and less than terminationGracePeriodSeconds ({limit})");
                errors.push(FieldError::invalid(path, seconds, detail));
            }
        }
        _ => {}
    }
}

fn http_get(action: &Value, path: &str, errors: &mut Errors) {
    check::required(action, path, "path", errors);
    check::port_number_or_name(&action["port"], &format!("{path}.port"), errors);
    check::one_of(action, path, "scheme", &["HTTP", "HTTPS"], errors);
    for header in object::list_at(action, "httpHeaders") {
        let name = object::str_at(header, "name");
        check::messages(&format!("{path}.httpHeaders"), name, names::http_header_name(name), errors);
    }
}
