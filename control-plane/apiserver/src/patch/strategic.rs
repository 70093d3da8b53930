//! Strategic merge patch: a merge patch that knows which lists are merged by
//! key, plus directives (`$patch`, `$retainKeys`, `$setElementOrder/…`,
//! `$deleteFromPrimitiveList/…`). The verbs call [`strategic`]; what merges how
//! comes from the schema's `patchStrategy` and `patchMergeKey`.
//!
//! The order of merged lists follows upstream's `strategicpatch`: patched items
//! in the patch's (or `$setElementOrder`'s) order, items only the server has at
//! the places they had.

use super::Error;
use crate::schema::{self, Definition, Schema, Shape};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

const BAD_RETAIN_KEYS: &str = "invalid patch format of retainKeys";
const BAD_ELEMENT_ORDER: &str = "invalid patch format of setElementOrder list";
const BAD_PRIMITIVE_LIST: &str = "invalid patch format of primitive list";

/// Applies a strategic merge patch to an object of a kind.
///
/// # Errors
/// [`Error::Internal`] when a directive is wrong or an element lacks its merge
/// key.
pub fn strategic(definition: &str, live: &Value, patch: &Value) -> Result<Value, Error> {
    let place = schema::definition(definition).map_or(Place::Free, Place::Struct);
    let (live, patch) = (fields_of(live)?, fields_of(patch)?);
    merge_fields(live, patch, place).map(Value::Object)
}

fn fields_of(value: &Value) -> Result<Fields, Error> {
    value.as_object().cloned().ok_or_else(|| error("Invalid JSON document"))
}

fn error(text: impl Into<String>) -> Error {
    Error::Internal(text.into())
}

/// What is known about the object being merged.
#[derive(Clone, Copy)]
enum Place {
    /// Fields of a struct.
    Struct(&'static Definition),
    /// Arbitrary keys.
    Free,
}

/// How one field merges.
#[derive(Clone, Copy)]
struct Rule {
    /// Where its elements or its own fields are.
    within: Place,
    merges: bool,
    merge_key: Option<&'static str>,
}

impl Place {
    fn of(schema: &'static Schema) -> Self {
        match &schema.shape {
            Shape::Struct(id) => Self::Struct(id.get()),
            Shape::List(items) => Self::of(items),
            _ => Self::Free,
        }
    }

    fn rule(self, field: &str) -> Rule {
        let known = match self {
            Self::Struct(definition) => definition.field(field),
            Self::Free => None,
        };
        let Some(field) = known else { return Rule { within: Self::Free, merges: false, merge_key: None } };
        let merges = field.schema.has_patch_strategy("merge");
        Rule { within: Self::of(&field.schema), merges, merge_key: field.schema.patch_merge_key }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Struct(definition) => definition.short_name(),
            Self::Free => "",
        }
    }
}

fn merge_fields(mut original: Fields, mut patch: Fields, place: Place) -> Result<Fields, Error> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Fields::new()),
            _ => Err(bad_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_element_orders(&mut original, &mut patch, place)?;
    for (key, value) in patch {
        merge_field(&mut original, &key, value, place)?;
    }
    Ok(original)
}

fn bad_directive(directive: &Value, patch: &Fields) -> Error {
    error(format!("unknown patch type: {} in map: {}", go_print(directive), go_print_fields(patch)))
}

fn merge_field(original: &mut Fields, key: &str, patch: Value, place: Place) -> Result<(), Error> {
    if key.starts_with(DELETE_FROM_LIST) {
        let key = directive_target(key, BAD_PRIMITIVE_LIST)?;
        if let (Some(Value::Array(live)), Value::Array(gone)) = (original.get_mut(key), &patch) {
            live.retain(|element| !gone.contains(element));
        }
        return Ok(());
    }
    if patch.is_null() {
        original.remove(key);
        return Ok(());
    }
    let rule = place.rule(key);
    let merged = match (original.remove(key), patch) {
        (Some(Value::Object(live)), Value::Object(patch)) => {
            Some(Value::Object(merge_fields(live, patch, rule.within)?))
        }
        (Some(Value::Array(live)), Value::Array(patch)) if rule.merges => {
            Some(Value::Array(merge_list(live, patch, rule)?))
        }
        (Some(Value::Array(_)), patch @ Value::Array(_)) => Some(patch),
        (_, patch) => without_directives(without_nulls(patch)),
    };
    if let Some(merged) = merged {
        original.insert(key.to_owned(), merged);
    }
    Ok(())
}

