//! `wk autoscale`: a HorizontalPodAutoscaler for a workload. A server that does
//! not have that kind is said to (upstream: `kubectl/pkg/cmd/autoscale`).

use super::{
    Context, apply,
    report::Reporter,
    select::{self, Found, Unnamed},
};
use crate::{args::Autoscale, rest::ApiError};
use anyhow::{Result, bail};
use serde_json::{Value, json};

pub(super) async fn run(context: &Context, args: &Autoscale) -> Result<()> {
    if args.max < 1 {
        bail!("--max=MAXPODS is required and must be at least 1, max: {}", args.max);
    }
    if args.min.is_some_and(|min| args.max < min) {
        bail!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {}, min: {}",
            args.max,
            args.min.unwrap_or_default()
        );
    }
    let selected = select::select(context, &args.choice.target, &args.choice, Unnamed::Refused).await?;
    let discovery = context.discovery().await?;
    let mut reporter = Reporter::new(&args.change)?;
    let mut failures = selected.failures;
    for found in &selected.found {
        let autoscaler = autoscaler(args, found)?;
        let Ok(resource) = discovery.find("horizontalpodautoscalers.autoscaling") else { bail!(not_served()) };
        match context.create(resource, autoscaler, &args.change, "autoscale").await {
            Ok(created) => reporter.done(resource, &created, "autoscaled")?,
            Err(error) => failures.push(error),
        }
    }
    apply::first_failure(failures)
}

/// What a server says that does not have the kind.
fn not_served() -> ApiError {
    let message = "the server could not find the requested resource (post horizontalpodautoscalers.autoscaling)";
    ApiError { status: json!({"reason": "NotFound", "message": message}) }
}

fn autoscaler(args: &Autoscale, found: &Found) -> Result<Value> {
    if !matches!(found.resource.kind.as_str(), "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController") {
        bail!("cannot autoscale a {}", found.resource.kind);
    }
    let name = args.name.clone().unwrap_or_else(|| found.name().to_owned());
    let target = json!({"apiVersion": found.resource.api_version(), "kind": found.resource.kind, "name": found.name()});
    let mut spec = json!({"maxReplicas": args.max, "scaleTargetRef": target});
    if let Some(min) = args.min.filter(|min| *min > 0) {
        spec["minReplicas"] = min.into();
    }
    if let Some(percent) = args.cpu_percent.filter(|percent| *percent >= 0) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    Ok(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"creationTimestamp": null, "name": name},
        "spec": spec,
        "status": {"currentMetrics": null, "desiredReplicas": 0},
    }))
}
