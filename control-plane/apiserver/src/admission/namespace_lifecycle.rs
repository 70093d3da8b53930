//! Nothing is made in a namespace that is not there or is going away, and some
//! namespaces stay (upstream: `NamespaceLifecycle`).

use super::{AdmissionRequest, Cause, Lookup, Operation, Refusal};
use crate::object;
use crate::registry::core::namespace;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) async fn admit(request: &AdmissionRequest<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    if request.namespace.is_empty() || request.resource.kind == "Namespace" || request.operation == Operation::Delete {
        return Ok(());
    }
    let name = request.namespace;
    let Some(namespace) = lookup.get(&namespace::RESOURCE, "", name).await else {
        return Err(Refusal::NotFound { resource: "namespaces", name: name.to_owned() });
    };
    if request.operation != Operation::Create || object::str_at(&namespace, "status.phase") != "Terminating" {
        return Ok(());
    }
    Err(Refusal::Forbidden {
        message: format!("unable to create new content in namespace {name} because it is being terminated"),
        cause: Some(Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace",
        }),
    })
}

pub(super) fn admit_delete(request: &AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.resource.kind == "Namespace" && IMMORTAL.contains(&request.name) {
        return Err(Refusal::forbidden("this namespace may not be deleted"));
    }
    Ok(())
}
