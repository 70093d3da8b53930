//! ConfigMaps, Secrets and the pod's own fields, as variables and as files.

use crate::harness::{Server, Tool};
use std::path::PathBuf;

fn server() -> Server {
    let server = Server::start();
    server.load(wk_guests::env_and_files(), "show");
    server.load(wk_guests::sleep(), "sleep");
    server
}

fn apply(server: &Server, name: &str, manifest: &str) {
    let path = server.file(&format!("{name}.yaml"), manifest);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
}

/// Runs a pod to its end; what it printed.
fn shown(server: &Server, name: &str) -> String {
    let phase = ["get", "pod", name, "-o", "jsonpath={.status.phase}"];
    let ended = server.until(&phase, "ended", |phase| phase == "Succeeded" || phase == "Failed");
    let logs = server.ok(Tool::Wk, &["logs", name]);
    assert_eq!(ended, "Succeeded", "{logs}");
    logs
}

/// A volume's directory on the node.
fn volume(server: &Server, pod: &str, kind: &str, name: &str) -> PathBuf {
    let uid = server.ok(Tool::Wk, &["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]);
    let volumes = server.directory().join("nodes/node-1/pods").join(uid).join("volumes");
    volumes.join(format!("kubernetes.io~{kind}")).join(name)
}

const OBJECTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue, shape: round}
binaryData: {raw: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: hush}
";

#[test]
fn settings_arrive_as_variables_and_files() {
    let server = server();
    apply(&server, "objects", OBJECTS);
    apply(
        &server,
        "all",
        "
apiVersion: v1
kind: Pod
metadata: {name: all, labels: {app: all}, annotations: {note: hi}}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: show
    imagePullPolicy: IfNotPresent
    resources: {limits: {memory: 64Mi, cpu: 250m}}
    args: [env, 'list:/all', 'list:/projected', 'read:/all/color', 'read:/some/deep/c', 'read:/secret/password', 'read:/about/labels',
           'read:/about/memory', 'read:/one.txt']
    envFrom:
    - {prefix: CFG_, configMapRef: {name: settings}}
    - {secretRef: {name: absent, optional: true}}
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: NONE, valueFrom: {configMapKeyRef: {name: settings, key: nothing, optional: true}}}
    - {name: GREETING, value: 'hello $(PASSWORD)'}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    volumeMounts:
    - {name: all, mountPath: /all}
    - {name: some, mountPath: /some}
    - {name: secret, mountPath: /secret}
    - {name: about, mountPath: /about}
    - {name: projected, mountPath: /projected}
    - {name: all, mountPath: /one.txt, subPath: shape}
  volumes:
  - {name: all, configMap: {name: settings}}
  - {name: some, configMap: {name: settings, items: [{key: color, path: deep/c, mode: 0400}]}}
  - {name: secret, secret: {secretName: keys, defaultMode: 0440}}
  - name: about
    downwardAPI:
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: memory, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}
  - name: projected
    projected:
      sources:
      - configMap: {name: settings, items: [{key: shape, path: shape}]}
      - secret: {name: keys}
      - downwardAPI: {items: [{path: note, fieldRef: {fieldPath: \"metadata.annotations['note']\"}}]}
",
    );
    let logs = shown(&server, "all");
    for line in ["CFG_color=blue", "CFG_shape=round", "PASSWORD=hush", "GREETING=hello hush", "POD_NAME=all", "CPU=250"]
    {
        assert!(logs.lines().any(|seen| seen == line), "no {line} in:\n{logs}");
    }
    assert!(logs.contains("POD_IP=10.244.") && !logs.contains("NONE="), "{logs}");
    for name in ["/all/color", "/all/raw", "/all/shape", "/projected/note", "/projected/password", "/projected/shape"] {
        assert!(logs.lines().any(|seen| seen == name), "no {name} in:\n{logs}");
    }
    // The last word is the file through a subPath.
    assert!(logs.trim_end().ends_with("bluebluehushapp=\"all\"64round"), "{logs}");
}

#[test]
fn what_is_missing_is_waited_for_and_said() {
    let server = server();
    apply(&server, "objects", OBJECTS);
    let pod = |name: &str, env: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: c, image: show, imagePullPolicy: IfNotPresent, args: [env], {env}}}]}}}}"
        )
    };
    apply(&server, "no-map", &pod("no-map", "envFrom: [{configMapRef: {name: later}}]"));
    apply(
        &server,
        "no-key",
        &pod("no-key", "env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: size}}}]"),
    );
    for (name, message) in [
        ("no-map", r#"configmap "later" not found"#),
        ("no-key", "couldn't find key size in ConfigMap default/settings"),
    ] {
        let waiting = "jsonpath={.status.containerStatuses[0].state.waiting}";
        let seen = server.until(&["get", "pod", name, "-o", waiting], "refused", |seen| seen.contains("ConfigError"));
        assert!(seen.contains("CreateContainerConfigError"), "{seen}");
        assert!(seen.replace("\\\"", "\"").contains(message), "{seen}");
        let row = server.ok(Tool::Kubectl, &["get", "pod", name]);
        assert!(row.contains("CreateContainerConfigError"), "{row}");
        let described = server.ok(Tool::Kubectl, &["describe", "pod", name]);
        assert!(described.contains(&format!("Error: {message}")), "{described}");
    }
    server.ok(Tool::Kubectl, &["create", "configmap", "later", "--from-literal=LATE=yes"]);
    server.ok(Tool::Kubectl, &["patch", "configmap", "settings", "-p", r#"{"data":{"size":"9"}}"#]);
    assert!(shown(&server, "no-map").contains("LATE=yes"));
    assert!(shown(&server, "no-key").contains("A=9"));
}

#[test]
fn a_changed_object_reaches_files_at_once_and_an_immutable_one_does_not_change() {
    let server = server();
    apply(&server, "objects", OBJECTS);
    apply(
        &server,
        "reader",
        "
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {tier: one}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: sleep
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: settings, mountPath: /s}, {name: about, mountPath: /about}]
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: about, downwardAPI: {items: [{path: tier, fieldRef: {fieldPath: \"metadata.labels['tier']\"}}]}}
",
    );
    server.wait_for(Tool::Kubectl, "Ready", &["pod/reader"]);
    let (settings, about) =
        (volume(&server, "reader", "configmap", "settings"), volume(&server, "reader", "downward-api", "about"));
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(read(settings.join("color")), "blue");
    let version = std::fs::read_link(settings.join("..data")).unwrap();
    let change = r#"{"data":{"color":"green","shape":null,"size":"9"}}"#;
    server.ok(Tool::Kubectl, &["patch", "configmap", "settings", "-p", change]);
    server.ok(Tool::Kubectl, &["label", "pod", "reader", "--overwrite", "tier=two"]);
    crate::harness::eventually("the files follow", || {
        read(settings.join("color")) == "green" && read(about.join("tier")) == "two"
    });
    assert_eq!(read(settings.join("size")), "9");
    assert!(!settings.join("shape").exists());
    assert_ne!(std::fs::read_link(settings.join("..data")).unwrap(), version, "all of it changed at once");

    server.ok(Tool::Kubectl, &["patch", "configmap", "settings", "-p", r#"{"immutable":true}"#]);
    let refused = server.fails(Tool::Kubectl, &["patch", "configmap", "settings", "-p", r#"{"data":{"color":"red"}}"#]);
    assert!(refused.contains("field is immutable when `immutable` is set"), "{refused}");
}
