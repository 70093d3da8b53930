//! Pods created and deleted for their owner: in batches, told to the
//! expectations, recorded as events (upstream: `RealPodControl` and
//! `slowStartBatch`). Called by every controller that owns pods; decides nothing.

use crate::{
    namespace,
    runner::{Error, EventType, Key, Kind, Recorder, expectations::Expectations, is_not_found, patch, uid},
};
use futures::future::join_all;
use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use std::sync::Arc;

/// Creations or deletions that did not all go well.
#[derive(Debug)]
pub struct Failed {
    /// The first failure.
    pub error: Error,
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
}

impl Failed {
    /// What the server said, for a condition.
    pub fn message(&self) -> String {
        match &self.error {
            Error::Api { source, .. } => source_message(source),
            Error::Object { .. } => self.error.to_string(),
        }
    }
}

/// What the server said, without the client's wrapping.
pub fn source_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// How a kind speaks of its pods in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wording {
    Plain,
    OfStatefulSet,
}

impl Wording {
    /// `verb` is `create` or `delete`.
    fn success<O: Resource>(self, verb: &str, owner: &O, pod: &str) -> String {
        match (self, verb) {
            (Self::Plain, "create") => format!("Created pod: {pod}"),
            (Self::Plain, _) => format!("Deleted pod: {pod}"),
            (Self::OfStatefulSet, _) => format!("{verb} Pod {pod} in StatefulSet {} successful", owner.name_any()),
        }
    }

    fn failure<O: Resource>(self, verb: &str, owner: &O, pod: &str, problem: &str) -> String {
        match (self, verb) {
            (Self::Plain, "create") => format!("Error creating: {problem}"),
            (Self::Plain, _) => format!("Error deleting: {problem}"),
            (Self::OfStatefulSet, _) => {
                format!("{verb} Pod {pod} in StatefulSet {} failed error: {problem}", owner.name_any())
            }
        }
    }
}

/// Creates and deletes the pods of one controller.
pub struct PodControl {
    client: Client,
    recorder: Recorder,
    expectations: Arc<Expectations>,
    wording: Wording,
}

impl PodControl {
    /// Speaks through `client`, counts in `expectations`, tells `recorder`.
    pub fn new(client: Client, recorder: Recorder, expectations: Arc<Expectations>) -> Self {
        Self { client, recorder, expectations, wording: Wording::Plain }
    }

    /// The same with the words of a StatefulSet's events.
    pub fn of_stateful_set(client: Client, recorder: Recorder, expectations: Arc<Expectations>) -> Self {
        Self { wording: Wording::OfStatefulSet, ..Self::new(client, recorder, expectations) }
    }

    /// Creates and deletes pods of `owner`, known to the expectations as `key`.
    /// Cancel safety: what was not done by then stays expected until it expires.
    ///
    /// # Errors
    /// The first failure; the rest of the batch has been tried.
    pub async fn apply<O: Kind>(
        &self,
        key: &Key,
        owner: &O,
        create: Vec<Pod>,
        delete: &[Arc<Pod>],
    ) -> Result<(), Failed> {
        if create.is_empty() && delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, create.len(), delete.iter().map(|pod| uid(&**pod).to_owned()));
        let created = self.create_all(key, owner, create).await;
        let deleted = self.delete_all(key, owner, delete).await;
        created.and(deleted)
    }

    fn api(&self, key: &Key) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Creates in batches of 1, 2, 4 and so on, each in parallel: when every
    /// creation is bound to fail, only a few are tried.
    async fn create_all<O: Kind>(&self, key: &Key, owner: &O, pods: Vec<Pod>) -> Result<(), Failed> {
        let (api, mut left, mut batch) = (self.api(key), pods.as_slice(), 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let results = join_all(now.iter().map(|pod| self.create(owner, &api, pod))).await;
            (left, batch) = (later, batch * 2);
            let failed = results.iter().filter(|result| result.is_err()).count();
            if let Some(error) = results.into_iter().find_map(Result::err) {
                self.expectations.creations_observed(key, failed + left.len());
                if namespace::refuses_content(&error) {
                    return Ok(()); // nothing can be created there any more, and nothing needs to be
                }
                return Err(Failed { error: Error::api("create a pod of", key)(error), reason: "FailedCreate" });
            }
        }
        Ok(())
    }

    async fn create<O: Kind>(&self, owner: &O, api: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
        let created = api.create(&patch::post_params(), pod).await;
        match &created {
            Ok(pod) => {
                let message = self.wording.success("create", owner, &pod.name_any());
                self.recorder.record(owner, EventType::Normal, "SuccessfulCreate", message);
            }
            Err(error) if namespace::refuses_content(error) => {}
            Err(error) => {
                let message = self.wording.failure("create", owner, &pod.name_any(), &source_message(error));
                self.recorder.record(owner, EventType::Warning, "FailedCreate", message);
            }
        }
        created.map(|_| ())
    }

    async fn delete_all<O: Kind>(&self, key: &Key, owner: &O, pods: &[Arc<Pod>]) -> Result<(), Failed> {
        let api = self.api(key);
        let results = join_all(pods.iter().map(|pod| self.delete(key, owner, &api, pod))).await;
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(error) => Err(Failed { error: Error::api("delete a pod of", key)(error), reason: "FailedDelete" }),
        }
    }

    async fn delete<O: Kind>(&self, key: &Key, owner: &O, api: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&pod.name_any(), &params).await {
            Ok(_) => {
                let message = self.wording.success("delete", owner, &pod.name_any());
                self.recorder.record(owner, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, uid(pod));
                if is_not_found(&error) {
                    return Ok(());
                }
                let message = self.wording.failure("delete", owner, &pod.name_any(), &source_message(&error));
                self.recorder.record(owner, EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }
}

/// A pod of `owner`, to be named by the server.
pub fn from_template<O: Resource<DynamicType = ()>>(owner: &O, template: PodTemplateSpec) -> Pod {
    let from = template.metadata.unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(generate_name(&owner.name_any())),
        namespace: owner.meta().namespace.clone(),
        labels: from.labels,
        annotations: from.annotations,
        finalizers: from.finalizers,
        owner_references: Some(vec![crate::ownership::controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec, status: None }
}

/// A name with a dash is valid for most pods, as a hostname too; without it the
/// longest owner names would not be (upstream: `getPodsPrefix`).
fn generate_name(owner: &str) -> String {
    const NAME_LENGTH_MAX: usize = 253;
    if owner.len() < NAME_LENGTH_MAX { format!("{owner}-") } else { owner.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::StatefulSet;

    #[test]
    fn a_stateful_set_is_named_in_its_events() {
        let metadata = ObjectMeta { name: Some("db".to_owned()), ..ObjectMeta::default() };
        let set = StatefulSet { metadata, ..StatefulSet::default() };
        for (wording, success, failure) in [
            (Wording::Plain, "Created pod: db-0", "Error creating: quota"),
            (
                Wording::OfStatefulSet,
                "create Pod db-0 in StatefulSet db successful",
                "create Pod db-0 in StatefulSet db failed error: quota",
            ),
        ] {
            assert_eq!(wording.success("create", &set, "db-0"), success);
            assert_eq!(wording.failure("create", &set, "db-0", "quota"), failure);
        }
        assert_eq!(Wording::Plain.success("delete", &set, "db-0"), "Deleted pod: db-0");
    }
}
