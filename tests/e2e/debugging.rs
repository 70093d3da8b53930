//! Looking into pods: `debug`, `attach`, `proxy`, dumps.

use crate::{
    harness::{Server, Tool, text},
    pair::{API_ONLY, NAMESPACES, Pair},
};
use std::{io::Write, process::Stdio};

fn with_pods() -> Pair {
    let server = Server::start();
    server.load(wk_guests::env_and_files(), "env-and-files");
    let pair = Pair::on(server);
    let open = r#"{"spec":{"containers":[{"name":"p","image":"env-and-files","imagePullPolicy":"IfNotPresent","args":["stdin"],"stdin":true,"stdinOnce":true}]}}"#;
    for (tool, namespace) in NAMESPACES {
        pair.server.ok(tool, &["-n", namespace, "run", "p", "--image=env-and-files", "--overrides", open]);
        pair.server.wait_for(tool, "Ready", &["pod/p", "-n", namespace]);
    }
    pair
}

#[test]
fn debug_adds_a_container_and_joins_it() {
    let pair = with_pods();
    let image = ["--image=env-and-files", "--image-pull-policy=IfNotPresent"];
    // One that runs to its end.
    pair.same(
        &[&["debug", "p", "-c", "one", "--profile=general", "--arguments-only"], &image[..], &["--", "print:hello"]]
            .concat(),
    );
    for (tool, namespace) in NAMESPACES {
        pair.server.until(&["-n", namespace, "logs", "p", "-c", "one"], "written", |log| log == "hello\n");
        // One that is joined.
        let words = ["-n", namespace, "debug", "p", "-i", "-q", "-c", "two", "--profile=general", "--target=p"];
        let words = [&words[..], &image, &["--arguments-only", "--", "stdin"]].concat();
        let mut child = pair.server.command(tool, &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = crate::harness::lines(child.stdout.take().unwrap());
        child.stdin.as_mut().unwrap().write_all(b"over there\n").unwrap();
        crate::harness::next_matching(&lines, |line| line == "over there");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    pair.same(&["get", "pod", "p", "-o", "jsonpath={.spec.ephemeralContainers}"]);
    pair.each_same(&[
        &["debug", "p"][..],
        &["debug", "--image=x"],
        &["debug", "nope", "--image=x", "--profile=general"],
        &["debug", "p", "--image=x", "-t", "--profile=general"],
        &["debug", "p", "--image=x", "--replace", "--profile=general"],
        &["debug", "p", "--image=x", "--same-node", "--profile=general"],
        &["debug", "p", "--set-image=a=b", "--profile=general"],
        &["debug", "p", "--copy-to=q", "--profile=general"],
        &["debug", "p", "--copy-to=q", "--profile=general", "--", "sh"],
        &["debug", "p", "--copy-to=q", "--image=x", "--target=p", "--profile=general"],
        &["debug", "p", "--image=x", "--image-pull-policy=Sometimes", "--profile=general"],
        &["debug", "svc/kubernetes", "-n", "default", "--image=x", "--profile=general"],
    ]);
    let node = text(&pair.run(Tool::Wk, &["debug", "node/node-1", "--image=x", "--profile=general"]).stderr);
    assert!(node.contains("debugging nodes is not supported"), "{node}");
    assert!(!pair.ours("get pods -o name").contains("node-debugger"));
}

#[test]
fn debug_copies_a_pod() {
    let pair = with_pods();
    pair.same(&[
        "debug",
        "p",
        "--copy-to=q",
        "-c",
        "extra",
        "--image=env-and-files",
        "--image-pull-policy=IfNotPresent",
        "--profile=general",
        "--arguments-only",
        "--env=A=b",
        "--",
        "env",
    ]);
    pair.same(&[
        "debug",
        "p",
        "--copy-to=r",
        "--set-image=*=other",
        "--same-node",
        "--keep-labels",
        "--profile=general",
    ]);
    pair.same(&["debug", "p", "--copy-to=s", "-c", "p", "--share-processes=false", "--profile=baseline", "--", "x"]);
    for name in ["q", "r", "s"] {
        for field in [
            ".spec.containers[*]['name','image','command','args','env','securityContext']",
            ".metadata.labels",
            ".spec.shareProcessNamespace",
        ] {
            pair.same(&["get", "pod", name, "-o", &format!("jsonpath={{{field}}}")]);
        }
    }
    for (_, namespace) in NAMESPACES {
        pair.server.until(&["-n", namespace, "logs", "q", "-c", "extra"], "written", |log| log.contains("A=b"));
    }
    pair.same(&["debug", "p", "--copy-to=t", "--set-image=p=env-and-files", "--replace", "--profile=general"]);
    for (_, namespace) in NAMESPACES {
        let gone = |seen: &str| !seen.contains("pod/p\n");
        pair.server.until(&["-n", namespace, "get", "pods", "-o", "name"], "replaced", gone);
    }
}

#[test]
fn attach_joins_what_runs() {
    let pair = with_pods();
    for (tool, namespace) in NAMESPACES {
        let words = ["-n", namespace, "attach", "-i", "p"];
        let mut command = pair.server.command(tool, &words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"knock knock\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), "knock knock\n", "{tool:?}");
        assert!(text(&output.stderr).contains("If you don't see a command prompt, try pressing enter."), "{tool:?}");
    }
    pair.all_same(&["attach nope", "attach p -c nope"]);
}

#[test]
fn proxy_serves_the_api_without_credentials() {
    let server = Server::start_with(API_ONLY);
    for tool in Tool::BOTH {
        let mut command = server.command(tool, &["proxy", "--port=0", "--reject-methods=PUT"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = crate::harness::lines(child.stdout.take().unwrap());
        let line = lines.recv_timeout(crate::harness::PATIENCE).unwrap();
        let address =
            line.strip_prefix("Starting to serve on ").unwrap_or_else(|| panic!("{tool:?}: {line}")).to_owned();
        let ask = |method: &str, path: &str, host: &str| http(&address, method, path, host);
        assert!(ask("GET", "/version", "localhost").contains("\"gitVersion\""), "{tool:?}");
        assert!(ask("GET", "/api/v1/namespaces/default", "127.0.0.1").starts_with("HTTP/1.1 200"), "{tool:?}");
        for (method, path, host) in [
            ("GET", "/api", "evil.example"),
            ("PUT", "/api", "localhost"),
            ("GET", "/api/v1/namespaces/d/pods/p/exec", "localhost"),
        ] {
            let answer = ask(method, path, host);
            assert!(answer.starts_with("HTTP/1.1 403"), "{tool:?} {method} {path} {host}: {answer}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn http(address: &str, method: &str, path: &str, host: &str) -> String {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_dump_holds_objects_and_logs() {
    let pair = with_pods();
    // Not with kubectl, which gives up on a server without ReplicationControllers.
    for (tool, namespace) in &NAMESPACES[1..] {
        let tool = *tool;
        let directory = pair.server.directory().join(format!("dump-{namespace}"));
        let directory = directory.to_str().unwrap();
        let told =
            pair.server.ok(tool, &["cluster-info", "dump", "--output-directory", directory, "--namespaces", namespace]);
        assert_eq!(told, format!("Cluster info dumped to {directory}\n"), "{tool:?}");
        let read = |file: &str| {
            std::fs::read_to_string(format!("{directory}/{file}"))
                .unwrap_or_else(|error| panic!("{tool:?} {file}: {error}"))
        };
        assert!(read("nodes.json").contains("\"node-1\""), "{tool:?}");
        assert!(read(&format!("{namespace}/pods.json")).contains("env-and-files"), "{tool:?}");
        assert!(
            read(&format!("{namespace}/p/logs.txt"))
                .contains(&format!("==== START logs for container p of pod {namespace}/p ====")),
            "{tool:?}"
        );
    }
    assert!(pair.ours("cluster-info dump -o name").contains("pod/p\n"));
}
