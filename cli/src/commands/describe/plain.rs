//! Objects that no controller runs: ConfigMaps, Secrets, Namespaces, service
//! accounts, roles and their bindings, disruption budgets.

use super::page::{self, Page, pairs, text};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::collections::BTreeSet;

fn entries(map: &Value) -> impl Iterator<Item = (&String, &str)> {
    map.as_object().into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// Bytes behind text in base64; of text that is none, its own.
fn size(encoded: &str) -> usize {
    BASE64_STANDARD.decode(encoded).map_or(encoded.len(), |bytes| bytes.len())
}

fn head(page: &mut Page, object: &Value) {
    page::metadata(page, object);
    page::labels(page, object);
}

pub(super) fn config_map(page: &mut Page, map: &Value) {
    head(page, map);
    page.raw(0, "\nData\n====");
    for (key, value) in entries(&map["data"]) {
        page.raw(0, &format!("{key}:\n----\n{value}\n"));
    }
    page.raw(0, "\nBinaryData\n====");
    for (key, value) in entries(&map["binaryData"]) {
        page.raw(0, &format!("{key}: {} bytes", size(value)));
    }
    page.raw(0, "");
}

pub(super) fn secret(page: &mut Page, secret: &Value) {
    head(page, secret);
    page.raw(0, "");
    page.line(0, "Type", text(&secret["type"]));
    page.raw(0, "\nData\n====");
    for (key, value) in entries(&secret["data"]) {
        let shown = match BASE64_STANDARD.decode(value) {
            // A token is shown, as it is made to be handed out.
            Ok(token) if secret["type"] == "kubernetes.io/service-account-token" && key == "token" => {
                String::from_utf8_lossy(&token).into_owned()
            }
            _ => format!("{} bytes", size(value)),
        };
        page.line(0, key, shown);
    }
}

/// `quotas` and `limits` are `None` when the server does not have such a kind.
pub(super) fn namespace(page: &mut Page, namespace: &Value, quotas: Option<&[Value]>, limits: Option<&[Value]>) {
    head(page, namespace);
    page.line(0, "Status", text(&namespace["status"]["phase"]));
    match quotas {
        None => {}
        Some([]) => page.raw(0, "\nNo resource quota."),
        Some(quotas) => {
            page.raw(0, "\nResource Quotas");
            quotas.iter().for_each(|quota| self::quota(page, quota));
        }
    }
    match limits {
        None => {}
        Some([]) => page.raw(0, "\nNo LimitRange resource."),
        Some(limits) => limit_ranges(page, limits),
    }
}

/// The columns of a LimitRange's items; a map each.
const LIMITS: [&str; 5] = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];

fn limit_ranges(page: &mut Page, ranges: &[Value]) {
    page.raw(0, "\nResource Limits");
    let header = ["Type", "Resource", "Min", "Max", "Default Request", "Default Limit", "Max Limit/Request Ratio"];
    let line = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![line(header), line(header.map(|name| &"-----------------------"[..name.len()]))];
    for item in ranges.iter().filter_map(|range| range["spec"]["limits"].as_array()).flatten() {
        let names: BTreeSet<&str> =
            LIMITS.iter().flat_map(|map| entries(&item[*map])).map(|(name, _)| name.as_str()).collect();
        for name in names {
            let bound = |map: &str| item[map][name].as_str().unwrap_or("-").to_owned();
            let mut row = vec![text(&item["type"]), name.to_owned()];
            row.extend(LIMITS.map(bound));
            rows.push(row);
        }
    }
    for first in rows.iter_mut().filter_map(|row| row.first_mut()) {
        first.insert(0, ' ');
    }
    page.table(0, &rows);
}

fn quota(page: &mut Page, quota: &Value) {
    page.line(1, "Name", text(&quota["metadata"]["name"]));
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["Resource", "Used", "Hard"]), row(["--------", "---", "---"])];
    for (resource, hard) in entries(&quota["status"]["hard"]) {
        rows.push(row([resource, quota["status"]["used"][resource].as_str().unwrap_or_default(), hard]));
    }
    page.table(1, &rows);
}

