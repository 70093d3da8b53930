//! Checks that many kinds share: numbers, label selectors, references, fields
//! that cannot change (upstream: `apimachinery/pkg/apis/meta/v1/validation` and
//! the common parts of `pkg/apis/*/validation`). Each appends what is wrong.

use super::metadata::{IMMUTABLE, invalid_shown};
use super::names;
use crate::object;
use crate::schema::{FieldError, FieldErrorKind};
use serde_json::{Map, Value};

/// What is wrong so far, in order.
pub type Errors = Vec<FieldError>;

/// What is said about a number below 0.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// One `Invalid value` for each message.
pub fn messages(field: &str, value: &str, messages: Vec<String>, errors: &mut Errors) {
    errors.extend(messages.into_iter().map(|text| FieldError::invalid(field, value, text)));
}

/// An error if the number is there and negative.
pub fn not_negative(parent: &Value, path: &str, field: &str, errors: &mut Errors) {
    if let Some(number) = parent[field].as_i64().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(format!("{path}.{field}"), number, NOT_NEGATIVE));
    }
}

/// An error if the string is absent or empty; says whether it is there.
pub fn required(parent: &Value, path: &str, field: &str, errors: &mut Errors) -> bool {
    let present = !object::str_at(parent, field).is_empty();
    if !present {
        errors.push(FieldError::required(format!("{path}.{field}"), ""));
    }
    present
}

/// An error if the string is there and none of `supported`.
pub fn one_of(parent: &Value, path: &str, field: &str, supported: &[&str], errors: &mut Errors) {
    let value = object::str_at(parent, field);
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(format!("{path}.{field}"), value, supported));
    }
}

/// An error if the string is absent, or none of `supported`.
pub fn required_one_of(parent: &Value, path: &str, field: &str, supported: &[&str], errors: &mut Errors) {
    if required(parent, path, field, errors) {
        one_of(parent, path, field, supported, errors);
    }
}

/// An error if the field differs between versions.
pub fn immutable(new: &Value, old: &Value, path: &str, field: &str, errors: &mut Errors) {
    if new[field] != old[field] {
        errors.push(FieldError::invalid(format!("{path}.{field}"), new[field].clone(), IMMUTABLE));
    }
}

/// `Not found: …`
pub fn not_found(field: impl Into<String>, value: &str) -> FieldError {
    FieldError::with_value(FieldErrorKind::NotFound, field, value.into(), "")
}

/// A port as number or name.
pub fn port_number_or_name(port: &Value, field: &str, errors: &mut Errors) {
    match port {
        Value::String(name) => messages(field, name, names::port_name(name), errors),
        number => {
            let number = number.as_i64().unwrap_or(0);
            errors.extend(names::port_number(number).into_iter().map(|text| FieldError::invalid(field, number, text)));
        }
    }
}

/// A count, or a percentage of one, that is not negative.
pub fn count_or_percent(value: &Value, field: &str, errors: &mut Errors) {
    match value {
        Value::String(text) if percent(text).is_none() => {
            errors.push(invalid_shown(field, &shown_count(value), PERCENT))
        }
        Value::Number(number) => {
            if let Some(number) = number.as_i64().filter(|number| *number < 0) {
                errors.push(FieldError::invalid(field, number, NOT_NEGATIVE));
            }
        }
        _ => {}
    }
}

/// A percentage of at most 100.
pub fn not_more_than_all(value: &Value, field: &str, errors: &mut Errors) {
    if value.as_str().and_then(percent).is_some_and(|percent| percent > 100) {
        errors.push(invalid_shown(field, &shown_count(value), "must not be greater than 100%"));
    }
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                       regex used for validation is '[0-9]+%')";

/// The number before a `%`.
pub fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// An `IntOrString` as Go's `%#v` shows it.
pub fn shown_count(value: &Value) -> String {
    match value {
        Value::String(text) => format!("intstr.IntOrString{{Type:1, IntVal:0, StrVal:{text:?}}}"),
        number => format!("intstr.IntOrString{{Type:0, IntVal:{}, StrVal:\"\"}}", number.as_i64().unwrap_or(0)),
    }
}

