//! What the server itself does to objects on their way in, or refuses
//! (upstream: the admission plugins that are on by default).
//!
//! ```text
//!  decode ─▶ default ─▶ admit ─▶ prepare_for_create ─▶ validate ─▶ store
//! ```
//!
//! The verbs call [`admit`] between defaulting and preparing, with a [`Lookup`]
//! for the other objects that a plugin needs. Each plugin is a file; none of
//! them writes anything but the object in hand.

use crate::registry::Resource;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use wk_platform::{Entropy, UserInfo};

mod default_storage_class;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod node_taints;
mod priority;
mod runtime_class;
mod service_account;
mod toleration_seconds;

pub use node_restriction::{admit_eviction, admit_token};
pub use service_account::{API_ACCESS_PREFIX, mount_token};

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// Another version of an object.
    Update,
    /// The end of an object.
    Delete,
}

/// What is asked of admission, besides the object.
#[derive(Clone, Copy)]
pub struct AdmissionRequest<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// To which resource.
    pub resource: &'static Resource,
    /// To which part of it; empty for the whole.
    pub subresource: &'a str,
    /// In which namespace; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The object's name; empty when it is to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a UserInfo,
}

/// Other objects, as admission may look at them. Implemented over the cache by
/// the server and over a map by tests.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The object, if there is one. `namespace` is empty for cluster-scoped resources.
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// All objects of the resource in the namespace; in all when it is empty.
    async fn list(&self, resource: &'static Resource, namespace: &str) -> Vec<Arc<Value>>;
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403; the verbs frame it as `<resource> "<name>" is forbidden: <message>`.
    #[error("{message}")]
    Forbidden {
        /// Why.
        message: String,
        /// An entry for `details.causes`.
        cause: Option<Cause>,
    },
    /// 404 about another object: `<resource> "<name>" not found`.
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// `namespaces`
        resource: &'static str,
        /// Its name.
        name: String,
    },
}

/// An entry of `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `NamespaceTerminating`
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Which field it is about.
    pub field: &'static str,
}

impl Refusal {
    fn forbidden(message: impl Into<String>) -> Self {
        Self::Forbidden { message: message.into(), cause: None }
    }
}

/// Lets all plugins change or refuse a create or an update.
///
/// Cancel safety: nothing outside `object` is changed.
///
/// # Errors
/// [`Refusal`], by the first plugin that refuses.
pub async fn admit(
    request: &AdmissionRequest<'_>,
    object: &mut Value,
    old: Option<&Value>,
    lookup: &dyn Lookup,
    entropy: &Entropy,
) -> Result<(), Refusal> {
    namespace_lifecycle::admit(request, lookup).await?;
    node_restriction::admit(request, object, old)?;
    if !request.subresource.is_empty() || !request.resource.group.is_empty() {
        return Ok(());
    }
    match (request.resource.plural, request.operation) {
        ("persistentvolumeclaims", Operation::Create) => {
            default_storage_class::admit(object, lookup).await;
            limit_ranger::admit_claim(object, request.namespace, lookup).await?;
        }
        ("persistentvolumeclaims", _) => limit_ranger::admit_claim(object, request.namespace, lookup).await?,
        ("pods", Operation::Create) => {
            limit_ranger::admit_pod(object, request.namespace, lookup).await?;
            service_account::admit(request, object, lookup, entropy).await?;
            priority::admit_create(object, lookup).await?;
            toleration_seconds::admit(object);
            runtime_class::admit(object, lookup).await?;
        }
        ("pods", Operation::Update) => {
            priority::admit_update(object, old);
            toleration_seconds::admit(object);
        }
        ("nodes", Operation::Create) => node_taints::admit(object),
        _ => {}
    }
    Ok(())
}

/// Lets the plugins refuse a deletion.
///
/// # Errors
/// [`Refusal`].
pub async fn admit_delete(request: &AdmissionRequest<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    namespace_lifecycle::admit_delete(request)?;
    node_restriction::admit_delete(request, lookup).await
}

#[cfg(test)]
mod tests;
