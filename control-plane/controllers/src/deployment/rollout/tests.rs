use super::*;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use serde_json::{Value, json};

fn deployment(replicas: i32, surge: impl Into<Value>, unavailable: impl Into<Value>) -> Deployment {
    let (surge, unavailable) = (surge.into(), unavailable.into());
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "v2"}]},
            },
        },
    }))
    .expect("a Deployment")
}

/// A set of `deployment`'s, made from `image`; `size` pods, of which `available` serve.
fn set(deployment: &Deployment, image: &str, size: i32, available: i32, revision: i64) -> Arc<ReplicaSet> {
    let mut of = deployment.clone();
    of.spec.as_mut().expect("spec").template.spec.as_mut().expect("spec").containers[0].image = Some(image.into());
    let mut set = template::new_set(&of, size, revision);
    set.metadata.uid = Some(format!("{image}-{revision}"));
    set.status =
        Some(ReplicaSetStatus { replicas: size, available_replicas: Some(available), ..ReplicaSetStatus::default() });
    Arc::new(set)
}

fn no_pods(_: &ReplicaSet) -> bool {
    false
}

/// The sizes the plan asks for, by image.
fn sizes(plan: &Plan) -> Vec<(String, i32)> {
    let image = |set: &ReplicaSet| set.uid().unwrap_or_default();
    plan.resize.iter().map(|resize| (image(&resize.set), resize.replicas)).collect()
}

#[test]
fn percentages_round_up_for_surge_and_down_for_unavailable() {
    let of = |replicas, surge, unavailable| fence_posts(&deployment(replicas, surge, unavailable));
    assert_eq!(of(10, "25%", "25%"), (3, 2));
    assert_eq!(of(1, "25%", "25%"), (1, 0));
    assert_eq!(of(3, "0%", "0%"), (0, 1));
    assert_eq!(max_unavailable(&deployment(1, "0%", "100%")), 1);
}

#[test]
fn a_first_rollout_creates_the_whole_set() {
    let deployment = deployment(2, "25%", "25%");
    let plan = plan(&deployment, &[], &no_pods);
    let created = plan.create.expect("a set");
    assert_eq!(replicas(&created), 2);
    let hash = &created.labels()["pod-template-hash"];
    assert_eq!(created.name_any(), format!("web-{hash}"));
    assert_eq!(
        created
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.match_labels.as_ref())
            .map(|labels| &labels["pod-template-hash"]),
        Some(hash)
    );
    assert_eq!(plan.revision.as_deref(), Some("1"));
    let annotation = |name: &str| created.annotations()[&format!("deployment.kubernetes.io/{name}")].clone();
    assert_eq!((annotation("desired-replicas"), annotation("max-replicas")), ("2".into(), "3".into()));
}

#[test]
fn a_rolling_update_goes_up_by_the_surge_then_down_by_what_is_spare() {
    let deployment = deployment(4, "25%", "25%");
    let old = set(&deployment, "v1", 4, 4, 1);
    let first = plan(&deployment, std::slice::from_ref(&old), &no_pods);
    assert_eq!(first.create.as_ref().map(replicas), Some(1));
    assert_eq!(first.revision.as_deref(), Some("2"));

    let new = set(&deployment, "v2", 1, 0, 2);
    let second = plan(&deployment, &[old.clone(), new], &no_pods);
    assert_eq!(sizes(&second), [("v1-1".to_owned(), 3)]);

    let (old, new) = (set(&deployment, "v1", 3, 3, 1), set(&deployment, "v2", 1, 0, 2));
    let third = plan(&deployment, &[old.clone(), new], &no_pods);
    assert_eq!(sizes(&third), [("v2-2".to_owned(), 2)]);

    let new = set(&deployment, "v2", 4, 4, 2);
    assert_eq!(sizes(&plan(&deployment, &[old, new], &no_pods)), [("v1-1".to_owned(), 0)]);
}

