//! Objects come, change and go, by file and by flag.

use crate::harness::{HELLO, Server, Tool};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  color: blue\n";

#[test]
fn apply_says_created_configured_unchanged() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    for tool in Tool::BOTH {
        let name = format!("settings-{tool:?}").to_lowercase();
        let manifest = CONFIG.replace("settings", &name);
        let path = server.file("config.yaml", &manifest);
        let apply = || server.ok(tool, &["apply", "-f", path.to_str().unwrap()]);
        assert_eq!(apply(), format!("configmap/{name} created\n"));
        assert_eq!(apply(), format!("configmap/{name} unchanged\n"));
        server.file("config.yaml", &manifest.replace("blue", "green"));
        assert_eq!(apply(), format!("configmap/{name} configured\n"));
        let color = server.ok(tool, &["get", "configmap", &name, "-o", "jsonpath={.data.color}"]);
        assert_eq!(color, "green");
    }
}

#[test]
fn apply_takes_directories_standard_input_and_several_documents() {
    use std::io::Write;
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    let directory = server.directory().join("manifests");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(
        directory.join("a.yaml"),
        format!("{}---\n{}", CONFIG.replace("settings", "a"), CONFIG.replace("settings", "b")),
    )
    .unwrap();
    std::fs::write(directory.join("c.json"), r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#)
        .unwrap();
    std::fs::write(directory.join("notes.txt"), "not a manifest").unwrap();
    for tool in Tool::BOTH {
        let output = server.ok(tool, &["apply", "-f", directory.to_str().unwrap()]);
        assert_eq!(output.lines().count(), 3, "{output}");
        let mut command = server.command(tool, &["apply", "-f", "-"]);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(CONFIG.as_bytes()).unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let names = server.ok(Tool::Wk, &["get", "cm", "-o", "name"]);
    for name in ["a", "b", "c", "settings"] {
        assert!(names.contains(&format!("configmap/{name}\n")), "{names}");
    }
}

#[test]
fn apply_takes_a_url() {
    use std::io::{Read, Write};
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/config.yaml", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", CONFIG.len());
            stream.write_all(format!("{head}{CONFIG}").as_bytes()).unwrap();
        }
    });
    for (tool, verb) in [(Tool::Wk, "created"), (Tool::Kubectl, "unchanged")] {
        assert_eq!(server.ok(tool, &["apply", "-f", &url]), format!("configmap/settings {verb}\n"));
    }
}

#[test]
fn server_side_apply_refuses_what_another_manages() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    for tool in Tool::BOTH {
        let path = server.file("config.yaml", CONFIG);
        let path = path.to_str().unwrap();
        let output = server.ok(tool, &["apply", "--server-side", "--force-conflicts", "-f", path]);
        assert_eq!(output, "configmap/settings serverside-applied\n");
        server.file("config.yaml", &CONFIG.replace("blue", "red"));
        let conflict = server.fails(tool, &["apply", "--server-side", "--field-manager", "other", "-f", path]);
        assert!(conflict.contains("conflict") && conflict.contains(".data.color"), "{conflict}");
    }
}

#[test]
fn create_scale_and_delete_in_every_form() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    for tool in Tool::BOTH {
        let image = format!("--image={HELLO}");
        server.ok(tool, &["create", "deployment", "web", &image, "--replicas=2"]);
        server.wait_for(tool, "Available", &["deployment/web"]);
        server.ok(tool, &["scale", "deployment/web", "--replicas=3"]);
        server.until(&["get", "deploy", "web"], "three ready", |seen| seen.contains("3/3"));
        let exists = server.fails(tool, &["create", "deployment", "web", &image]);
        assert!(exists.contains("AlreadyExists") || exists.contains("already exists"), "{exists}");
        server.ok(tool, &["delete", "deployment", "web"]);
        let gone = |seen: &str| seen.is_empty();
        server.until(&["get", "pods,rs", "-l", "app=web", "-o", "name"], "gone", gone);
        let missing = server.fails(tool, &["delete", "deployment", "web"]);
        assert_eq!(missing, "Error from server (NotFound): deployments.apps \"web\" not found\n");
        server.ok(tool, &["create", "configmap", "one"]);
        server.ok(tool, &["delete", "configmap", "one"]);
    }
    server.ok(Tool::Wk, &["create", "configmap", "two"]);
    server.ok(Tool::Wk, &["delete", "configmap", "--all"]);
    server.ok(Tool::Kubectl, &["create", "namespace", "other"]);
    server.ok(Tool::Kubectl, &["delete", "namespace", "other"]);
}
