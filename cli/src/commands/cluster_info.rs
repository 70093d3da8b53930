//! `wk cluster-info`: where the API and the cluster's own Services answer.

use super::{Context, name_of, namespace_of};
use crate::{output, resources::query};
use anyhow::Result;

pub(super) async fn run(context: &Context) -> Result<()> {
    let url = context.cluster.url.trim_end_matches('/');
    let selector = query(&[("labelSelector", "kubernetes.io/cluster-service=true")]);
    let services = context.rest.get(&format!("/api/v1/namespaces/kube-system/services{selector}")).await?;
    output::line(format_args!("Kubernetes control plane is running at {url}"))?;
    for service in services["items"].as_array().into_iter().flatten() {
        let (namespace, name) = (namespace_of(service), name_of(service));
        let label = service["metadata"]["labels"]["kubernetes.io/name"].as_str().unwrap_or(name);
        output::line(format_args!("{label} is running at {url}/api/v1/namespaces/{namespace}/services/{name}/proxy"))?;
    }
    output::line("\nTo further debug and diagnose cluster problems, use 'wk get events -A' and 'wk logs'.")
}
