//! What disruption budgets say about an eviction (upstream:
//! `EvictionREST.checkAndDecrement`). Called by `eviction`; it takes one
//! disruption from the budget that covers the pod.

use crate::{
    http::status::{ApiError, Target},
    object,
    registry::{self, Resource},
    selector::Labels,
    storage::{self, Update},
    verbs::{Call, metadata},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Evictions that a budget remembers (upstream: `MaxDisruptedPodSize`).
const DISRUPTED_PODS_MAX: usize = 2000;

/// When to ask again while the budget's controller has not seen its newest version.
const UNPROCESSED_RETRY_SECONDS: u32 = 10;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Lets the pod's budget count its eviction.
///
/// # Errors
/// 429 when the budget holds it back, 500 when several budgets cover the pod.
pub async fn take(call: &Call, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    if needs_no_budget(pod) {
        return Ok(());
    }
    let Some(row) = registry::find("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let budgets = covering(call, row, pod).await?;
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [only] => only,
        _ => {
            let text =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::Untyped(text.to_owned()));
        }
    };
    if !is_ready(pod) && may_evict_unready(budget) {
        return Ok(());
    }
    let (name, now) = (object::name(budget).to_owned(), call.server.clock.now_seconds());
    let count = |budget: Value| {
        let counted = counted(budget, object::name(pod), now)?;
        Ok(if dry_run { Update::Keep(counted) } else { Update::Write(counted) })
    };
    call.server.storage.update(row, call.namespace(), &name, count).await.map(|_| ())
}

/// A pod that does not run yet, or no longer, disrupts nothing.
fn needs_no_budget(pod: &Value) -> bool {
    metadata::is_deleting(pod) || matches!(object::str_at(pod, "status.phase"), "Pending" | "Succeeded" | "Failed")
}

async fn covering(call: &Call, row: &'static Resource, pod: &Value) -> Result<Vec<Value>, ApiError> {
    call.server.caches.wait_until_fresh().await?;
    let snapshot = call.server.caches.snapshot(row, &storage::prefix(row, call.namespace())).await?;
    let empty = serde_json::Map::new();
    let labels = object::metadata(pod).get("labels").and_then(Value::as_object).unwrap_or(&empty);
    let mut covering = Vec::new();
    for cached in &snapshot.objects {
        let budget = cached.encoded.decode(row)?;
        let selector = object::at(&budget, "spec.selector").and_then(Labels::from_object);
        if selector.is_some_and(|selector| selector.matches(labels)) {
            covering.push(budget);
        }
    }
    Ok(covering)
}

fn is_ready(pod: &Value) -> bool {
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    object::list_at(pod, "status.conditions").iter().any(ready)
}

fn number(budget: &Value, path: &str) -> i64 {
    object::at(budget, path).and_then(Value::as_i64).unwrap_or(0)
}

/// An unready pod may go when the others suffice, or when the budget says so.
fn may_evict_unready(budget: &Value) -> bool {
    let (healthy, desired) = (number(budget, "status.currentHealthy"), number(budget, "status.desiredHealthy"));
    object::str_at(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow" || desired > 0 && healthy >= desired
}

/// The budget after one more disruption.
fn counted(mut budget: Value, pod: &str, now: Timestamp) -> Result<Value, ApiError> {
    let refused = |cause: String, retry_after_seconds: Option<u32>| {
        Err(ApiError::TooManyRequests { message: REFUSED.to_owned(), cause, retry_after_seconds })
    };
    let name = object::name(&budget).to_owned();
    if number(&budget, "status.observedGeneration") < number(&budget, "metadata.generation") {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return refused(cause, Some(UNPROCESSED_RETRY_SECONDS));
    }
    let allowed = number(&budget, "status.disruptionsAllowed");
    let disrupted = object::at(&budget, "status.disruptedPods").and_then(Value::as_object).map_or(0, |pods| pods.len());
    if allowed < 0 || disrupted > DISRUPTED_PODS_MAX {
        let why = if allowed < 0 {
            "pdb disruptions allowed is negative"
        } else {
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        };
        let target = Target { group: "policy".to_owned(), resource: "poddisruptionbudget".to_owned(), name };
        return Err(ApiError::Forbidden(target, why.to_owned(), None));
    }
    if allowed == 0 {
        let (desired, healthy) = (number(&budget, "status.desiredHealthy"), number(&budget, "status.currentHealthy"));
        let cause = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return refused(cause, None);
    }
    let status = object::map_mut(&mut budget, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
    pods[pod] = metadata::time(now).into();
    if allowed == 1 {
        set_exhausted(&mut budget, now);
    }
    Ok(budget)
}

/// The condition `DisruptionAllowed` is false from now on.
fn set_exhausted(budget: &mut Value, now: Timestamp) {
    let generation = number(budget, "metadata.generation");
    let known = object::list_at(budget, "status.conditions").iter().find(|known| known["type"] == "DisruptionAllowed");
    let since = match known {
        Some(known) if known["status"] == "False" => known["lastTransitionTime"].clone(),
        _ => metadata::time(now).into(),
    };
    let condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "observedGeneration": generation, "lastTransitionTime": since,
    });
    object::set_condition(budget, condition);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64, observed: i64) -> Value {
        json!({
            "metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": observed, "disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": 1},
        })
    }

    fn cause(budget: Value) -> String {
        let error = counted(budget, "p", Timestamp::UNIX_EPOCH).expect_err("held back");
        assert_eq!(error.code().as_u16(), 429);
        error.status()["details"]["causes"][0]["message"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_budget_counts_down_and_then_holds() {
        let after = counted(budget(1, 1), "p", Timestamp::UNIX_EPOCH).expect("one is allowed");
        assert_eq!(
            (&after["status"]["disruptionsAllowed"], &after["status"]["disruptedPods"]["p"]),
            (&json!(0), &json!("1970-01-01T00:00:00Z"))
        );
        assert_eq!(after["status"]["conditions"][0]["reason"], "InsufficientPods");
        assert_eq!(cause(after), "The disruption budget b needs 1 healthy pods and has 1 currently");
    }

    #[test]
    fn an_unprocessed_budget_holds() {
        assert_eq!(cause(budget(1, 0)), "The disruption budget b is still being processed by the server.");
    }
}
