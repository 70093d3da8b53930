//! The commands of a first course: `wk` and kubectl say and do the same.

use crate::{
    harness::{HELLO, Tool, text},
    pair::{API_ONLY, NAMESPACES, Pair},
};
use std::{io::Write, process::Stdio};

#[test]
fn labels_annotations_and_patches() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&[
        "create configmap c --from-literal=a=b",
        "label cm c x=y",
        "label cm c x=y",
        "label cm c x=z",
        "label cm c x=z --overwrite",
        "label cm c --list",
        "label cm c q=1 --dry-run=server",
        "label cm c q=1 --dry-run=client -o name",
        "label cm c x-",
        "label cm c a=b=c",
        "label cm c",
        "label cm --all t=1 --resource-version=1",
        "label cm nope a=b",
        "annotate cm c note=hi",
        "annotate cm c note=ho",
        "annotate cm c note=ho --overwrite",
        "annotate cm c note-",
        "patch cm c -p {\"data\":{\"z\":\"1\"}}",
        "patch cm c -p {\"data\":{\"z\":\"1\"}}",
        "patch cm c --type=json -p [{\"op\":\"replace\",\"path\":\"/data/z\",\"value\":\"2\"}]",
        "patch cm c --type=merge -p {\"data\":{\"z\":null}} -o name",
        "patch cm c --type=bad -p {}",
        "patch cm nope -p {}",
    ]);
    assert_eq!(pair.ours("get cm c -o jsonpath={.data}"), r#"{"a":"b"}"#);
    let labels = pair.ours("label cm c --list");
    assert!(!labels.contains("x="), "{labels}");
}

#[test]
fn every_kind_is_created_as_kubectl_does() {
    let pair = Pair::start(API_ONLY);
    for line in [
        "deployment web --image=nginx --replicas=2 --port=80",
        "service clusterip s --tcp=80:8080",
        "service nodeport s --tcp=80 --node-port=30001",
        "service externalname s --external-name=x.org",
        "serviceaccount bob",
        "role r --verb=get,list --resource=pods,deployments.apps",
        "clusterrole r --verb=get --non-resource-url=/healthz",
        "rolebinding b --role=r --user=jane --serviceaccount=ns:bob",
        "clusterrolebinding b --clusterrole=r --group=g",
        "poddisruptionbudget p --selector=app=web --min-available=1",
        "priorityclass p --value=10 --description=x",
        "ingress i --rule=a.org/x*=web:80,tls=c",
        "secret generic s --from-literal=a=b",
        "secret docker-registry s --docker-username=u --docker-password=p --docker-server=r",
        "configmap c --from-literal=a=yes --from-literal=b=1",
        "namespace n",
        "job j --image=busybox -- sleep 1",
        "cronjob c --image=busybox --schedule=@hourly",
    ] {
        // What follows `--` is the container's.
        let (words, rest) =
            line.split_once(" -- ").map_or((line, String::new()), |(words, rest)| (words, format!(" -- {rest}")));
        pair.all_same(&[&format!("create {words} --dry-run=client -o yaml{rest}")]);
    }
    pair.all_same(&["run p --image=nginx --port=80 --env=A=b --dry-run=client -o yaml"]);
    pair.all_same(&["create secret generic s --from-literal=a=b"]);
    let file = pair.server.file("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1'}\n");
    let file = file.to_str().unwrap();
    for verb in ["create", "create", "replace"] {
        pair.same(&[verb, "-f", file]);
    }
    pair.same(&["replace", "-f", "nowhere.yaml"]);
}

