//! Job: pods that run until enough of them have succeeded.

use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::defaults::{each, set, within};
use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of Jobs.
pub const RESOURCE: Resource = Resource {
    group: "batch",
    categories: &["all"],
    subresources: &[Subresource::status("Job")],
    ..Resource::new("Job", "jobs", "job", "io.k8s.api.batch.v1.Job", &Job)
};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

struct Job;

impl Strategy for Job {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
            set(spec, "completions", 1);
        }
        set(spec, "parallelism", 1);
        let retries = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
        set(spec, "backoffLimit", retries);
        set(spec, "completionMode", "NonIndexed");
        set(spec, "suspend", false);
        let failure_policy = spec.get("podFailurePolicy").is_some_and(Value::is_object);
        set(spec, "podReplacementPolicy", if failure_policy { "Failed" } else { "TerminatingOrFailed" });
        set(spec, "manualSelector", false);
        within(spec, "podFailurePolicy", |policy| {
            each(policy, "rules", |rule| each(rule, "onPodConditions", |condition| set(condition, "status", "True")));
        });
        if let Some(template) = spec.get_mut("template") {
            pod::defaults::template(template);
        }
    }

    /// The server picks a selector that no other Job has: its own UID.
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
        if object["spec"]["manualSelector"] != true {
            generate_selector(object);
        }
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        let own = object::metadata_mut(object);
        if own.get("labels").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) && labels.is_object() {
            own.insert("labels".to_owned(), labels);
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        spec(&object["spec"], "spec", &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if part == Part::Status {
            for field in ["active", "succeeded", "failed"] {
                check::not_negative(&new["status"], "status", field, &mut errors);
            }
            return errors;
        }
        errors = self.validate(new);
        let (new, old) = (&new["spec"], &old["spec"]);
        let fields = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"];
        // Only an indexed Job can be stretched, together with its parallelism.
        if new["completionMode"] != "Indexed" || new["completions"] != new["parallelism"] {
            check::immutable(new, old, "spec", "completions", &mut errors);
        }
        fields.iter().for_each(|field| check::immutable(new, old, "spec", field, &mut errors));
        if old["suspend"] != true {
            check::immutable(new, old, "spec", "template", &mut errors);
        }
        errors
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", table::number(object, "status.succeeded").to_string())]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::warnings_of_template(object)
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Status", "Running, Complete or Failed."),
                table::text("Completions", "Pods that have succeeded of those that must."),
                table::text("Duration", "From its start to its end, or until now."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (containers, images) = table::containers(&object["spec"]["template"]["spec"]);
        vec![
            table::name(object),
            json!(status(object)),
            json!(completions(object)),
            json!(duration(object, now)),
            table::age(object, now),
            containers,
            images,
            table::selector(&object["spec"]["selector"]),
        ]
    }
}

fn generate_selector(job: &mut Value) {
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    let spec = object::map_mut(job, "spec");
    let template = spec.entry("template").or_insert_with(|| json!({}));
    if !template.is_object() {
        return;
    }
    let labels = object::metadata_mut(template).entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        for (key, value) in [(NAME_LABEL, &name), ("job-name", &name), (UID_LABEL, &uid), ("controller-uid", &uid)] {
            labels.insert(key.to_owned(), json!(value));
        }
    }
    let selector = spec.entry("selector").or_insert_with(|| json!({}));
    if selector.is_object() {
        object::map_mut(selector, "matchLabels").insert(UID_LABEL.to_owned(), json!(uid));
    }
}

/// A Job's spec, or that of the template in a CronJob.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check::not_negative(spec, path, field, errors);
    }
    check::one_of(spec, path, "completionMode", &["Indexed", "NonIndexed"], errors);
    if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
        errors.push(FieldError::required(format!("{path}.completions"), "when completion mode is Indexed"));
    }
    check::label_selector(&spec["selector"], &format!("{path}.selector"), errors);
    pod::validation::template(&spec["template"], &format!("{path}.template"), errors);
    let policy = object::str_at(spec, "template.spec.restartPolicy");
    if !["OnFailure", "Never"].contains(&policy) {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(format!("{path}.template.spec.restartPolicy"), detail));
    }
}

fn status(job: &Value) -> &'static str {
    let conditions = object::list_at(job, "status.conditions");
    let has =
        |kind: &str| conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True");
    let deleted = !object::metadata_str(job, "deletionTimestamp").is_empty();
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if deleted => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = table::number(job, "status.succeeded");
    let parallelism = job["spec"]["parallelism"].as_i64().unwrap_or(0);
    match job["spec"]["completions"].as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |field: &str| object::str_at(&job["status"], field).parse::<Timestamp>().ok();
    time("startTime").map_or(String::new(), |start| {
        table::human_duration(time("completionTime").unwrap_or(now).as_second() - start.as_second())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::shown_errors;

    fn job(spec: Value) -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}});
        job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Job.default(&mut job);
        Job.prepare_for_create(&mut job);
        job
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let job = job(json!({}));
        assert_eq!(Job.validate(&job), []);
        assert_eq!(job["spec"]["selector"]["matchLabels"], json!({UID_LABEL: "u"}));
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], job["metadata"]["labels"]);
        assert_eq!(completions(&job), "0/1");
    }

    #[test]
    fn its_size_is_fixed() {
        let old = job(json!({}));
        let mut new = old.clone();
        new["spec"]["completions"] = json!(5);
        assert_eq!(
            shown_errors(&Job.validate_update(&new, &old, Part::Main)),
            "spec.completions: Invalid value: 5: field is immutable"
        );
    }
}
