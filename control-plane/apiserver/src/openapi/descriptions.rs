//! What definitions and fields are for, in the words of the Kubernetes API: taken
//! from the schemas that `k8s-openapi` generates from upstream's documentation.
//! A definition that it does not have goes without.

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates, coordination, core,
    discovery, events, flowcontrol, networking, node, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::SchemaGenerator;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

struct Texts {
    own: Option<String>,
    fields: HashMap<String, String>,
}

static TEXTS: LazyLock<HashMap<String, Texts>> = LazyLock::new(load);

/// What a definition is for.
pub(super) fn of(definition: &str) -> Option<&'static str> {
    TEXTS.get(definition)?.own.as_deref()
}

/// What a field is for.
pub(super) fn of_field(definition: &str, field: &str) -> Option<&'static str> {
    TEXTS.get(definition)?.fields.get(field).map(String::as_str)
}

fn load() -> HashMap<String, Texts> {
    let mut generator = SchemaGenerator::default();
    for kind in KINDS {
        kind(&mut generator);
    }
    generator.take_definitions(false).into_iter().map(|(name, schema)| (name, texts(&schema))).collect()
}

fn texts(schema: &Value) -> Texts {
    let description = |schema: &Value| schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    Texts {
        own: description(schema),
        fields: properties.filter_map(|(name, schema)| Some((name.clone(), description(schema)?))).collect(),
    }
}

macro_rules! kinds {
    ($($kind:path),* $(,)?) => {
        &[$(|generator| drop(generator.subschema_for::<$kind>())),*]
    };
}

/// The kinds whose texts are read, with all that they refer to.
const KINDS: &[fn(&mut SchemaGenerator)] = kinds![
    meta::v1::DeleteOptions,
    meta::v1::Status,
    meta::v1::ListMeta,
    admissionregistration::v1::MutatingWebhookConfiguration,
    admissionregistration::v1::ValidatingWebhookConfiguration,
    admissionregistration::v1::ValidatingAdmissionPolicy,
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    apiextensions::v1::CustomResourceDefinition,
    apiregistration::v1::APIService,
    apps::v1::ControllerRevision,
    apps::v1::DaemonSet,
    apps::v1::Deployment,
    apps::v1::ReplicaSet,
    apps::v1::StatefulSet,
    authentication::v1::SelfSubjectReview,
    authentication::v1::TokenRequest,
    authentication::v1::TokenReview,
    authorization::v1::LocalSubjectAccessReview,
    authorization::v1::SelfSubjectAccessReview,
    authorization::v1::SelfSubjectRulesReview,
    authorization::v1::SubjectAccessReview,
    autoscaling::v1::Scale,
    autoscaling::v1::HorizontalPodAutoscaler,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::CronJob,
    batch::v1::Job,
    certificates::v1::CertificateSigningRequest,
    coordination::v1::Lease,
    core::v1::Binding,
    core::v1::ConfigMap,
    core::v1::Endpoints,
    core::v1::Event,
    core::v1::LimitRange,
    core::v1::Namespace,
    core::v1::Node,
    core::v1::PersistentVolume,
    core::v1::PersistentVolumeClaim,
    core::v1::Pod,
    core::v1::PodTemplate,
    core::v1::ReplicationController,
    core::v1::ResourceQuota,
    core::v1::Secret,
    core::v1::Service,
    core::v1::ServiceAccount,
    discovery::v1::EndpointSlice,
    events::v1::Event,
    flowcontrol::v1::FlowSchema,
    flowcontrol::v1::PriorityLevelConfiguration,
    networking::v1::Ingress,
    networking::v1::IngressClass,
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
    policy::v1::Eviction,
    policy::v1::PodDisruptionBudget,
    rbac::v1::ClusterRole,
    rbac::v1::ClusterRoleBinding,
    rbac::v1::Role,
    rbac::v1::RoleBinding,
    scheduling::v1::PriorityClass,
    storage::v1::CSIDriver,
    storage::v1::CSINode,
    storage::v1::CSIStorageCapacity,
    storage::v1::StorageClass,
    storage::v1::VolumeAttachment,
];
