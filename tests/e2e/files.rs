//! Torn, changed and missing files of the data directory, one kind at a time:
//! what can be made anew without loss is, the rest is named with what to do.

use crate::harness::{HELLO, Server, Tool, eventually, fetch, text};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const RUN: [&str; 7] = ["run", "hello", "--image", HELLO, "--image-pull-policy", "IfNotPresent", "--labels=app=hello"];

/// A server with a pod that serves, killed.
fn killed() -> Server {
    let mut server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &RUN);
    server.wait_for(Tool::Wk, "Ready", &["pod", "hello"]);
    server.stop("-KILL");
    server
}

/// The pod serves its page again.
fn serves(server: &Server) {
    server.until(&["get", "pod", "hello", "--no-headers"], "running", |row| row.contains("1/1"));
    // The API still has the state from before the crash for a moment.
    eventually("the page is there", || {
        let forward = server.forward(Tool::Wk, "pod/hello", 80);
        fetch(forward.local).is_ok_and(|page| page.contains("</html>"))
    });
}

/// Cuts a file in the middle.
fn tear(path: &Path) {
    let whole = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    fs::write(path, &whole[..whole.len() / 2]).unwrap();
}

/// All files below `directory` whose name ends so.
fn find(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => find(&path, ending),
        false => Vec::from_iter(path.to_string_lossy().ends_with(ending).then_some(path)),
    });
    found.collect()
}

#[test]
fn what_can_be_made_anew_is() {
    let mut server = killed();
    let data = server.directory().to_owned();
    let (ca, admin) = (fs::read(data.join("pki/ca.crt")).unwrap(), fs::read(data.join("kubeconfig")).unwrap());
    for name in ["kubeconfig", "pki/ca.crt", "pki/apiserver.crt", "pki/apiserver.key", "pki/admin.crt", "pki/admin.key"]
    {
        tear(&data.join(name));
    }
    fs::write(data.join("server.lock"), "\0\0not a number\n").unwrap();
    assert!(data.join("control.sock").exists(), "a killed server leaves its socket");
    let code = find(&data.join("cache"), ".cwasm");
    assert!(!code.is_empty());
    code.iter().for_each(|path| tear(path));
    // What was being written when the power went.
    fs::write(data.join("cache/half.tmp"), "half").unwrap();
    fs::write(data.join("pki/ca.key.new"), "half").unwrap();
    fs::create_dir_all(data.join("nodes/node-1/containers/half-made/rootfs/etc")).unwrap();
    fs::write(data.join("nodes/node-1/containers/half-made/rootfs/etc/hos"), "half").unwrap();
    let logs = find(&data.join("nodes/node-1/logs"), ".log");
    assert!(!logs.is_empty());
    logs.iter().for_each(|path| fs::write(path, "2026-01-01T00:00:00.000000000Z stdout F whole\n2026-01-0").unwrap());

    server.restart();
    serves(&server);
    server.ok(Tool::Wk, &["logs", "hello"]);
    assert!(server.ok(Tool::Wk, &["status"]).contains("node-1"));
    assert!(!data.join("nodes/node-1/containers/half-made").exists(), "nobody will ever finish it");
    // A client with what it had before: the authority is the same.
    let old = server.file("old-kubeconfig", &text(&admin).replace(&old_address(&admin), &address(&server)));
    let pods = server.command(Tool::Kubectl, &["get", "pods", "-o", "name"]).env("KUBECONFIG", old).output().unwrap();
    assert_eq!(text(&pods.stdout), "pod/hello\n", "{}", text(&pods.stderr));
    assert_ne!(fs::read(data.join("pki/ca.crt")).unwrap(), ca, "a certificate of its own date");
}

fn old_address(kubeconfig: &[u8]) -> String {
    let text = text(kubeconfig);
    text.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap().to_owned()
}

fn address(server: &Server) -> String {
    old_address(&fs::read(server.directory().join("kubeconfig")).unwrap())
}

#[test]
fn what_cannot_be_made_anew_is_refused_by_name() {
    let mut server = killed();
    let key = server.directory().join("pki/ca.key");
    let whole = fs::read(&key).unwrap();
    tear(&key);
    let said = server.try_restart().unwrap_err();
    assert!(said.contains("pki/ca.key is damaged") && said.contains("backup"), "{said}");
    fs::remove_file(&key).unwrap();
    let said = server.try_restart().unwrap_err();
    assert!(said.contains("pki/ca.key is missing"), "{said}");
    fs::write(&key, whole).unwrap();

    let socket = server.directory().join("control.sock");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    let said = server.try_restart().unwrap_err();
    assert!(said.contains("control.sock"), "{said}");
    fs::remove_file(&socket).unwrap();

    fs::write(server.directory().join("up.json"), "{\"nodes\": 3, \"lis").unwrap();
    let mut up = Command::new(env!("CARGO_BIN_EXE_wk"));
    let up = up.args(["up", "--no-kubeconfig", "--data-dir"]).arg(server.directory()).output().unwrap();
    let said = text(&up.stderr);
    assert!(!up.status.success() && said.contains("up.json is damaged: remove it"), "{said}");
    server.restart();
    serves(&server);
}

#[test]
fn damaged_images_are_named_by_their_pods_and_a_load_repairs_them() {
    let mut server = killed();
    let (images, cache) = (server.directory().join("images"), server.directory().join("cache"));
    let blob = fs::read_dir(images.join("blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    tear(&blob);
    fs::remove_dir_all(&cache).unwrap();
    server.restart();
    let named = |part: &str| {
        let events = ["get", "events", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}"];
        server.until(&events, part, |messages| messages.contains(part) && messages.contains("hello"));
    };
    named("is damaged on disk");
    named(blob.file_name().unwrap().to_str().unwrap());
    server.load(wk_guests::hello_kiamol(), HELLO);
    serves(&server);

    server.stop("-KILL");
    tear(&images.join("index.json"));
    server.restart();
    server.until(&["get", "events", "-o", "jsonpath={.items[*].message}"], "named", |messages| {
        messages.contains("images/index.json cannot be read") && messages.contains("load the images again")
    });
    let guest = wk_guests::hello_kiamol().to_str().unwrap();
    let error = server.fails(Tool::Wk, &["image", "load", guest, "--tag", HELLO]);
    assert!(error.contains("images/index.json cannot be read"), "{error}");
    fs::rename(images.join("index.json"), images.join("index.torn")).unwrap();
    server.load(wk_guests::hello_kiamol(), HELLO);
    serves(&server);
}
