//! ResourceQuotas, enforced and counted (upstream: `ResourceQuota`, the admission
//! plugin, and `resourcequota-controller`).
//!
//! ```text
//!  create, update ─▶ claim: enough left? ─▶ status.used, compare-and-swap ─▶ store
//!  any change     ─▶ status: count again ─▶ status.hard, status.used
//! ```
//!
//! A claim is written down before its object is stored, so that two at once cannot
//! both have the last piece. Counting waits until no claim of its namespace is
//! under way: what it counts and what is written down are then the same. Reading
//! order: this file, `usage` (what an object uses), `status` (counting).

mod status;
mod usage;

pub use status::run;

use crate::{
    http::status::{ApiError, Target},
    object,
    registry::{
        Resource,
        core::{
            pod::requests::{self, Amounts},
            resource_quota,
        },
    },
    schema::Quantity,
    storage::{self, Update},
    verbs::Call,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

/// How many claims are under way in each namespace.
#[derive(Clone, Default)]
pub struct Pending(Arc<Mutex<HashMap<String, usize>>>);

/// What an object has claimed, until it is stored or refused.
pub struct Claim {
    pending: Pending,
    namespace: String,
}

impl Pending {
    fn begin(&self, namespace: &str) -> Claim {
        *self.0.lock().entry(namespace.to_owned()).or_default() += 1;
        Claim { pending: self.clone(), namespace: namespace.to_owned() }
    }

    fn any(&self, namespace: &str) -> bool {
        self.0.lock().contains_key(namespace)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut pending = self.pending.0.lock();
        if let Some(count) = pending.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                pending.remove(&self.namespace);
            }
        }
    }
}

/// Claims what `object` uses beyond `old` from every quota of its namespace, or
/// only looks whether it could. To be held until the object is stored. Cancel
/// safety: what was claimed for nothing is counted away again.
///
/// # Errors
/// 403 in upstream's words when a quota has not enough left.
pub async fn claim(call: &Call, object: &Value, old: Option<&Value>, dry_run: bool) -> Result<Option<Claim>, ApiError> {
    if !usage::is_counted(call.row, &call.info.subresource, old.is_some()) {
        return Ok(None);
    }
    let snapshot = call.server.caches.snapshot(&resource_quota::RESOURCE, &prefix(call.namespace())).await?;
    if snapshot.objects.is_empty() {
        return Ok(None);
    }
    let claim = call.server.quotas.begin(call.namespace());
    let wanted = Wanted::of(call, object, old);
    for quota in &snapshot.objects {
        wanted.claim(call, &quota.name, dry_run).await?;
    }
    Ok(Some(claim))
}

fn prefix(namespace: &str) -> String {
    storage::prefix(&resource_quota::RESOURCE, namespace)
}

/// What a request needs.
struct Wanted<'a> {
    row: &'static Resource,
    object: &'a Value,
    is_new: bool,
    more: Amounts,
}

impl<'a> Wanted<'a> {
    fn of(call: &Call, object: &'a Value, old: Option<&Value>) -> Self {
        let now = call.server.clock.now();
        let mut more = usage::of(call.row, object, now);
        for (name, amount) in old.map(|old| usage::of(call.row, old, now)).unwrap_or_default() {
            let known = more.entry(name).or_insert(Quantity::ZERO);
            *known = known.minus(amount);
        }
        Self { row: call.row, object, is_new: old.is_none(), more }
    }

    async fn claim(&self, call: &Call, quota: &str, dry_run: bool) -> Result<(), ApiError> {
        let decide = |mut quota: Value| {
            let refused =
                |why: String| ApiError::Forbidden(Target::object(self.row, object::name(self.object)), why, None);
            match self.used_with(&quota).map_err(refused)? {
                Some(used) if !dry_run => {
                    object::map_mut(&mut quota, "status").insert("used".to_owned(), used);
                    Ok(Update::Write(quota))
                }
                _ => Ok(Update::Keep(quota)),
            }
        };
        match call.server.storage.update(&resource_quota::RESOURCE, call.namespace(), quota, decide).await {
            Err(ApiError::NotFound(target)) if target.resource == resource_quota::RESOURCE.plural => Ok(()),
            claimed => claimed.map(drop),
        }
    }

    /// `status.used` of a quota with what is wanted; `None` when the quota is not
    /// about it.
    fn used_with(&self, quota: &Value) -> Result<Option<Value>, String> {
        let (name, hard) = (object::name(quota), requests::amounts(&quota["status"]["hard"]));
        let about: Vec<&String> = hard.keys().filter(|resource| usage::concerns(self.row, resource)).collect();
        if about.is_empty() || !usage::in_scope(self.row, quota, self.object) {
            return Ok(None);
        }
        if self.is_new {
            usage::says_enough(self.row, self.object, &about).map_err(|why| format!("failed quota: {name}: {why}"))?;
        }
        let more: Amounts =
            self.more.iter().filter(|(name, _)| about.contains(name)).map(|(k, v)| (k.clone(), *v)).collect();
        if more.values().all(|amount| amount.nanos() <= 0) {
            return Ok(None);
        }
        let mut used = requests::amounts(&quota["status"]["used"]);
        let unknown: Vec<&str> =
            about.iter().filter(|name| !used.contains_key(**name)).map(|name| name.as_str()).collect();
        if !unknown.is_empty() {
            return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
        }
        let before = used.clone();
        requests::add(&mut used, &more);
        let beyond: Vec<&String> =
            more.keys().filter(|name| more[*name].nanos() > 0 && used[*name] > hard[*name]).collect();
        if !beyond.is_empty() {
            let shown = |amounts: &Amounts| {
                let pairs: Vec<String> = beyond.iter().map(|name| format!("{name}={}", amounts[*name])).collect();
                pairs.join(",")
            };
            let (more, used, hard) = (shown(&more), shown(&before), shown(&hard));
            return Err(format!("exceeded quota: {name}, requested: {more}, used: {used}, limited: {hard}"));
        }
        Ok(Some(shown_amounts(&used)))
    }
}

fn shown_amounts(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), json!(amount.to_string()))).collect()
}