#[test]
fn workloads_are_set_exposed_and_scaled() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&[
        "create deployment web --image=nginx --replicas=2 --port=80",
        "expose deployment web --port=80 --dry-run=client -o yaml",
        "expose deployment web --type=NodePort --target-port=http",
        "expose deployment web --port=80",
        "set image deployment/web nginx=nginx:2",
        "set image deployment/web nginx=nginx:2",
        "set image deployment/web nope=nginx:2",
        "set env deployment/web A=1 B=2",
        "set env deployment/web A-",
        "set env deployment/web --list",
        "set resources deployment web --limits=cpu=1,memory=64Mi",
        "set serviceaccount deployment web default",
        "set selector svc web app=other",
        "scale deployment/web --replicas=3",
        "scale deployment/web --replicas=3 --current-replicas=5",
    ]);
    let container = pair.ours("get deploy web -o jsonpath={.spec.template.spec.containers[0]}");
    for part in ["nginx:2", r#""name":"B","value":"2""#, r#""memory":"64Mi""#] {
        assert!(container.contains(part), "no {part} in {container}");
    }
    assert!(!container.contains(r#""name":"A""#), "{container}");
}

#[test]
fn rollouts_are_told_and_undone() {
    let pair = Pair::start(&[]);
    pair.server.load(wk_guests::hello_kiamol(), HELLO);
    let image = format!("--image={HELLO}");
    pair.same(&["create", "deployment", "web", &image]);
    for (_, namespace) in NAMESPACES {
        pair.server.wait_for(Tool::Wk, "Available", &["deployment/web", "-n", namespace]);
    }
    pair.all_same(&[
        "rollout status deployment/web",
        "rollout history deployment/web",
        "rollout undo deployment/web",
        "set env deployment/web A=1",
    ]);
    for (tool, _) in NAMESPACES {
        // How many steps are seen depends on the moment; the last one does not.
        let told = text(&pair.run(tool, &["rollout", "status", "deployment/web", "--timeout=90s"]).stdout);
        assert_eq!(told.lines().last(), Some("deployment \"web\" successfully rolled out"), "{tool:?}");
    }
    pair.all_same(&[
        "rollout history deployment/web",
        "rollout undo deployment/web --to-revision=99",
        "rollout undo deployment/web",
        "rollout pause deployment/web",
        "rollout pause deployment/web",
        "rollout restart deployment/web",
        "rollout undo deployment/web",
        "rollout resume deployment/web",
        "rollout resume deployment/web",
        "rollout restart deployment/web",
        "rollout restart svc/nope",
        "rollout status deployment/nope",
        "rollout status",
    ]);
    let env = pair.ours("get deploy web -o jsonpath={.spec.template.spec.containers[0].env}");
    assert_eq!(env, "", "undo brought the first template back");
}

#[test]
fn nodes_are_cordoned_tainted_and_drained() {
    let pair = Pair::start(&[]);
    pair.server.load(wk_guests::hello_kiamol(), HELLO);
    // Nodes belong to nobody's namespace, so the two take turns.
    for (tool, namespace) in NAMESPACES {
        let run = |line: &str| {
            let output = pair.run(tool, &line.split(' ').collect::<Vec<_>>());
            format!("{}{}", text(&output.stdout), text(&output.stderr))
        };
        assert_eq!(run("cordon node-1"), "node/node-1 cordoned\n", "{tool:?}");
        assert_eq!(run("cordon node-1"), "node/node-1 already cordoned\n", "{tool:?}");
        assert_eq!(run("uncordon node-1"), "node/node-1 uncordoned\n", "{tool:?}");
        assert_eq!(run("taint nodes node-1 k=v:NoSchedule"), "node/node-1 tainted\n", "{tool:?}");
        let exists = "error: node node-1 already has k taint(s) with same effect(s) and --overwrite is false\n";
        assert_eq!(run("taint nodes node-1 k=w:NoSchedule"), exists, "{tool:?}");
        assert_eq!(run("taint nodes node-1 k=w:NoSchedule --overwrite"), "node/node-1 modified\n", "{tool:?}");
        assert_eq!(run("taint nodes node-1 k-"), "node/node-1 untainted\n", "{tool:?}");
        assert_eq!(run("taint nodes node-1 k-"), "error: taint \"k\" not found\n", "{tool:?}");
        let image = format!("--image={HELLO}");
        pair.server.ok(tool, &["-n", namespace, "run", "bare", &image, "--image-pull-policy=IfNotPresent"]);
        pair.server.wait_for(tool, "Ready", &["pod/bare", "-n", namespace]);
        let refused = run("drain node-1");
        assert!(refused.contains("Pods that declare no controller (use --force to override)"), "{tool:?}: {refused}");
        let drained = run("drain node-1 --force --grace-period=1");
        let expected = [
            "node/node-1 already cordoned".to_owned(),
            format!("Warning: deleting Pods that declare no controller: {namespace}/bare"),
            format!("evicting pod {namespace}/bare"),
            "pod/bare evicted".to_owned(),
            "node/node-1 drained".to_owned(),
        ];
        for line in expected {
            assert!(drained.lines().any(|seen| seen == line), "{tool:?}: no {line:?} in\n{drained}");
        }
        assert_eq!(run("uncordon node-1"), "node/node-1 uncordoned\n", "{tool:?}");
    }
}

#[test]
fn editing_and_diffing() {
    let pair = Pair::start(API_ONLY);
    pair.all_same(&["create configmap c --from-literal=a=1"]);
    let file = pair.server.file("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '2'}\n");
    for (tool, namespace) in NAMESPACES {
        let edit = |editor: &str| {
            let mut command = pair.server.command(tool, &["-n", namespace, "edit", "cm", "c"]);
            command.env("KUBE_EDITOR", editor).stdin(Stdio::null()).output().unwrap()
        };
        assert_eq!(text(&edit("true").stderr), "Edit cancelled, no changes made.\n", "{tool:?}");
        let edited = edit("sed -i 's/^  a: .*/  a: three/'");
        assert_eq!(text(&edited.stdout), "configmap/c edited\n", "{tool:?}: {}", text(&edited.stderr));
        let value = pair.server.ok(tool, &["-n", namespace, "get", "cm", "c", "-o", "jsonpath={.data.a}"]);
        assert_eq!(value, "three", "{tool:?}");
        let diff = || pair.run(tool, &["diff", "-f", file.to_str().unwrap()]);
        let differs = diff();
        assert_eq!(differs.status.code(), Some(1), "{tool:?}: {}", text(&differs.stderr));
        let told = text(&differs.stdout);
        assert!(told.contains("-  a: three\n") && told.contains("+  a: \"2\"\n"), "{tool:?}: {told}");
        pair.server.ok(tool, &["-n", namespace, "apply", "-f", file.to_str().unwrap()]);
        assert_eq!(diff().status.code(), Some(0), "{tool:?}");
        let broken = pair.run(tool, &["diff", "-f", "nowhere.yaml"]);
        assert!(broken.status.code().is_some_and(|code| code > 1), "{tool:?}");
    }
}

#[test]
fn exec_passes_streams_and_the_exit_code() {
    let pair = Pair::start(&[]);
    pair.server.load(wk_guests::env_and_files(), "env-and-files");
    let open = r#"{"spec":{"containers":[{"name":"e","image":"env-and-files","imagePullPolicy":"IfNotPresent","args":["stdin"],"stdin":true}]}}"#;
    for (tool, namespace) in NAMESPACES {
        let run = ["-n", namespace, "run", "e", "--image=env-and-files", "--overrides", open];
        pair.server.ok(tool, &run);
        pair.server.wait_for(tool, "Ready", &["pod/e", "-n", namespace]);
    }
    pair.all_same(&[
        "exec e -- env-and-files print:out stderr:err",
        "exec e -- env-and-files bad",
        "exec e",
        "exec nope -- x",
    ]);
    // More than any buffer on the way, there and back.
    let input: String = (0..200_000).map(|line| format!("line {line}\n")).collect();
    for (tool, namespace) in NAMESPACES {
        let words = ["-n", namespace, "exec", "-i", "e", "--", "env-and-files", "stdin"];
        let mut command = pair.server.command(tool, &words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, sent) = (child.stdin.take().unwrap(), input.clone());
        let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success() && text(&output.stdout) == input, "{tool:?}");
        // Joined until its input ends, then gone.
        let run = ["-n", namespace, "run", "once", "--image=env-and-files", "--image-pull-policy=IfNotPresent"];
        let words = [&run[..], &["--restart=Never", "-i", "--rm", "--", "stdin"]].concat();
        let mut command = pair.server.command(tool, &words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{tool:?}");
        let told = text(&output.stdout);
        assert!(told.contains("hello\n") && told.contains("pod \"once\" deleted"), "{tool:?}: {told}");
        let gone = |seen: &str| !seen.contains("once");
        pair.server.until(&["-n", namespace, "get", "pods", "-o", "name"], "deleted", gone);
    }
}

#[test]
fn lists_are_sorted_and_have_columns() {
    let pair = Pair::start(API_ONLY);
    for (name, size) in [("c10", "1"), ("c9", "30"), ("a", "4")] {
        pair.all_same(&[
            &format!("create configmap {name} --from-literal=n={size}"),
            &format!("label cm {name} size={size}"),
        ]);
    }
    pair.all_same(&[
        "get cm --sort-by=.metadata.name -o name",
        "get cm --sort-by=.data.n -o name",
        "get cm -l size -L size --no-headers -o custom-columns=N:.metadata.name",
        "api-versions",
        "get nothing",
    ]);
    let table = pair.ours("get cm -l size -L size --sort-by=.data.n");
    let names: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "c10", "a", "c9"], "{table}");
    assert!(table.lines().next().unwrap().ends_with("SIZE"), "{table}");
}
