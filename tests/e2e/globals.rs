//! The flags of every command, and what is said when there is no cluster.

use crate::{
    harness::{Server, Tool, text},
    pair::{API_ONLY, Pair, scrub},
};

/// Server, authority, certificate and key as files, out of the server's kubeconfig.
struct Credentials {
    url: String,
    authority: String,
    certificate: String,
    key: String,
}

fn credentials(server: &Server) -> Credentials {
    let view =
        |path: &str| server.ok(Tool::Kubectl, &["config", "view", "--raw", "-o", &format!("jsonpath={{{path}}}")]);
    let file = |name: &str, path: &str| {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let bytes = BASE64_STANDARD.decode(view(path)).unwrap();
        server.file(name, &text(&bytes)).to_str().unwrap().to_owned()
    };
    Credentials {
        url: view(".clusters[0].cluster.server"),
        authority: file("ca.pem", ".clusters[0].cluster.certificate-authority-data"),
        certificate: file("client.pem", ".users[0].user.client-certificate-data"),
        key: file("client.key", ".users[0].user.client-key-data"),
    }
}

#[test]
fn every_flag_of_kubectl_that_is_offered_works() {
    let pair = Pair::start(API_ONLY);
    let Credentials { url, authority, certificate, key } = credentials(&pair.server);
    let port = url.rsplit(':').next().unwrap().to_owned();
    let empty = pair.file("empty-kubeconfig", "");
    let whoami = &["auth", "whoami", "-o", "jsonpath={.status.userInfo}"][..];
    let with = |flags: &[&str]| pair.same(&[whoami, flags].concat());
    let user = |output: std::process::Output| text(&output.stdout);
    with(&[]);
    let acting = user(with(&["--as=jane", "--as-group=dev", "--as-group=ops", "--as-uid=7"]));
    for part in ["\"jane\"", "\"dev\"", "\"ops\"", "\"7\""] {
        assert!(acting.contains(part), "no {part} in {acting}");
    }
    pair.server.ok(Tool::Kubectl, &["create", "serviceaccount", "bob", "-n", "default"]);
    let token = pair.server.ok(Tool::Wk, &["create", "token", "bob", "-n", "default"]);
    // All by flags, from an empty kubeconfig.
    let ca = format!("--certificate-authority={authority}");
    let server = format!("--server={url}");
    let bare = &["--kubeconfig", empty.as_str(), server.as_str()][..];
    let all = [bare, &[ca.as_str(), "--client-certificate", &certificate, "--client-key", &key]].concat();
    assert!(user(with(&all)).contains("system:masters"));
    let bob = user(with(&[bare, &["--insecure-skip-tls-verify", "--token", token.trim()]].concat()));
    assert!(bob.contains("system:serviceaccount:default:bob"), "{bob}");
    // A certificate that names nobody the client asks for.
    let other = format!("--server=https://localhost.localdomain:{port}");
    for (tool, _) in crate::pair::NAMESPACES {
        let refused = pair.server.fails(tool, &["get", "ns", "--tls-server-name=other.example"]);
        assert!(refused.contains("certificate"), "{tool:?}: {refused}");
        assert!(!pair.server.run(tool, &[&bare[..2], &[other.as_str(), "get", "ns"]].concat()).status.success());
    }
    pair.all_same(&[
        "get ns --context=nope",
        "get ns --cluster=nope",
        "get ns --user=nope",
        "get ns --request-timeout=never",
        "get cm --request-timeout=20s -o name",
        "get cm --request-timeout=20 -o name",
        "get cm --request-timeout=0 -o name",
        "get ns --as=jane",
        "get pods --namespace=default",
        "get pods --namespace default -A",
    ]);
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    // A server that takes connections and never says anything.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let server = Server::start_with(API_ONLY);
    let told = server.fails(Tool::Wk, &["get", "pods", "--server", &url, "--request-timeout=200ms"]);
    assert!(told.contains("no answer within --request-timeout=200ms"), "{told}");
}

#[test]
fn warnings_can_be_errors_and_requests_can_be_seen() {
    let pair = Pair::start(API_ONLY);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x}], serviceAccount: default, colour: red}\n";
    let file = pair.file("pod.yaml", pod);
    let warned = pair.same(&["create", "-f", &file, "--validate=warn", "--dry-run=server"]);
    assert!(text(&warned.stderr).contains("Warning: unknown field \"spec.colour\""), "{}", text(&warned.stderr));
    let failed = pair.same(&["create", "-f", &file, "--validate=warn", "--dry-run=server", "--warnings-as-errors"]);
    assert_eq!(failed.status.code(), Some(1));
    let seen = pair.run(Tool::Wk, &["get", "cm", "-v=6"]);
    let told = text(&seen.stderr);
    assert!(
        told.contains("verb=\"GET\"") && told.contains("/configmaps") && told.contains("status=\"200 OK\""),
        "{told}"
    );
    let told = text(&pair.run(Tool::Wk, &["get", "cm", "-v", "8"]).stderr);
    assert!(told.contains("Response Body"), "{told}");
    assert_eq!(text(&pair.run(Tool::Wk, &["get", "ns", "-o", "name", "-v=5"]).stderr), "");
}

#[test]
fn without_a_cluster_it_says_how_to_start_one() {
    let mut server = Server::start_with(API_ONLY);
    server.stop("-KILL");
    let refused = server.fails(Tool::Wk, &["get", "pods"]);
    let theirs = server.fails(Tool::Kubectl, &["get", "pods"]);
    let first = refused.lines().next().unwrap();
    assert_eq!(first, theirs.lines().last().unwrap(), "{refused}");
    assert!(refused.contains("`wk up` starts it"), "{refused}");
    let mut nothing = server.command(Tool::Wk, &["get", "pods"]);
    let home = tempfile::tempdir().unwrap();
    let output = nothing.env_remove("KUBECONFIG").env_remove("WK_DATA_DIR").env("HOME", home.path()).output().unwrap();
    assert!(text(&output.stderr).contains("start one with `wk up`"), "{}", text(&output.stderr));
    let typo = server.fails(Tool::Wk, &["gett", "pods"]);
    assert!(typo.contains("unrecognized subcommand 'gett'") && typo.contains("'get'"), "{typo}");
}

#[test]
fn the_options_are_listed() {
    let server = Server::start_with(API_ONLY);
    let ours = server.ok(Tool::Wk, &["options"]);
    let theirs = server.ok(Tool::Kubectl, &["options"]);
    let flags = |told: &str| -> Vec<String> {
        let words = told.split_whitespace().filter(|word| word.starts_with("--"));
        words.map(|word| word.trim_matches([',', ':']).split(['=', '<']).next().unwrap().to_owned()).collect()
    };
    let (ours, theirs) = (flags(&ours), flags(&theirs));
    // What is left out: kubectl's own machinery, and passwords, which no server takes any more.
    let left_out = [
        "--cache-dir",
        "--disable-compression",
        "--log-flush-frequency",
        "--match-server-version",
        "--password",
        "--profile",
        "--profile-output",
        "--username",
        "--vmodule",
    ];
    for flag in theirs {
        assert!(ours.contains(&flag) != left_out.contains(&flag.as_str()), "{flag}: {ours:?}");
    }
    assert_eq!(scrub("kubectl in side-k after 5s"), scrub("wk in side-w after 12m5s"));
}
