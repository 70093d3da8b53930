//! What a first and a second course type, line by line: `wk` and kubectl print
//! the same and end alike.

use crate::{
    harness::{HELLO, Server, Tool},
    pair::{API_ONLY, NAMESPACES, Pair},
};
use std::collections::BTreeSet;

#[test]
fn every_kind_is_created_shown_and_described() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&[
        "create deployment web --image=nginx --replicas=2 --port=80",
        "create deployment two --image=a/b:1 --image=c:2 -r 3",
        "create service clusterip s --tcp=80:8080 --tcp=443",
        "create service nodeport np --tcp=80",
        "create service externalname ext --external-name=example.org",
        "create service clusterip none --clusterip=None",
        "create configmap c --from-literal=a=b",
        "create secret generic s --from-literal=a=b --type=example.org/x",
        "create secret docker-registry d --docker-username=u --docker-password=p --docker-email=e@x",
        "create serviceaccount bob",
        "create role reader --verb=get,list,watch --resource=pods,pods/log",
        "create role one --verb=get --resource=configmaps --resource-name=c",
        "create rolebinding readers --role=reader --user=jane --group=dev --serviceaccount=NAMESPACE:bob",
        "create job once --image=busybox",
        "create cronjob often --image=busybox --schedule=*/5 --restart=Never",
        "create cronjob hourly --image=busybox --schedule=@hourly",
        "create poddisruptionbudget p --selector=app=web --min-available=1",
        "create pdb p2 --selector=app=web --max-unavailable=50%",
        "run bare --image=nginx --port=80 --labels=a=b,c=d --env=X=y",
        "run cmd --image=busybox --restart=Never --command",
        "create configmap c --from-literal=a=b",
        "create namespace NAMESPACE",
        "create deployment web --image=x",
        "create secret generic s",
        "create sa bob",
        "create service clusterip s --tcp=80",
        "create role reader --verb=get --resource=pods",
        "create rolebinding readers --role=reader",
        "create job once --image=x",
        "create pdb p --selector=a=b --min-available=1",
        "create rolebinding x",
        "create role x --verb=get",
        "create role x --resource=pods",
        "create role x --verb=fly --resource=pods",
        "create configmap x --from-file=/nowhere",
        "create configmap x --from-literal=a",
        "create token nobody",
        "create job x",
        "get deploy,svc,cm,secret,sa,role,rolebinding,job,cronjob,pdb,pod -o name",
        "get deploy",
        "get deploy -o wide",
        "get svc ext none",
        "get sa",
        "get roles",
        "get rolebindings -o wide",
        "get jobs",
        "get cronjobs",
        "get pdb",
        "get pods",
        "get pods -o wide",
        "get secret",
        "get cm",
        "get pods --show-labels",
        "get deploy web -o yaml",
        "get secret d -o jsonpath={.data}",
        "describe deploy web",
        "describe svc s",
        "describe svc ext",
        "describe svc none",
        "describe cm c",
        "describe secret s",
        "describe secret d",
        "describe sa bob",
        "describe role reader",
        "describe rolebinding readers",
        "describe job once",
        "describe cronjob hourly",
        "describe pdb p",
        "describe ns NAMESPACE",
        "describe pod bare",
        "describe pod/bare --show-events=false",
        "describe deploy we",
        "describe cm nope",
        "describe cm -l nope=nope",
        "describe nothing x",
    ]);
}