/// `finalizers` of `$setElementOrder/finalizers`.
fn directive_target<'a>(key: &'a str, bad_format: &str) -> Result<&'a str, Error> {
    key.split_once('/').map(|(_, target)| target).ok_or_else(|| error(bad_format))
}

/// Drops what `$retainKeys` does not name.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), Error> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(retained) = directive else { return Err(error(BAD_RETAIN_KEYS)) };
    let is_retained = |key: &String| retained.iter().any(|name| name.as_str() == Some(key));
    let is_plain = |key: &String, value: &Value| {
        !value.is_null() && !key.starts_with(DELETE_FROM_LIST) && !key.starts_with(SET_ELEMENT_ORDER)
    };
    if patch.iter().any(|(key, value)| is_plain(key, value) && !is_retained(key)) {
        return Err(error(BAD_RETAIN_KEYS));
    }
    original.retain(|key, _| is_retained(key));
    Ok(())
}

/// Merges each list that has a `$setElementOrder` and takes it out of the patch.
fn set_element_orders(original: &mut Fields, patch: &mut Fields, place: Place) -> Result<(), Error> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = list(patch.remove(&directive).unwrap_or_default())?;
        let key = directive_target(&directive, BAD_ELEMENT_ORDER)?;
        let rule = place.rule(key);
        let patched = patch.get(key).cloned().map(list).transpose()?;
        let live = original.get(key).cloned().map(list).transpose()?;
        check_order(patched.as_deref().unwrap_or_default(), &order, rule)?;
        let merged = match (&live, patched) {
            (None, None) => continue,
            (Some(live), None) => live.clone(),
            (None, Some(patched)) => patched.into_iter().filter_map(without_directives).collect(),
            (Some(live), Some(patched)) if rule.merges => merge_list(live.clone(), patched, rule)?,
            (Some(_), Some(patched)) => patched,
        };
        let ordered = in_order(merged, &order, &live.unwrap_or_default(), rule.merge_key)?;
        original.insert(key.to_owned(), Value::Array(ordered));
        patch.remove(key);
    }
    Ok(())
}

fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(elements) => Ok(elements),
        other => Err(error(format!("expected a []interface {{}}, but received a {}", go_type(&other)))),
    }
}

