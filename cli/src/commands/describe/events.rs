//! What happened to an object: its recorded events, oldest first.

use super::{super::Context, page::Page};
use crate::resources::query;
use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

/// The events about `object`.
pub(super) async fn of(context: &Context, object: &Value) -> Result<Vec<Value>> {
    let metadata = &object["metadata"];
    let mut fields = format!("involvedObject.name={}", metadata["name"].as_str().unwrap_or_default());
    let namespace = metadata["namespace"].as_str();
    let uid = metadata["uid"].as_str().unwrap_or_default();
    match namespace {
        Some(namespace) => fields.push_str(&format!(",involvedObject.namespace={namespace},involvedObject.uid={uid}")),
        None => fields.push_str(&format!(",involvedObject.kind={}", object["kind"].as_str().unwrap_or_default())),
    }
    let path = match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    };
    let mut list = context.rest.get(&format!("{path}{}", query(&[("fieldSelector", &fields)]))).await?;
    let mut events = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    // By this field alone, as kubectl does: events of the newer API, which have none, come first.
    events.sort_by_key(|event| timestamp(&event["lastTimestamp"]));
    Ok(events)
}

/// When it happened last.
pub(in super::super) fn last_seen(event: &Value) -> Option<Timestamp> {
    ["lastTimestamp", "eventTime", "firstTimestamp"].iter().find_map(|field| timestamp(&event[*field]))
}

/// When it happened first.
pub(in super::super) fn first_seen(event: &Value) -> Option<Timestamp> {
    ["firstTimestamp", "eventTime"].iter().find_map(|field| timestamp(&event[*field]))
}

/// An RFC 3339 time.
pub(super) fn timestamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Writes the table of events.
pub(super) fn describe(page: &mut Page, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        return page.line(0, "Events", "<none>");
    }
    page.heading(0, "Events");
    let headings = ["Type", "Reason", "Age", "From", "Message"].map(str::to_owned).to_vec();
    let rules = headings.iter().map(|heading| "-".repeat(heading.len().max(4))).collect();
    let mut rows = vec![headings, rules];
    rows.extend(events.iter().map(|event| row(event, now)));
    page.table(1, &rows);
}

fn row(event: &Value, now: Timestamp) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let count = event["count"].as_i64().or_else(|| event["series"]["count"].as_i64()).unwrap_or(1);
    let last = age(last_seen(event), now);
    let seen = if count > 1 { format!("{last} (x{count} over {})", age(first_seen(event), now)) } else { last };
    let from = Some(text(&event["source"]["component"])).filter(|from| !from.is_empty());
    let from = from.unwrap_or_else(|| text(&event["reportingComponent"]));
    vec![text(&event["type"]), text(&event["reason"]), seen, from, text(&event["message"]).trim().to_owned()]
}

/// Time passed, as kubectl shortens it (`apimachinery/pkg/util/duration`).
pub(in super::super) fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(then).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_are_shortened_as_kubectl_does() {
        let now = Timestamp::from_second(10_000_000).expect("valid");
        let ago = |seconds: i64| age(Timestamp::from_second(10_000_000 - seconds).ok(), now);
        assert_eq!(
            [5, 119, 125, 600, 7_260, 10_860, 90_000, 180_000].map(ago),
            ["5s", "119s", "2m5s", "10m", "121m", "3h1m", "25h", "2d2h"]
        );
        assert_eq!(age(None, now), "<unknown>");
    }

    #[test]
    fn repeated_events_are_counted() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("valid");
        let event = json!({"type": "Warning", "reason": "BackOff", "count": 3, "message": "m\n", "source": {"component": "kubelet"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:50Z"});
        assert_eq!(row(&event, now), ["Warning", "BackOff", "10s (x3 over 60s)", "kubelet", "m"]);
    }
}