/// A `metav1.LabelSelector`.
pub fn label_selector(selector: &Value, path: &str, errors: &mut Errors) {
    super::metadata::labels(selector["matchLabels"].as_object(), &format!("{path}.matchLabels"), errors);
    for (index, expression) in object::list_at(selector, "matchExpressions").iter().enumerate() {
        selector_expression(expression, &format!("{path}.matchExpressions[{index}]"), errors);
    }
}

fn selector_expression(expression: &Value, path: &str, errors: &mut Errors) {
    let values = object::list_at(expression, "values");
    match object::str_at(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            format!("{path}.values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            format!("{path}.values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => {
            errors.push(FieldError::invalid(format!("{path}.operator"), operator, "not a valid selector operator"));
        }
    }
    let key = object::str_at(expression, "key");
    messages(&format!("{path}.key"), key, names::qualified_name(key), errors);
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        messages(&format!("{path}.values[{index}]"), value, names::label_value(value), errors);
    }
}

/// A `metav1.LabelSelector` as Go's `%#v` shows it.
pub fn shown_selector(selector: &Value) -> String {
    let labels = shown_map(selector["matchLabels"].as_object());
    let expressions = object::list_at(selector, "matchExpressions");
    let shown = |expression: &Value| {
        let values = expression["values"].as_array();
        format!(
            "v1.LabelSelectorRequirement{{Key:{:?}, Operator:{:?}, Values:{}}}",
            object::str_at(expression, "key"),
            object::str_at(expression, "operator"),
            values.map_or("[]string(nil)".to_owned(), |values| shown_strings(values)),
        )
    };
    let expressions = match expressions.is_empty() {
        true => "[]v1.LabelSelectorRequirement(nil)".to_owned(),
        false => {
            let shown: Vec<String> = expressions.iter().map(shown).collect();
            format!("[]v1.LabelSelectorRequirement{{{}}}", shown.join(", "))
        }
    };
    format!("v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:{expressions}}}")
}

/// A map of strings as Go's `%#v` shows it.
pub fn shown_map(map: Option<&Map<String, Value>>) -> String {
    let Some(map) = map.filter(|map| !map.is_empty()) else { return "map[string]string(nil)".to_owned() };
    let pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{key:?}:{:?}", value.as_str().unwrap_or_default())).collect();
    format!("map[string]string{{{}}}", pairs.join(", "))
}

/// A list of strings as Go's `%#v` shows it.
pub fn shown_strings(values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().map(|value| format!("{:?}", value.as_str().unwrap_or_default())).collect();
    format!("[]string{{{}}}", shown.join(", "))
}

/// An IP address of either family.
pub fn ip_address(field: &str, address: &str, errors: &mut Errors) -> bool {
    let valid = address.parse::<std::net::IpAddr>().is_ok();
    if !valid {
        errors.push(FieldError::invalid(
            field,
            address,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ));
    }
    valid
}

#[cfg(test)]
pub(crate) fn shown_errors(errors: &Errors) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn percentages_and_counts() {
        let mut errors = Errors::new();
        for value in [json!("10"), json!("25%"), json!(-1), json!(3)] {
            count_or_percent(&value, "f", &mut errors);
        }
        not_more_than_all(&json!("101%"), "f", &mut errors);
        expect![[r#"
            f: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"10"}: a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            f: Invalid value: -1: must be greater than or equal to 0
            f: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:"101%"}: must not be greater than 100%"#]]
        .assert_eq(&shown_errors(&errors));
    }

    #[test]
    fn selectors_are_checked_and_shown() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "k", "operator": "Like", "values": ["v"]}, {"key": "k", "operator": "In"}]});
        let mut errors = Errors::new();
        label_selector(&selector, "s", &mut errors);
        expect![[r#"
            s.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator
            s.matchExpressions[1].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"#]]
        .assert_eq(&shown_errors(&errors));
        expect![[r#"v1.LabelSelector{MatchLabels:map[string]string{"a":"b"}, MatchExpressions:[]v1.LabelSelectorRequirement{v1.LabelSelectorRequirement{Key:"k", Operator:"Like", Values:[]string{"v"}}, v1.LabelSelectorRequirement{Key:"k", Operator:"In", Values:[]string(nil)}}}"#]]
            .assert_eq(&shown_selector(&selector));
    }
}