/// The patch's own elements must come in the order that the directive gives.
fn check_order(patch: &[Value], order: &[Value], rule: Rule) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut expected = order.iter();
    for element in patch.iter().filter(|element| element.get(DIRECTIVE).is_none()) {
        let identity = identity(element, rule.merge_key)?;
        let found = loop {
            let Some(next) = expected.next() else { break false };
            if identity == self::identity(next, rule.merge_key)? {
                break true;
            }
        };
        if !found {
            let (patch, order) = (go_print_list(patch), go_print_list(order));
            return Err(error(format!(
                "The order in patch list:\n{patch}\n doesn't match {SET_ELEMENT_ORDER} list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

/// What tells an element from others: its merge key, or itself.
fn identity<'a>(element: &'a Value, merge_key: Option<&str>) -> Result<&'a Value, Error> {
    let Some(key) = merge_key else { return Ok(element) };
    let Value::Object(fields) = element else {
        return Err(error(format!("expected a map[string]interface {{}}, but received a {}", go_type(element))));
    };
    fields.get(key).ok_or_else(|| no_merge_key(fields, key))
}

fn no_merge_key(fields: &Fields, key: &str) -> Error {
    error(format!("map: {} does not contain declared merge key: {key}", go_print_fields(fields)))
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, rule: Rule) -> Result<Vec<Value>, Error> {
    let Some(first) = original.iter().chain(&patch).next() else { return Ok(original) };
    let kind = go_type(first);
    if original.iter().chain(&patch).any(|element| go_type(element) != kind) {
        let lists = format!("[{} {}]", go_print_list(&original), go_print_list(&patch));
        return Err(error(format!("list element types are not identical: {lists}")));
    }
    if !first.is_object() {
        let mut merged = original.clone();
        for element in &patch {
            if !merged.contains(element) {
                merged.push(element.clone());
            }
        }
        return in_order(merged, &patch, &original, None);
    }
    let Some(key) = rule.merge_key else {
        return Err(error(format!("cannot merge lists without merge key for {}", rule.within.name())));
    };
    let (original, patch) = apply_element_directives(original, patch, key)?;
    let merged = merge_elements(original.clone(), &patch, key, rule.within)?;
    in_order(merged, &patch, &original, rule.merge_key)
}

/// Carries out `$patch: delete` and `$patch: replace` among the elements. What
/// is left are the list to merge into and the plain elements of the patch.
fn apply_element_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut plain = Vec::new();
    let mut replace = false;
    for element in patch {
        let Some(fields) = element.as_object() else { continue };
        match fields.get(DIRECTIVE) {
            None => plain.push(element),
            Some(Value::String(directive)) if directive == "delete" => {
                let gone = fields.get(key).ok_or_else(|| no_merge_key(fields, key))?;
                original.retain(|live| live.get(key) != Some(gone));
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(error("merging lists cannot yet be specified in the patch"));
            }
            Some(directive) => return Err(bad_directive(directive, fields)),
        }
    }
    if replace { Ok((plain, Vec::new())) } else { Ok((original, plain)) }
}

fn merge_elements(mut merged: Vec<Value>, patch: &[Value], key: &str, within: Place) -> Result<Vec<Value>, Error> {
    for element in patch {
        let identity = identity(element, Some(key))?;
        let Some(index) = merged.iter().position(|live| live.get(key) == Some(identity)) else {
            merged.push(element.clone());
            continue;
        };
        let live = std::mem::take(&mut merged[index]);
        merged[index] = Value::Object(merge_fields(fields_of(&live)?, fields_of(element)?, within)?);
    }
    Ok(merged)
}

/// Puts a merged list in order: what `order` names as `order` has it, the rest
/// as `server` has it, and the two woven together by their places in `server`.
fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    merge_key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let place_in = |list: &[Value], element: &Value| -> Option<usize> {
        list.iter().position(|other| same(other, element, merge_key))
    };
    for element in merged.iter().chain(order) {
        identity(element, merge_key)?;
    }
    let (mut ours, mut theirs): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|element| place_in(order, element).is_some());
    ours.sort_by_key(|element| place_in(order, element));
    theirs.sort_by_key(|element| place_in(server, element));
    let mut woven = Vec::with_capacity(ours.len() + theirs.len());
    let mut ours = ours.into_iter().peekable();
    for their in theirs {
        let place = place_in(server, &their);
        // Ours go first unless both have places on the server and theirs is before.
        let goes_first = |our: &Value| !matches!((place, place_in(server, our)), (Some(l), Some(r)) if l < r);
        while let Some(our) = ours.next_if(|our| goes_first(our)) {
            woven.push(our);
        }
        woven.push(their);
    }
    woven.extend(ours);
    Ok(woven)
}

fn same(left: &Value, right: &Value, merge_key: Option<&str>) -> bool {
    match merge_key {
        Some(key) => left.get(key) == right.get(key),
        None => left == right,
    }
}

/// Drops nulls of objects, at any depth: there is nothing to remove.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Drops objects with directives, at any depth: there is nothing to direct.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            Some(fields.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?))).collect())
        }
        Value::Array(elements) => Some(elements.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it.
fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(elements) => go_print_list(elements),
        Value::Object(fields) => go_print_fields(fields),
        other => other.to_string(),
    }
}

fn go_print_list(elements: &[Value]) -> String {
    format!("[{}]", elements.iter().map(go_print).collect::<Vec<_>>().join(" "))
}

fn go_print_fields(fields: &Fields) -> String {
    let mut entries: Vec<(&String, &Value)> = fields.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{}", go_print(value))).collect();
    format!("map[{}]", entries.join(" "))
}

#[cfg(test)]
mod tests;