#[test]
fn what_is_there_is_changed_and_deleted() {
    let pair = Pair::start(API_ONLY);
    let file =
        pair.file("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, labels: {a: b}}\ndata: {a: '1'}\n");
    let file = file.as_str();
    pair.each_same(&[
        &["create", "-f", file][..],
        &["create", "-f", file],
        &["create", "-f", file, "--dry-run=client"],
        &["create", "-f", file, "-l", "a=c"],
        &["label", "-f", file, "x=y"],
        &["annotate", "-f", file, "x=y"],
        &["label", "-f", file, "x=z", "--local", "-o", "yaml"],
        &["patch", "-f", file, "-p", "{\"data\":{\"b\":\"2\"}}"],
        &["patch", "-f", file, "-p", "{\"data\":{\"b\":\"3\"}}", "--local", "-o", "yaml"],
        &["replace", "-f", file],
        &["replace", "-f", file, "--force"],
        &["delete", "-f", file, "--dry-run=client"],
        &["delete", "-f", file, "--dry-run=server"],
        &["delete", "-f", file, "-o", "name"],
        &["delete", "-f", file],
        &["delete", "-f", file, "--ignore-not-found"],
        &["create", "--raw", "/api/v1/namespaces/NAMESPACE/configmaps", "-f", file],
        &["replace", "--raw", "/api/v1/namespaces/NAMESPACE/configmaps/m", "-f", file],
        &["delete", "--raw", "/api/v1/namespaces/NAMESPACE/configmaps/m"],
        &["delete", "--raw", "/api/v1/namespaces/NAMESPACE/configmaps/m"],
    ]);
    pair.all_same(&[
        "create deployment web --image=nginx --replicas=2",
        "set env deploy/web A=1 B=2",
        "set env deploy/web --list",
        "set env deploy --all C=3",
        "set env deploy/web A-",
        "set env deploy/web A",
        "set image deploy/web nginx=nginx:2 --dry-run=client",
        "set image deploy/web *=nginx:3",
        "set image deploy/web",
        "set resources deploy/web --limits=cpu=100m --requests=memory=64Mi",
        "set resources deploy/web",
        "set sa deploy/web bob",
        "set serviceaccount deploy/web bob --dry-run=client -o name",
        "create role r --verb=get --resource=pods",
        "create rolebinding b --role=r --user=jane",
        "set subject rolebinding b --user=joe --serviceaccount=NAMESPACE:bob",
        "get rolebinding b -o jsonpath={.subjects}",
        "set subject rolebinding b",
        "expose deploy/web --port=80 --target-port=8080",
        "expose deploy web --name=two --port=80 --type=NodePort --dry-run=server -o name",
        "expose cm/x --port=1",
        "scale deploy web --replicas=1",
        "scale deploy/web --replicas=3 --current-replicas=7",
        "scale deploy nope --replicas=1",
        "autoscale deploy web --max=3 --cpu-percent=50",
        "autoscale deploy web --min=5 --max=3",
        "rollout history deploy/web",
        "rollout history deploy/web --revision=1",
        "rollout pause deploy/web",
        "rollout pause deploy/web",
        "rollout resume deploy/web",
        "rollout restart deploy/web",
        "rollout restart cm/x",
        "rollout status deploy/web --watch=false",
        "rollout status deploy -l app=nope",
        "wait --for=jsonpath={.spec.replicas}=1 deploy/web",
        "wait --for=jsonpath={.spec.replicas}=1 deploy/web -o name",
        "wait --for=condition=Nope deploy/web --timeout=1s",
        "wait --for=create deploy/web --timeout=1s",
        "wait --for=delete deploy/nope --timeout=1s",
        "wait --for=nonsense deploy/web",
        "wait --for=condition=Ready pods --all --field-selector=metadata.name=nope",
        "delete deploy nope",
        "delete deploy",
        "delete deploy web --now --force=false",
        "delete cm --all --dry-run=client",
        "delete svc web --grace-period=0 --force",
        "delete role,rolebinding --all",
        "delete cm -l nope=nope",
        "delete pods --field-selector=metadata.name=nope",
        "delete deploy web --all",
        "delete deploy web --cascade=sideways",
        "delete deploy x -o yaml",
        "delete nothing x",
        "delete",
        "delete pods --all --selector=a=b",
    ]);
}

#[test]
fn the_api_and_ones_rights_are_shown() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&[
        "api-resources",
        "api-resources -o wide",
        "api-resources -o name",
        "api-resources --namespaced=false",
        "api-resources --namespaced=true --api-group=apps",
        "api-resources --api-group= --no-headers",
        "api-resources --verbs=list,create --sort-by=kind",
        "api-resources --categories=all --sort-by=name",
        "api-resources --sort-by=nope",
        "api-resources -o json",
        "api-versions",
        "cluster-info",
        "auth can-i get pods",
        "auth can-i create deployments.apps",
        "auth can-i get pods --as=jane",
        "auth can-i get pods/log --as=jane -q",
        "auth can-i get /healthz",
        "auth can-i * *",
        "auth can-i get widgets",
        "auth can-i --list --as=jane",
        "auth can-i",
        "auth whoami",
        "auth whoami -o yaml",
        "auth whoami -o name",
        "top pods",
        "top nodes",
        "events",
        "events -A --for=pod/nope",
        "events --types=Normal",
        "config current-context",
        "config get-contexts -o name",
        "config get-contexts",
        "config get-clusters",
        "config get-users",
        "config view",
        "config view -o jsonpath={.clusters[0].name}",
        "config view -o go-template={{.kind}}",
        "config use-context nope",
        "config delete-context nope",
        "plugin list --name-only",
    ]);
    pair.same(&["version", "-o", "xml"]);
}

