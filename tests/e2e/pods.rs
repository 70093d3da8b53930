//! What a pod may ask for besides its containers: probes, hooks, helpers that
//! run before and beside them, names, limits on the disk, last words.

use crate::harness::{Server, Tool, eventually};

/// A server whose image `tools` is good for any command of the toolbox.
fn server() -> Server {
    Server::with_image(wk_guests::sleep(), "tools")
}

/// Creates a pod `name` whose spec is `spec`, in YAML's flow style.
fn create(server: &Server, name: &str, spec: &str) {
    let pod =
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {spec}}}");
    let path = server.file(&format!("{name}.yaml"), &pod);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
}

/// A container of a script.
fn container(name: &str, script: &str, more: &str) -> String {
    let script = script.replace('\'', "''");
    format!("{{name: {name}, image: tools, imagePullPolicy: IfNotPresent, command: [sh, -c, '{script}'], {more}}}")
}

fn field(server: &Server, pod: &str, path: &str) -> String {
    server.ok(Tool::Wk, &["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")])
}

fn until(server: &Server, pod: &str, path: &str, wanted: &str) {
    server.until(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")], wanted, |seen| seen == wanted);
}

fn exec(server: &Server, pod: &str, script: &str) -> String {
    server.ok(Tool::Kubectl, &["exec", pod, "--", "sh", "-c", script])
}

/// The reasons and messages that `kubectl describe` shows.
fn described(server: &Server, pod: &str, wanted: &[&str]) {
    let all = |seen: &str| wanted.iter().all(|text| seen.contains(text));
    server.until(&["describe", "pod", pod], &wanted.join(", "), all);
    let seen = server.ok(Tool::Kubectl, &["describe", "pod", pod]);
    assert!(all(&seen), "kubectl shows it too: {seen}");
}

#[test]
fn probes_gate_and_kill() {
    let server = server();
    let probes = "startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 30, \
                  failureThreshold: 60}, \
                  readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1, timeoutSeconds: 30, \
                  failureThreshold: 1}, \
                  livenessProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 30, \
                  failureThreshold: 1, terminationGracePeriodSeconds: 1}";
    create(&server, "web", &format!("{{containers: [{}]}}", container("c", "sleep 1000", probes)));
    let running = "jsonpath={.status.containerStatuses[0].state.running.startedAt}";
    server.until(&["get", "pod", "web", "-o", running], "running", |seen| !seen.is_empty());
    assert_eq!(field(&server, "web", ".status.containerStatuses[0].started"), "false");
    described(&server, "web", &["Startup probe failed:"]);
    exec(&server, "web", "touch /tmp/up");
    until(&server, "web", ".status.containerStatuses[0].started", "true");
    described(&server, "web", &["Readiness probe failed: cat: "]);
    exec(&server, "web", "touch /tmp/ready");
    server.wait_for(Tool::Kubectl, "Ready", &["pod/web"]);
    assert_eq!(field(&server, "web", ".status.containerStatuses[0].restartCount"), "0");
    exec(&server, "web", "rm /tmp/up");
    until(&server, "web", ".status.containerStatuses[0].restartCount", "1");
    described(&server, "web", &["Liveness probe failed:", "Container c failed liveness probe, will be restarted"]);
}

#[test]
fn an_http_probe_of_a_guest_that_serves_makes_it_ready() {
    let server = Server::with_image(wk_guests::whoami(), "whoami");
    let probe = |port: u16| {
        format!(
            "{{containers: [{{name: c, image: whoami, imagePullPolicy: IfNotPresent, ports: [{{name: web, containerPort: 80}}], \
                 readinessProbe: {{httpGet: {{port: {port}, path: /any}}, periodSeconds: 1}}}}]}}"
        )
    };
    create(&server, "good", &probe(80));
    server.wait_for(Tool::Kubectl, "Ready", &["pod/good"]);
    create(&server, "bad", &probe(81));
    let ip = server.until(&["get", "pod", "bad", "-o", "jsonpath={.status.podIP}"], "an address", |ip| !ip.is_empty());
    let refused =
        format!("Readiness probe failed: Get \"http://{ip}:81/any\": dial tcp {ip}:81: connect: connection refused");
    described(&server, "bad", &[&refused]);
    let reason = r#".status.conditions[?(@.type=="Ready")].reason"#;
    assert_eq!(field(&server, "bad", reason), "ContainersNotReady");
    assert!(server.ok(Tool::Kubectl, &["get", "pod", "bad"]).contains("0/1"));
}

#[test]
fn helpers_run_before_and_beside_and_hooks_at_both_ends() {
    let server = server();
    let kept = server.directory().join("kept");
    std::fs::create_dir(&kept).unwrap();
    let mount = "volumeMounts: [{name: kept, mountPath: /kept}]";
    let sidecar =
        "restartPolicy: Always, startupProbe: {exec: {command: [test, -e, /kept/sidecar-up]}, periodSeconds: 1}";
    let hooks = "lifecycle: {postStart: {exec: {command: [sh, -c, 'echo postStart >> /kept/order']}}, \
                 preStop: {exec: {command: [sh, -c, 'echo preStop >> /kept/order']}}}";
    let inits = [
        container("first", "echo first >> /kept/order", mount),
        container(
            "beside",
            "echo beside >> /kept/order; touch /kept/sidecar-up; sleep 1000",
            &format!("{mount}, {sidecar}"),
        ),
        container("second", "echo second >> /kept/order", mount),
    ];
    let main = container("main", "sleep 1000", &format!("{mount}, {hooks}"));
    let volumes = format!("volumes: [{{name: kept, hostPath: {{path: {}, type: Directory}}}}]", kept.display());
    let spec = format!(
        "{{terminationGracePeriodSeconds: 20, initContainers: [{}], containers: [{main}], {volumes}}}",
        inits.join(", ")
    );
    create(&server, "all", &spec);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/all"]);
    let order = || std::fs::read_to_string(kept.join("order")).unwrap_or_default();
    assert_eq!(order(), "first\nbeside\nsecond\npostStart\n");
    assert!(server.ok(Tool::Kubectl, &["get", "pod", "all"]).contains("2/2"), "a sidecar counts");
    let states = field(&server, "all", ".status.initContainerStatuses[*].state.terminated.reason");
    assert_eq!(states, "Completed Completed");
    server.ok(Tool::Kubectl, &["delete", "pod", "all"]);
    assert_eq!(order(), "first\nbeside\nsecond\npostStart\npreStop\n");
}

#[test]
fn hooks_that_fail_say_so() {
    let server = server();
    let bad = "lifecycle: {postStart: {exec: {command: ['false']}}}";
    create(&server, "start", &format!("{{containers: [{}]}}", container("c", "sleep 1000", bad)));
    until(&server, "start", ".status.containerStatuses[0].state.waiting.reason", "PostStartHookError");
    described(&server, "start", &["FailedPostStartHook", "PostStartHook failed", "Killing"]);
    let bad = "lifecycle: {preStop: {exec: {command: ['false']}}}";
    create(&server, "stop", &format!("{{containers: [{}]}}", container("c", "sleep 1000", bad)));
    server.wait_for(Tool::Kubectl, "Ready", &["pod/stop"]);
    server.ok(Tool::Kubectl, &["delete", "pod", "stop"]);
    let events = ["get", "events", "--field-selector", "involvedObject.name=stop", "-o", "jsonpath={.items[*].reason}"];
    server.until(&events, "the hook's failure", |seen| seen.contains("FailedPreStopHook"));
}

#[test]
fn last_words_deadlines_and_codes_are_shown() {
    let server = server();
    let once = |container: String| format!("{{restartPolicy: Never, containers: [{container}]}}");
    create(&server, "wrote", &once(container("c", "echo bye > /dev/termination-log; exit 3", "")));
    let fallback = "terminationMessagePolicy: FallbackToLogsOnError";
    create(&server, "logged", &once(container("c", "echo one; echo two; exit 4", fallback)));
    create(
        &server,
        "late",
        &format!("{{activeDeadlineSeconds: 2, containers: [{}]}}", container("c", "sleep 1000", "")),
    );
    for (name, code, message) in [("wrote", "3", "bye\n"), ("logged", "4", "one\ntwo\n")] {
        until(&server, name, ".status.phase", "Failed");
        let terminated = ".status.containerStatuses[0].state.terminated";
        assert_eq!(field(&server, name, &format!("{terminated}.exitCode")), code);
        assert_eq!(field(&server, name, &format!("{terminated}.message")), message);
        assert_eq!(field(&server, name, &format!("{terminated}.reason")), "Error");
    }
    until(&server, "late", ".status.phase", "Failed");
    assert_eq!(field(&server, "late", ".status.reason"), "DeadlineExceeded");
    described(&server, "late", &["Pod was active on the node longer than the specified deadline"]);
    let script = "test -e /data/again || { touch /data/again; exit 5; }";
    let twice = container("c", script, "volumeMounts: [{name: data, mountPath: /data}]");
    let spec = "restartPolicy: OnFailure, volumes: [{name: data, emptyDir: {}}]";
    create(&server, "retried", &format!("{{{spec}, containers: [{twice}]}}"));
    until(&server, "retried", ".status.phase", "Succeeded");
    assert_eq!(field(&server, "retried", ".status.containerStatuses[0].restartCount"), "1");
}

#[test]
fn a_pod_knows_its_names_and_those_it_was_given() {
    let server = server();
    server.ok(Tool::Kubectl, &["create", "service", "clusterip", "web", "--clusterip=None"]);
    let names = "hostname: zero, subdomain: web, hostAliases: [{ip: 10.1.2.3, hostnames: [db, db.example]}], \
                 dnsConfig: {searches: [extra.example], options: [{name: ndots, value: '2'}]}";
    create(&server, "web", &format!("{{{names}, containers: [{}]}}", container("c", "sleep 1000", "")));
    server.wait_for(Tool::Kubectl, "Ready", &["pod/web"]);
    let ip = field(&server, "web", ".status.podIP");
    let full = "zero.web.default.svc.cluster.local";
    let said = exec(&server, "web", "hostname; hostname -f; hostname -i; cat /etc/hostname");
    assert_eq!(said, format!("zero\n{full}\n{ip}\nzero\n"));
    let hosts = exec(&server, "web", "cat /etc/hosts");
    assert!(hosts.contains(&format!("{ip}\t{full}\tzero\n")), "{hosts}");
    assert!(hosts.ends_with("# Entries added by HostAliases.\n10.1.2.3\tdb\n10.1.2.3\tdb.example\n"), "{hosts}");
    let resolv = exec(&server, "web", "cat /etc/resolv.conf");
    let searches = "search default.svc.cluster.local svc.cluster.local cluster.local extra.example\n";
    assert!(resolv.contains(searches) && resolv.contains("options ndots:2\n"), "{resolv}");
    let spec = format!(
        "{{hostname: zero, subdomain: web, setHostnameAsFQDN: true, containers: [{}]}}",
        container("c", "sleep 1000", "")
    );
    create(&server, "full", &spec);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/full"]);
    assert_eq!(exec(&server, "full", "hostname"), format!("{full}\n"));
}

#[test]
fn a_pod_that_fills_its_disk_is_evicted() {
    let server = server();
    // 2 MiB.
    let fill = |path: &str| {
        let double = format!("cat {path} {path} > {path}2; mv {path}2 {path}");
        format!("printf %4096s x > {path}; for i in 1 2 3 4 5 6 7 8 9; do {double}; done; sleep 1000")
    };
    let volume = "volumes: [{name: scratch, emptyDir: {sizeLimit: 1Mi}}]";
    let mount = "volumeMounts: [{name: scratch, mountPath: /scratch}]";
    create(&server, "volume", &format!("{{containers: [{}], {volume}}}", container("c", &fill("/scratch/big"), mount)));
    let limit = "resources: {limits: {ephemeral-storage: 1Mi}}";
    create(&server, "root", &format!("{{containers: [{}]}}", container("c", &fill("/tmp/big"), limit)));
    create(
        &server,
        "fits",
        &format!("{{containers: [{}], {volume}}}", container("c", "echo x > /scratch/small; sleep 1000", mount)),
    );
    until(&server, "volume", ".status.phase", "Failed");
    let message = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ";
    assert_eq!(field(&server, "volume", ".status.message"), message);
    described(&server, "volume", &["Reason:           Evicted", message.trim_end(), "Killing"]);
    until(&server, "root", ".status.phase", "Failed");
    let message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    assert_eq!(field(&server, "root", ".status.message"), message);
    assert_eq!(field(&server, "fits", ".status.phase"), "Running");
    let uid = field(&server, "volume", ".metadata.uid");
    let volumes = server.directory().join("nodes/node-1/pods").join(uid).join("volumes");
    eventually("its volumes are gone", || !volumes.exists());
}

#[test]
fn a_changed_object_reaches_a_running_guest_but_not_through_a_sub_path() {
    let server = server();
    server.ok(Tool::Kubectl, &["create", "configmap", "settings", "--from-literal=color=blue"]);
    let mounts = "volumeMounts: [{name: v, mountPath: /all}, {name: v, mountPath: /one, subPath: color}]";
    let spec = format!(
        "{{containers: [{}], volumes: [{{name: v, configMap: {{name: settings}}}}]}}",
        container("c", "sleep 1000", mounts)
    );
    create(&server, "reader", &spec);
    server.wait_for(Tool::Kubectl, "Ready", &["pod/reader"]);
    assert_eq!(exec(&server, "reader", "cat /all/color; echo; cat /one"), "blue\nblue");
    server.ok(Tool::Kubectl, &["patch", "configmap", "settings", "-p", r#"{"data":{"color":"green"}}"#]);
    let follows = ["exec", "reader", "--", "cat", "/all/color"];
    server.until(&follows, "the new value", |seen| seen == "green");
    assert_eq!(exec(&server, "reader", "cat /one"), "blue");
    let refused = server.fails(Tool::Kubectl, &["exec", "reader", "--", "sh", "-c", "echo red > /all/color"]);
    assert!(refused.contains("/all/color"), "{refused}");
    assert_eq!(exec(&server, "reader", "cat /all/color"), "green");
}
