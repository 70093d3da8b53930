//! CronJob: Jobs at certain times.

use super::job;
use crate::object;
use crate::registry::check::{self, Errors};
use crate::registry::core::pod;
use crate::registry::defaults::set;
use crate::registry::table::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR};
use crate::registry::{Column, Part, Resource, Strategy, Subresource, keep_other_part, names};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Discovery facts of CronJobs.
pub const RESOURCE: Resource = Resource {
    group: "batch",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[Subresource::status("CronJob")],
    ..Resource::new("CronJob", "cronjobs", "cronjob", "io.k8s.api.batch.v1.CronJob", &CronJob)
};

/// A Job's name has eleven letters more, and becomes a label.
const NAME_MAX: usize = 52;

struct CronJob;

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        let spec = object::map_mut(object, "spec");
        set(spec, "concurrencyPolicy", "Allow");
        set(spec, "suspend", false);
        set(spec, "successfulJobsHistoryLimit", 3);
        set(spec, "failedJobsHistoryLimit", 1);
        if let Some(template) = object.pointer_mut("/spec/jobTemplate/spec/template") {
            pod::defaults::template(template);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        keep_other_part(new, old, part);
    }

    fn generation(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        let mut messages = names::dns_subdomain(name, prefix);
        if name.len() > NAME_MAX {
            messages.push(names::max_length(NAME_MAX));
        }
        messages
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let spec = &object["spec"];
        schedule(spec, &mut errors);
        check::not_negative(spec, "spec", "startingDeadlineSeconds", &mut errors);
        let policies = ["Allow", "Forbid", "Replace"];
        check::required_one_of(spec, "spec", "concurrencyPolicy", &policies, &mut errors);
        job::spec(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", &mut errors);
        check::not_negative(spec, "spec", "successfulJobsHistoryLimit", &mut errors);
        check::not_negative(spec, "spec", "failedJobsHistoryLimit", &mut errors);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                table::text("Schedule", "When, in cron's form."),
                table::text("Timezone", "Whose clock the schedule means."),
                table::boolean("Suspend", "Whether it makes no new Jobs."),
                table::integer("Active", "Jobs that are running."),
                table::text("Last Schedule", "When it made a Job last."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let job = &spec["jobTemplate"]["spec"];
        let (containers, images) = table::containers(&job["template"]["spec"]);
        let last = match object::str_at(status, "lastScheduleTime") {
            "" => table::NONE.to_owned(),
            time => table::since(time, now),
        };
        vec![
            table::name(object),
            spec["schedule"].clone(),
            json!(table::or_none(object::str_at(spec, "timeZone"))),
            json!(if spec["suspend"] == true { "True" } else { "False" }),
            json!(object::list_at(status, "active").len()),
            json!(last),
            table::age(object, now),
            containers,
            images,
            table::selector(&job["selector"]),
        ]
    }
}

const NICKNAMES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

fn schedule(spec: &Value, errors: &mut Errors) {
    let text = object::str_at(spec, "schedule");
    if text.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
        return;
    }
    if text.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid("spec.schedule", text, detail));
        return;
    }
    if let Err(detail) = parse_schedule(text) {
        errors.push(FieldError::invalid("spec.schedule", text, detail));
    }
}

/// Whether the text is a cron schedule; upstream's message if not.
fn parse_schedule(text: &str) -> Result<(), String> {
    if NICKNAMES.contains(&text) || text.starts_with("@every ") {
        return Ok(());
    }
    if text.starts_with('@') {
        return Err(format!("unrecognized descriptor: {text}"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    fields.iter().zip(bounds).try_for_each(|(field, bounds)| field.split(',').try_for_each(|part| range(part, bounds)))
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// `*`, `3`, `1-5`, each with an optional `/step`.
fn range(part: &str, (low, high): (u32, u32)) -> Result<(), String> {
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    if let Some(step) = step
        && number(step, high)? == 0
    {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if span == "*" || span == "?" {
        return Ok(());
    }
    let (start, end) = span.split_once('-').unwrap_or((span, span));
    let (start, end) = (number(start, high)?, number(end, high)?);
    match () {
        () if start < low => Err(format!("beginning of range ({start}) below minimum ({low}): {part}")),
        () if end > high => Err(format!("end of range ({end}) above maximum ({high}): {part}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}")),
        () => Ok(()),
    }
}

/// A number, or the name of a month (when the field ends at 12) or of a day (at 6).
fn number(text: &str, high: u32) -> Result<u32, String> {
    let name = text.to_lowercase();
    let place = |names: &[&str]| names.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok());
    let named = match high {
        12 => place(&MONTHS).map(|month| month + 1),
        6 => place(&DAYS),
        _ => None,
    };
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        for fine in ["*/5 * * * *", "0 0 1 1 *", "@hourly", "0 9-17 * jan,DEC mon-fri"] {
            assert_eq!(parse_schedule(fine), Ok(()), "{fine}");
        }
        for (broken, message) in [
            ("often", "expected exactly 5 fields, found 1: [often]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
        ] {
            assert_eq!(parse_schedule(broken).unwrap_err(), message);
        }
    }

    #[test]
    fn names_leave_room_for_the_time() {
        assert_eq!(CronJob.validate_name(&"a".repeat(53), false), ["must be no more than 52 characters"]);
    }
}