#[test]
fn roles_are_reconciled() {
    let pair = Pair::start(API_ONLY);
    let role = |namespace: &str, verbs: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r, namespace: {namespace}}}\nrules:\n- {{apiGroups: [\"\"], resources: [pods], verbs: [{verbs}]}}\n"
        )
    };
    // kubectl only looks at the namespace in the file.
    let files = |name: &str, content: &dyn Fn(&str) -> String| {
        let path = NAMESPACES.map(|(_, namespace)| pair.file(&format!("{name}-{namespace}.yaml"), &content(namespace)));
        path[0].replace(NAMESPACES[0].1, "NAMESPACE")
    };
    let (more, less) = (
        files("more", &|namespace| role(namespace, "get, list")),
        files("less", &|namespace| role(namespace, "get, watch")),
    );
    let binding = |namespace: &str, subject: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: b, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}}\nsubjects:\n- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: {subject}}}\n"
        )
    };
    let (jane, joe) =
        (files("jane", &|namespace| binding(namespace, "jane")), files("joe", &|namespace| binding(namespace, "joe")));
    let reconcile = ["auth", "reconcile", "-f"];
    let get = ["get", "role", "r", "-o", "jsonpath={.rules}"];
    let subjects = ["get", "rolebinding", "b", "-o", "jsonpath={.subjects[*].name}"];
    for words in [
        &[&reconcile[..], &[&more]].concat()[..],
        &[&reconcile[..], &[&more]].concat(),
        &[&reconcile[..], &[&less]].concat(),
        &get,
        &[&reconcile[..], &[&less, "--remove-extra-permissions"]].concat(),
        &get,
        &[&reconcile[..], &[&jane]].concat(),
        &[&reconcile[..], &[&joe]].concat(),
        &subjects,
        &[&reconcile[..], &[&joe, "--remove-extra-subjects"]].concat(),
        &subjects,
    ] {
        pair.same(words);
    }
    let map = pair.file("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n");
    pair.same(&["auth", "reconcile", "-f", &map]);
}

#[test]
fn pods_that_run_are_looked_at() {
    let server = Server::start();
    server.load(wk_guests::hello_kiamol(), HELLO);
    server.load(wk_guests::env_and_files(), "env-and-files");
    let pair = Pair::on(server);
    let two = "apiVersion: v1\nkind: Pod\nmetadata: {name: two, labels: {app: two}}\nspec:\n  restartPolicy: Never\n  initContainers:\n  - {name: first, image: env-and-files, imagePullPolicy: IfNotPresent, args: ['print:init']}\n  containers:\n  - {name: a, image: env-and-files, imagePullPolicy: IfNotPresent, args: ['lines:20']}\n  - {name: b, image: env-and-files, imagePullPolicy: IfNotPresent, args: ['print:b']}\n";
    let two = pair.file("two.yaml", two);
    pair.same(&["apply", "-f", &two]);
    pair.same(&["create", "deployment", "web", &format!("--image={HELLO}"), "--replicas=2"]);
    for (_, namespace) in NAMESPACES {
        let ended = ["-n", namespace, "get", "pod", "two", "-o", "jsonpath={.status.phase}"];
        pair.server.until(&ended, "ended", |phase| phase == "Succeeded");
        pair.server.wait_for(Tool::Wk, "Available", &["deployment/web", "-n", namespace]);
    }
    // kubectl goes through the containers in any order.
    for more in [&["two", "--prefix"][..], &["-l", "app=two", "--tail=3"]] {
        let [by_kubectl, by_wk] = NAMESPACES.map(|(tool, namespace)| {
            let said = pair.server.ok(tool, &[&["-n", namespace, "logs", "--all-containers"][..], more].concat());
            BTreeSet::from_iter(said.lines().map(str::to_owned))
        });
        assert_eq!(by_wk, by_kubectl, "{more:?}");
    }
    pair.all_same(&[
        "logs two -c a",
        "logs two b",
        "logs two",
        "logs -l app=two",
        "logs two -c a --tail=2",
        "logs two -c a --limit-bytes=10",
        "logs two -c a --since=1h",
        "logs two -c a --since-time=2000-01-01T00:00:00Z --tail=1",
        "logs two -c a --since=1h --since-time=2000-01-01T00:00:00Z",
        "logs two -c first",
        "logs two -c nope",
        "logs two -c a b",
        "logs two -p -c a",
        "logs -f two -c b",
        "logs -f -l app=two --all-containers --max-log-requests=1",
        "logs nope",
        "logs",
        "logs -l app=nope",
        "logs two -l app=two",
        "logs cm/nope",
        "logs deploy/nope",
        "exec two -- x",
        "exec deploy/nope -- x",
        "attach two",
        "port-forward nope 80",
        "port-forward two 80",
        "get pod two",
        "get events --field-selector=involvedObject.name=nope",
        "rollout status deploy/web",
        "rollout history deploy/web",
        "get rs -o wide",
        "describe pod two",
        "wait --for=condition=Available deploy --all",
        "wait --for=condition=Available deploy -l app=web",
        "get pods -l app=web --field-selector=status.phase=Running -o jsonpath={.items[*].status.phase}",
        "delete pod two --now",
        "delete deploy,pods --all --wait=false --grace-period=1 -o name --dry-run=client --ignore-not-found -l app=nope",
    ]);
}
