//! What is special about each resource: one row of [`all`] and one
//! [`Strategy`] per kind. The generic verbs call a strategy's functions in the
//! order of the trait. To add a kind, add one file and one row.

use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::Value;
use wk_store::Durability;

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/namespaces/{namespace}/{resource}/{name}`
    Namespaced,
    /// `/{resource}/{name}`
    Cluster,
}

/// A resource under a resource, as discovery lists it.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `log`…
    pub name: &'static str,
    /// Group of its kind when it is not the parent's (`autoscaling` for scale).
    pub group: &'static str,
    /// Version of its kind when it is not the parent's.
    pub version: &'static str,
    /// Kind of its bodies.
    pub kind: &'static str,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
}

/// One row of the table of resources.
#[derive(Clone, Copy)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// `Pod`
    pub kind: &'static str,
    /// `pods`
    pub plural: &'static str,
    /// `pod`
    pub singular: &'static str,
    /// `po`
    pub short_names: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// Name of the kind's schema, such as `io.k8s.api.core.v1.Pod`.
    pub definition: &'static str,
    /// Verbs in discovery's order.
    pub verbs: &'static [&'static str],
    /// In discovery's order.
    pub subresources: &'static [Subresource],
    /// What is special about the kind.
    pub strategy: &'static dyn Strategy,
}

/// Verbs of a resource that can do everything.
pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of a subresource that is a part of the object.
pub const PART_VERBS: &[&str] = &["get", "patch", "update"];
/// Verbs of a subresource that passes requests on to a server.
pub const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

impl Subresource {
    /// A subresource whose kind is of the parent's group and version.
    pub const fn new(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, group: "", version: "", kind, verbs }
    }

    /// The parent's `status`.
    pub const fn status(kind: &'static str) -> Self {
        Self::new("status", kind, PART_VERBS)
    }

    /// `autoscaling/v1` Scale.
    pub const fn scale() -> Self {
        Self { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: PART_VERBS }
    }
}

impl Resource {
    /// A row with all verbs and nothing else; the rest with struct update.
    pub const fn new(
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
        definition: &'static str,
        strategy: &'static dyn Strategy,
    ) -> Self {
        Self {
            group: "",
            version: "v1",
            kind,
            plural,
            singular,
            short_names: &[],
            categories: &[],
            scope: Scope::Namespaced,
            definition,
            verbs: ALL_VERBS,
            subresources: &[],
            strategy,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `deployments.apps`, as messages name a resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether it has the subresource.
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|sub| sub.name == subresource)
    }
}

/// One column of a table (`metav1.TableColumnDefinition`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading as sent (`Name`; the client makes it upper case).
    pub name: &'static str,
    /// `string`, `integer`, `date`…
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// What it says.
    pub description: &'static str,
    /// 0 always shown, 1 only with `-o wide`.
    pub priority: u8,
}

/// What a request writes: the whole object or one subresource of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The main resource.
    Main,
    /// `/status`
    Status,
    /// `/ephemeralcontainers`
    EphemeralContainers,
    /// `/resize`
    Resize,
}

/// What is special about one resource. All functions are pure; the generic
/// verbs call them in this order. Defaults are those of most kinds.
pub trait Strategy: Send + Sync + 'static {
    /// Fills in what the caller left out (upstream: `SetDefaults_*`).
    fn default(&self, _object: &mut Value) {}

    /// Clears what a creator may not set and sets what the server sets
    /// (upstream: `PrepareForCreate`). Generic metadata is done already.
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// The same for an update. For [`Part::Main`] it keeps the old status; for
    /// [`Part::Status`] it keeps the old spec. The verbs bump
    /// `metadata.generation` when [`Strategy::generation`] says so.
    fn prepare_for_update(&self, new: &mut Value, old: &Value, part: Part) {
        crate::registry::keep_other_part(new, old, part);
    }

    /// Whether the kind has `metadata.generation` (1 at creation, one more
    /// whenever anything but metadata and status changes).
    fn generation(&self) -> bool {
        false
    }

    /// All that is wrong with a new object, in upstream's order and words.
    /// Generic metadata is validated already.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// All that is wrong with an update.
    fn validate_update(&self, new: &Value, _old: &Value, _part: Part) -> Vec<FieldError> {
        self.validate(new)
    }

    /// Warnings for the client about an acceptable object (deprecated fields).
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// How a name must look; the message of the rule that is broken, if any.
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        crate::registry::names::dns_subdomain(name, prefix)
    }

    /// Values that field selectors can ask for, besides `metadata.name` and
    /// `metadata.namespace`.
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Names of the fields that [`Strategy::selectable_fields`] gives.
    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// What `get` prints.
    fn columns(&self) -> &'static [Column];

    /// One value per column.
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// `conditions` of the object's row (`metav1.TableRowCondition`); most have none.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }

    /// Whether the object must survive a restart.
    fn durability(&self, _object: &Value) -> Durability {
        Durability::Durable
    }

    /// Seconds that a deletion waits (`metadata.deletionGracePeriodSeconds`)
    /// when the caller asked for `requested`; `None` deletes at once
    /// (upstream: `rest.GracefulDeleteStrategy`).
    fn grace_period_seconds(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether a PUT to a name that does not exist creates it.
    fn allow_create_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT without `metadata.resourceVersion` replaces whatever is there.
    fn allow_unconditional_update(&self) -> bool {
        true
    }
}

/// Keeps `status` when the main part is written, and everything but `status`
/// (and the metadata a status update may change) when the status is.
pub fn keep_other_part(new: &mut Value, old: &Value, part: Part) {
    let (Some(fields), Some(old_fields)) = (new.as_object_mut(), old.as_object()) else { return };
    match part {
        Part::Status => {
            let status = fields.remove("status");
            let metadata = fields.remove("metadata");
            *fields = old_fields.clone();
            fields.remove("status");
            fields.extend(status.map(|status| ("status".to_owned(), status)));
            fields.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
        }
        _ => match old_fields.get("status") {
            Some(status) => drop(fields.insert("status".to_owned(), status.clone())),
            None => drop(fields.remove("status")),
        },
    }
}

pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod check;
pub mod coordination;
pub mod core;
pub mod defaults;
pub mod discovery;
pub mod metadata;
pub mod names;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod reviews;
pub mod scale;
pub mod scheduling;
pub mod storage;
pub mod table;

/// Every resource this server serves, in discovery's order.
pub fn all() -> &'static [Resource] {
    static ALL: &[Resource] = &[
        core::binding::RESOURCE,
        core::config_map::RESOURCE,
        core::endpoints::RESOURCE,
        core::event::RESOURCE,
        core::limit_range::RESOURCE,
        core::namespace::RESOURCE,
        core::node::RESOURCE,
        core::persistent_volume_claim::RESOURCE,
        core::persistent_volume::RESOURCE,
        core::pod::RESOURCE,
        core::pod_template::RESOURCE,
        core::resource_quota::RESOURCE,
        core::secret::RESOURCE,
        core::service_account::RESOURCE,
        core::service::RESOURCE,
        apps::controller_revision::RESOURCE,
        apps::daemon_set::RESOURCE,
        apps::deployment::RESOURCE,
        apps::replica_set::RESOURCE,
        apps::stateful_set::RESOURCE,
        reviews::SELF_SUBJECT_REVIEW,
        reviews::TOKEN_REVIEW,
        reviews::LOCAL_SUBJECT_ACCESS_REVIEW,
        reviews::SELF_SUBJECT_ACCESS_REVIEW,
        reviews::SELF_SUBJECT_RULES_REVIEW,
        reviews::SUBJECT_ACCESS_REVIEW,
        autoscaling::horizontal_pod_autoscaler::RESOURCE,
        batch::cron_job::RESOURCE,
        batch::job::RESOURCE,
        networking::ingress_class::RESOURCE,
        networking::ingress::RESOURCE,
        networking::network_policy::RESOURCE,
        policy::pod_disruption_budget::RESOURCE,
        rbac::bindings::CLUSTER_ROLE_BINDING,
        rbac::roles::CLUSTER_ROLE,
        rbac::bindings::ROLE_BINDING,
        rbac::roles::ROLE,
        storage::storage_class::RESOURCE,
        scheduling::priority_class::RESOURCE,
        coordination::lease::RESOURCE,
        node::runtime_class::RESOURCE,
        discovery::endpoint_slice::RESOURCE,
    ];
    ALL
}

/// The row for a path's group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    all().iter().find(|row| row.group == group && row.version == version && row.plural == plural)
}