pub(super) fn service_account(page: &mut Page, account: &Value) {
    head(page, account);
    let names = |field: &str| -> Vec<String> {
        let list = account[field].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|reference| text(&reference["name"])).collect()
    };
    page.lines(0, "Image pull secrets", &names("imagePullSecrets"));
    page.lines(0, "Mountable secrets", &names("secrets"));
    page.line(0, "Tokens", "<none>");
}

pub(super) fn role(page: &mut Page, role: &Value) {
    page.line(0, "Name", text(&role["metadata"]["name"]));
    page::labels(page, role);
    page.heading(0, "PolicyRule");
    let row = |cells: [String; 4]| cells.to_vec();
    let headings = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"];
    let mut rows = vec![row(headings.map(str::to_owned)), row(headings.map(|heading| "-".repeat(heading.len())))];
    for rule in role["rules"].as_array().into_iter().flatten() {
        let list = |field: &str| -> Vec<String> { rule[field].as_array().into_iter().flatten().map(text).collect() };
        let all = |field: &str| format!("[{}]", list(field).join(" "));
        let (urls, names, verbs) = (all("nonResourceURLs"), all("resourceNames"), all("verbs"));
        let mut resources: Vec<String> = Vec::new();
        for group in rule["apiGroups"].as_array().into_iter().flatten() {
            let group = group.as_str().filter(|group| !group.is_empty()).map(|group| format!(".{group}"));
            resources.extend(list("resources").iter().map(|resource| qualified(resource, group.as_deref())));
        }
        if resources.is_empty() {
            resources.push(String::new());
        }
        rows.extend(resources.into_iter().map(|resource| row([resource, urls.clone(), names.clone(), verbs.clone()])));
    }
    // As upstream sorts rules: by their text, brackets and all.
    rows[2..].sort_by_cached_key(|row| (row[3].clone(), format!("[{}]", row[0]), row[2].clone(), row[1].clone()));
    page.table(1, &rows);
}

/// `deployments.apps/scale`
fn qualified(resource: &str, group: Option<&str>) -> String {
    let group = group.unwrap_or_default();
    match resource.split_once('/') {
        Some((resource, part)) => format!("{resource}{group}/{part}"),
        None => format!("{resource}{group}"),
    }
}

pub(super) fn binding(page: &mut Page, binding: &Value) {
    page.line(0, "Name", text(&binding["metadata"]["name"]));
    page::labels(page, binding);
    page.heading(0, "Role");
    page.line(1, "Kind", text(&binding["roleRef"]["kind"]));
    page.line(1, "Name", text(&binding["roleRef"]["name"]));
    page.heading(0, "Subjects");
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["Kind", "Name", "Namespace"]), row(["----", "----", "---------"])];
    for subject in binding["subjects"].as_array().into_iter().flatten() {
        rows.push(row(["kind", "name", "namespace"].map(|field| subject[field].as_str().unwrap_or_default())));
    }
    page.table(1, &rows);
}

pub(super) fn budget(page: &mut Page, budget: &Value) {
    let (spec, status) = (&budget["spec"], &budget["status"]);
    page::metadata(page, budget);
    for (label, field) in [("Min available", "minAvailable"), ("Max unavailable", "maxUnavailable")] {
        if !spec[field].is_null() {
            page.line(0, label, text(&spec[field]));
        }
    }
    page.line(0, "Selector", pairs(&spec["selector"]["matchLabels"], "=").join(","));
    page.heading(0, "Status");
    for (label, field) in [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ] {
        page.line(2, label, status[field].as_i64().unwrap_or(0).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_shows_sizes_only() {
        let mut page = Page::default();
        secret(&mut page, &json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "aHVzaA=="}}));
        let told = page.finish();
        assert!(told.contains("password:  4 bytes") && !told.contains("hush") && !told.contains("aHVz"), "{told}");
    }

    #[test]
    fn a_roles_rules_are_one_row_per_resource() {
        let mut page = Page::default();
        let rules = json!([{"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["get", "list"]}]);
        role(&mut page, &json!({"metadata": {"name": "r"}, "rules": rules}));
        let told = page.finish();
        assert!(told.contains("  deployments.apps/scale  []                 []              [get list]\n"), "{told}");
    }
}