#[test]
fn broken_old_pods_go_before_new_ones_serve() {
    let deployment = deployment(10, "0%", "20%");
    let (old, new) = (set(&deployment, "v1", 8, 6, 1), set(&deployment, "v2", 2, 2, 2));
    assert_eq!(sizes(&plan(&deployment, &[old, new], &no_pods)), [("v1-1".to_owned(), 6)]);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut deployment = deployment(3, "0%", "0%");
    deployment.spec.as_mut().expect("spec").strategy.as_mut().expect("strategy").type_ = Some("Recreate".into());
    let old = set(&deployment, "v1", 3, 3, 1);
    let down = plan(&deployment, &[old], &no_pods);
    assert_eq!((sizes(&down), down.create.is_some()), (vec![("v1-1".to_owned(), 0)], false));
    let old = set(&deployment, "v1", 0, 0, 1);
    assert!(plan(&deployment, std::slice::from_ref(&old), &|_| true).create.is_none());
    assert_eq!(plan(&deployment, &[old], &no_pods).create.as_ref().map(replicas), Some(3));
}

#[test]
fn a_new_size_in_the_middle_of_a_rollout_is_shared_in_proportion() {
    let before = deployment(10, 3, 2);
    let (old, new) = (set(&before, "v1", 8, 8, 1), set(&before, "v2", 5, 0, 2));
    let after = deployment(15, 3, 2);
    // The example of upstream's documentation: 13 pods become 18.
    assert_eq!(sizes(&plan(&after, &[old, new], &no_pods)), [("v2-2".to_owned(), 7), ("v1-1".to_owned(), 11)]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut deployment = deployment(2, "25%", "25%");
    let old = set(&deployment, "v1", 2, 2, 1);
    let spec = deployment.spec.as_mut().expect("spec");
    (spec.paused, spec.replicas) = (Some(true), Some(5));
    let plan = plan(&deployment, &[old], &no_pods);
    assert_eq!((sizes(&plan), plan.create.is_none()), (vec![("v1-1".to_owned(), 5)], true));
}

#[test]
fn scaling_to_zero_and_back_uses_the_new_set() {
    let zero = deployment(0, "25%", "25%");
    let (old, new) = (set(&zero, "v1", 0, 0, 1), set(&zero, "v2", 0, 0, 2));
    let plan = plan(&deployment(3, "25%", "25%"), &[old, new], &no_pods);
    assert_eq!(sizes(&plan), [("v2-2".to_owned(), 3)]);
}

#[test]
fn rolling_back_gives_the_old_set_a_new_number_and_remembers_its_old_one() {
    let deployment = deployment(2, "25%", "25%");
    let (back, left) = (set(&deployment, "v2", 0, 0, 1), set(&deployment, "v3", 2, 2, 2));
    let plan = plan(&deployment, &[back, left], &no_pods);
    let resize = &plan.resize[0];
    let annotation = |name: &str| resize.annotations[&format!("deployment.kubernetes.io/{name}")].clone();
    assert_eq!((annotation("revision"), annotation("revision-history")), ("3".into(), "1".into()));
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn old_sets_beyond_the_limit_go_when_the_rollout_is_over() {
    let mut deployment = deployment(1, "25%", "25%");
    deployment.spec.as_mut().expect("spec").revision_history_limit = Some(1);
    let sets = [set(&deployment, "v0", 0, 0, 1), set(&deployment, "v1", 0, 0, 2), set(&deployment, "v2", 1, 1, 3)];
    assert!(plan(&deployment, &sets, &no_pods).delete.is_empty());
    deployment.status = Some(DeploymentStatus {
        replicas: Some(1),
        updated_replicas: Some(1),
        available_replicas: Some(1),
        observed_generation: Some(1),
        ..DeploymentStatus::default()
    });
    let gone: Vec<_> = plan(&deployment, &sets, &no_pods).delete.iter().filter_map(|set| set.uid()).collect();
    assert_eq!(gone, ["v0-1"]);
}

#[test]
fn the_hash_depends_on_template_and_collisions_only() {
    let deployment = deployment(1, "25%", "25%");
    let template = &deployment.spec.as_ref().expect("spec").template;
    assert_eq!(template::hash(template, None), template::hash(&template.clone(), None));
    assert_ne!(template::hash(template, None), template::hash(template, Some(1)));
    assert!(template::hash(template, None).chars().all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter)));
}
