//! The pods of a StatefulSet: their numbers, names and what they are made of.
//! Pure (upstream: `pkg/controller/statefulset/stateful_set_utils.go`).

use crate::pod_control;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};
use kube::ResourceExt;

/// The revision a pod was made from: the revision's name.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// Where a revision of a StatefulSet has its hash.
pub const HASH_LABEL: &str = "controller.kubernetes.io/hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The first ordinal, and how many there are.
pub fn ordinals(set: &StatefulSet) -> (i32, i32) {
    let spec = set.spec.as_ref();
    let start = spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or_default();
    (start, spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

/// The number in a pod's name; none for a pod that is not this set's.
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.name_any();
    let number = name.strip_prefix(&set.name_any())?.strip_prefix('-')?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_plain)
}

/// The revision a pod was made from; empty when it says none.
pub fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)).map(String::as_str).unwrap_or_default()
}

/// Pod number `ordinal`, from the template of `revision`.
pub fn pod_for(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let name = format!("{}-{ordinal}", set.name_any());
    let mut pod = pod_control::from_template(set, template.clone());
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    labels.insert(NAME_LABEL.to_owned(), name.clone());
    labels.insert(INDEX_LABEL.to_owned(), ordinal.to_string());
    let service = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(name.clone());
        spec.subdomain = service.filter(|service| !service.is_empty());
        let volumes = spec.volumes.get_or_insert_default();
        for volume in claims(set, &name) {
            // A claim replaces a volume of the same name.
            volumes.retain(|known| known.name != volume.name);
            volumes.push(volume);
        }
        if volumes.is_empty() {
            spec.volumes = None;
        }
    }
    pod
}

fn claims(set: &StatefulSet, pod: &str) -> Vec<Volume> {
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    let volume = |template: &k8s_openapi::api::core::v1::PersistentVolumeClaim| {
        let name = template.name_any();
        let claim = PersistentVolumeClaimVolumeSource { claim_name: format!("{name}-{pod}"), read_only: None };
        Volume { name, persistent_volume_claim: Some(claim), ..Volume::default() }
    };
    templates.map(volume).collect()
}

/// Whether the set asks for storage that this cluster does not serve.
pub fn wants_claims(set: &StatefulSet) -> bool {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref()).is_some_and(|claims| !claims.is_empty())
}
