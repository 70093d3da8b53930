//! `wk explain` prints what `kubectl explain` prints, byte by byte.

use crate::pair::{API_ONLY, Pair};

#[test]
fn explain_is_kubectls() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&[
        "explain pods",
        "explain pod.spec",
        "explain po.spec.containers",
        "explain pod.spec.containers.resources.limits",
        "explain pod.spec.containers.imagePullPolicy",
        "explain pod.spec.restartPolicy",
        "explain pod.status.conditions",
        "explain pod.metadata.labels",
        "explain pod.metadata.managedFields",
        "explain pod --recursive",
        "explain deployments",
        "explain deploy.spec.strategy.rollingUpdate --recursive",
        "explain deployments.apps",
        "explain deployments.apps.spec.replicas",
        "explain deployment --api-version=apps/v1",
        "explain services.spec.ports",
        "explain svc.spec.ports --recursive",
        "explain configmap.data",
        "explain secrets",
        "explain namespaces.spec",
        "explain nodes.status.addresses",
        "explain job.spec.template.spec.volumes.configMap.items",
        "explain cronjobs",
        "explain events",
        "explain events.events.k8s.io",
        "explain roles.rules",
        "explain ingress.spec",
        "explain persistentvolumeclaims",
        "explain pods.",
        "explain pod.spec.nope",
        "explain pod.nope.spec",
        "explain widgets",
        "explain widgets.spec",
        "explain pods --api-version=v9",
        "explain pods --api-version=apps/v1",
        "explain",
        "explain pods extra",
        "explain pods --output=yaml",
    ]);
}
