//! Mistakes get the error that a Kubernetes user knows, and harm nobody else.

use crate::harness::{HELLO, Server, Tool};

#[test]
fn manifests_with_mistakes_are_refused_in_the_fields_words() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    let cases = [
        ("apiVersion: v1\nkind: [Pod\nmetadata: {}\n", "line "),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b}], colour: red}\n",
            "spec.colour",
        ),
        ("apiVersion: v1\nkind: Widget\nmetadata: {name: x}\n", "no matches for kind \"Widget\" in version \"v1\""),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n", "Invalid value: \"Not_A_Name\""),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: c}}\n    spec: {containers: [{name: a, image: b}]}\n",
            "`selector` does not match template `labels`",
        ),
    ];
    for (manifest, expected) in cases {
        let path = server.file("bad.yaml", manifest);
        for tool in Tool::BOTH {
            // kubectl asks for CustomResourceDefinitions before it says this, and
            // there are none here.
            if tool == Tool::Kubectl && expected.contains("no matches for kind") {
                continue;
            }
            let error = server.fails(tool, &["apply", "-f", path.to_str().unwrap()]);
            assert!(error.contains(expected), "{tool:?}: no {expected:?} in {error}");
        }
    }
}

#[test]
fn images_that_cannot_run_say_what_to_do() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["run", "stranger", "--image", "nobody/has-this"]);
    server.until(&["get", "pod", "stranger"], "ImagePullBackOff", |seen| seen.contains("ImagePullBackOff"));
    let described = server.ok(Tool::Kubectl, &["describe", "pod", "stranger"]);
    assert!(described.contains("ErrImagePull") && described.contains("wk image load"), "{described}");

    let text = server.file("page.html", "<html></html>");
    let error = server.fails(Tool::Wk, &["image", "load", text.to_str().unwrap(), "--tag", "page"]);
    assert!(error.contains("wasm"), "{error}");
    let error = server.fails(Tool::Wk, &["image", "load", text.to_str().unwrap(), "--tag", "Not A Name"]);
    assert!(error.contains("invalid reference format"), "{error}");
}

#[test]
fn greedy_guests_are_stopped_and_others_go_on() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.load(wk_guests::busy_loop(), "busy-loop");
    server.load(wk_guests::memory_hog(), "memory-hog");
    for name in ["busy-1", "busy-2", "busy-3"] {
        server.ok(Tool::Wk, &["run", name, "--image", "busy-loop", "--image-pull-policy", "IfNotPresent"]);
    }
    let hog = "apiVersion: v1\nkind: Pod\nmetadata: {name: hog}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: hog\n    image: memory-hog\n    imagePullPolicy: IfNotPresent\n    args: ['10240']\n    resources: {limits: {memory: 64Mi}}\n";
    let path = server.file("hog.yaml", hog);
    server.ok(Tool::Kubectl, &["apply", "-f", path.to_str().unwrap()]);
    server.until(&["get", "pod", "hog"], "OOMKilled", |seen| seen.contains("OOMKilled"));

    server.ok(Tool::Wk, &["run", "hello", "--image", HELLO, "--image-pull-policy", "IfNotPresent"]);
    server.wait_for(Tool::Wk, "Ready", &["pod", "hello"]);
    let forward = server.forward(Tool::Wk, "pod/hello", 80);
    assert!(crate::harness::fetch(forward.local).unwrap().contains("</html>"));
    server.ok(Tool::Kubectl, &["delete", "pod", "busy-1", "busy-2", "busy-3", "--grace-period=1"]);
}
