//! Event (core/v1): something that happened to an object, for people.

use crate::object;
use crate::registry::table;
use crate::registry::{Column, Resource, Strategy, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Events.
pub const RESOURCE: Resource =
    Resource { short_names: &["ev"], ..Resource::new("Event", "events", "event", "io.k8s.api.core.v1.Event", &Event) };

const SELECTABLE: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

struct Event;

impl Strategy for Event {
    /// An event lies where its object lies; one about an object of the cluster
    /// lies in the namespace `default`.
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let (own, involved) = (object::namespace(object), object::str_at(object, "involvedObject.namespace"));
        let fits = own == involved || (involved.is_empty() && own == "default");
        if fits {
            return Vec::new();
        }
        vec![FieldError::invalid("involvedObject.namespace", involved, "does not match event.namespace")]
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        names::path_segment(name)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |field: &&'static str| match *field {
            "source" => first_of(object, "source.component", "reportingComponent"),
            field => object::str_at(object, field).to_owned(),
        };
        SELECTABLE.iter().map(|field| (*field, value(field))).collect()
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        SELECTABLE
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                table::text("Last Seen", "When it happened last."),
                table::text("Type", "Normal or Warning."),
                table::text("Reason", "Why, in one word."),
                table::text("Object", "What it happened to."),
                table::wide("Subobject", "Which part of that."),
                table::wide("Source", "Who says so."),
                table::text("Message", "What happened."),
                table::wide("First Seen", "When it happened first."),
                table::wide("Count", "How often it happened."),
                Column {
                    name: "Name",
                    kind: "string",
                    format: "name",
                    description: "The event's own name.",
                    priority: 1,
                },
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |path| json!(object::str_at(object, path));
        let (first, last, count) = seen(object, now);
        vec![
            json!(last),
            text("type"),
            text("reason"),
            json!(target(object)),
            text("involvedObject.fieldPath"),
            json!(source(object)),
            json!(object::str_at(object, "message").trim()),
            json!(first),
            json!(count),
            table::name(object),
        ]
    }
}

/// When it was seen first and last, and how often. A series counts for itself;
/// events of the newer API have only one time and no count.
fn seen(event: &Value, now: Timestamp) -> (String, String, i64) {
    let first = table::since(&first_of(event, "firstTimestamp", "eventTime"), now);
    if let Some(series) = event.get("series").filter(|series| series.is_object()) {
        let last = table::since(object::str_at(series, "lastObservedTime"), now);
        return (first, last, series["count"].as_i64().unwrap_or(0));
    }
    let last = object::str_at(event, "lastTimestamp");
    let last = if last.is_empty() { first.clone() } else { table::since(last, now) };
    let count = event["count"].as_i64().filter(|count| *count != 0).unwrap_or(1);
    (first, last, count)
}

fn target(event: &Value) -> String {
    let kind = object::str_at(event, "involvedObject.kind").to_lowercase();
    match object::str_at(event, "involvedObject.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> String {
    let component = first_of(event, "source.component", "reportingComponent");
    let instance = first_of(event, "source.host", "reportingInstance");
    if instance.is_empty() { component } else { format!("{component}, {instance}") }
}

fn first_of(event: &Value, path: &str, otherwise: &str) -> String {
    let first = object::str_at(event, path);
    if first.is_empty() { object::str_at(event, otherwise).to_owned() } else { first.to_owned() }
}
