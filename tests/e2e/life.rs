//! A cluster in the background, from `wk up` to `wk down --purge`, and what is
//! kept of it: kubeconfig contexts and snapshots.

use crate::harness::{HELLO, PATIENCE, Server, Tool, text};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};
use wk::control::lock::ServerProcess;

/// A kubeconfig that was there before.
const THEIRS: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: 'https://work.example'}}]
contexts: [{name: work, context: {cluster: work, user: me}}]
users: [{name: me, user: {token: secret, from-the-future: 1}}]
current-context: work
";

/// A home directory of one's own. No server survives it.
struct Home {
    directory: tempfile::TempDir,
    data_dir: PathBuf,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Deeper than a socket's address has room for.
        let data_dir = directory.path().join("deep".repeat(40)).join("data");
        Self { directory, data_dir }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join(".kube/config")
    }

    fn command(&self, tool: Tool, args: &[&str]) -> Command {
        let mut command = match tool {
            Tool::Wk => Command::new(env!("CARGO_BIN_EXE_wk")),
            Tool::Kubectl => Command::new("kubectl"),
        };
        command
            .args(args)
            .env_remove("KUBECONFIG")
            .env("HOME", self.directory.path())
            .env("WK_DATA_DIR", &self.data_dir)
            .env("KUBECACHEDIR", self.directory.path().join("kubectl-cache"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, tool: Tool, args: &[&str]) -> Output {
        self.command(tool, args).output().unwrap()
    }

    fn ok(&self, tool: Tool, args: &[&str]) -> String {
        let output = self.run(tool, args);
        assert!(
            output.status.success(),
            "{tool:?} {args:?} failed:\n{}{}\n{}",
            text(&output.stdout),
            text(&output.stderr),
            std::fs::read_to_string(self.data_dir.join("server.log")).unwrap_or_default()
        );
        text(&output.stdout)
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(Tool::Wk, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }

    fn server(&self) -> Option<ServerProcess> {
        if self.data_dir.exists() { ServerProcess::find(&self.data_dir).unwrap() } else { None }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(server) = self.server() {
            let _ = server.kill();
            let _ = server.wait(PATIENCE);
        }
    }
}

#[test]
fn a_cluster_comes_up_in_the_background_and_goes_without_a_trace() {
    let home = Home::new();
    std::fs::create_dir(home.directory.path().join(".kube")).unwrap();
    std::fs::write(home.kubeconfig(), THEIRS).unwrap();

    let said = home.ok(Tool::Wk, &["up", "--nodes", "3", "--listen", "127.0.0.1:0"]);
    assert!(said.contains("3 of 3 nodes Ready") && said.contains("wk create deployment"), "{said}");
    let first = home.server().expect("it runs").pid();
    for tool in Tool::BOTH {
        let nodes = home.ok(tool, &["get", "nodes", "--no-headers"]);
        assert_eq!(nodes.lines().filter(|line| line.contains(" Ready")).count(), 3, "{nodes}");
    }
    assert_eq!(home.ok(Tool::Kubectl, &["config", "current-context"]), "wk\n");

    let again = home.ok(Tool::Wk, &["up"]);
    assert!(again.contains("already running"), "{again}");
    assert_eq!(home.server().expect("it runs").pid(), first);

    let status = home.ok(Tool::Wk, &["status"]);
    assert!(status.contains("running") && status.contains("3 of 3 Ready"), "{status}");
    let status: Value = serde_json::from_str(&home.ok(Tool::Wk, &["status", "-o", "json"])).unwrap();
    assert_eq!(status["server"]["pid"], first);
    assert!(status["diskBytes"].as_u64().unwrap() > 0 && status["nodes"][2]["podCidr"] == "10.244.32.0/20");

    home.ok(Tool::Wk, &["create", "configmap", "kept", "--from-literal=a=b"]);
    let down = home.ok(Tool::Wk, &["down"]);
    assert!(down.contains("Stopped wk") && down.contains("Removed context \"wk\""), "{down}");
    assert!(home.server().is_none());
    let status = home.fails(&["status"]);
    assert!(status.contains("not running"), "{status}");
    let left = home.ok(Tool::Kubectl, &["config", "get-contexts", "-o", "name"]);
    assert_eq!(left, "work\n");
    assert!(std::fs::read_to_string(home.kubeconfig()).unwrap().contains("from-the-future"));

    // As the last time: three nodes, and what was acknowledged.
    let said = home.ok(Tool::Wk, &["up"]);
    assert!(said.contains("3 of 3 nodes Ready"), "{said}");
    home.ok(Tool::Wk, &["get", "configmap", "kept"]);
    let down = home.ok(Tool::Wk, &["down", "--purge"]);
    assert!(down.contains("Removed /") && !home.data_dir.exists(), "{down}");
    home.ok(Tool::Wk, &["down"]);
}

#[test]
fn two_ups_at_once_start_one_server() {
    let home = Home::new();
    let up = || home.command(Tool::Wk, &["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let ups = [up(), up(), up()].map(|child| child.wait_with_output().unwrap());
    assert!(ups.iter().all(|output| output.status.success()), "{ups:?}");
    let started = ups.iter().filter(|output| text(&output.stdout).contains("wk is running at")).count();
    assert_eq!(started, 1, "{ups:?}");
    assert!(home.server().is_some());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = home.fails(&["up", "--listen", &address]);
    assert!(error.contains("Address already in use") && error.contains("--listen"), "{error}");
    assert!(home.server().is_none() && !home.kubeconfig().exists());
    let error = home.fails(&["up", "--listen", "127.0.0.1:0", "--", "--no-such-flag"]);
    assert!(error.contains("--no-such-flag"), "{error}");
    let error = home.fails(&["up", "--data-dir", "/proc/none"]);
    assert!(error.contains("make the data directory /proc/none"), "{error}");
}

#[test]
fn a_server_that_does_not_stop_is_killed() {
    let home = Home::new();
    home.ok(Tool::Wk, &["up", "--listen", "127.0.0.1:0"]);
    let pid = home.server().expect("it runs").pid();
    assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    let down = home.ok(Tool::Wk, &["down", "--timeout", "1s"]);
    assert!(down.contains(&format!("Killed wk (process {pid})")), "{down}");
    assert!(home.server().is_none());
}

#[test]
fn a_second_server_for_a_directory_is_refused_by_name() {
    let home = Home::new();
    home.ok(Tool::Wk, &["up", "--listen", "127.0.0.1:0"]);
    let pid = home.server().expect("it runs").pid();
    let error = home.fails(&["server", "--listen", "127.0.0.1:0"]);
    assert!(error.contains(&format!("another server (process {pid}) is running")), "{error}");
}

/// The same commands by both, over the same files.
#[test]
fn the_kubeconfig_is_changed_as_kubectl_changes_it() {
    let commands = [
        "current-context",
        "get-contexts",
        "get-clusters",
        "get-users",
        "set-cluster dev --server=https://dev.example:6443 --insecure-skip-tls-verify=true",
        "set-credentials dev-user --token=t0ken",
        "set-context dev --cluster=dev --user=dev-user --namespace=team",
        "set-context dev --namespace=other",
        "use-context dev",
        "use-context none",
        "set-context --current --namespace=third",
        "get-contexts",
        "get-contexts dev --no-headers",
        "get-contexts -o name",
        "get-contexts none",
        "current-context",
        "view",
        "view --minify",
        "view --raw -o jsonpath={.users[0].user.token}",
        "view -o jsonpath={.users[*].name}",
        "rename-context dev second",
        "rename-context dev third",
        "rename-context second work",
        "current-context",
        "delete-context none",
        "delete-user dev-user",
        "delete-cluster dev",
        "delete-context second",
        "current-context",
        "view",
    ];
    let homes = [Home::new(), Home::new()];
    // kubectl drops what it does not know; that this is kept is another test.
    let one = THEIRS.replace(", from-the-future: 1", "");
    for home in &homes {
        let write = |name, text: &str| std::fs::write(home.directory.path().join(name), text).unwrap();
        write("one", &one);
        write("two", "contexts: [{name: two, context: {cluster: work, user: me}}]");
    }
    for command in commands {
        let args: Vec<&str> = std::iter::once("config").chain(command.split(' ')).collect();
        let [ours, theirs] = [(&homes[0], Tool::Wk), (&homes[1], Tool::Kubectl)].map(|(home, tool)| {
            let root = home.directory.path().display().to_string();
            let list = format!("{root}/none:{root}/one:{root}/two");
            let output = home.command(tool, &args).env("KUBECONFIG", list).output().unwrap();
            let clean = |bytes: &[u8]| text(bytes).replace(&root, "ROOT").replace("kubectl config", "wk config");
            (output.status.code(), clean(&output.stdout), clean(&output.stderr))
        });
        assert_eq!(ours, theirs, "config {command}");
    }
    let files = |home: &Home| {
        ["one", "two"].map(|name| {
            let file = home.directory.path().join(name);
            let shown = home.command(Tool::Kubectl, &["config", "view", "--raw"]).env("KUBECONFIG", file).output();
            text(&shown.unwrap().stdout)
        })
    };
    assert_eq!(files(&homes[0]), files(&homes[1]));
}

#[test]
fn the_namespace_of_the_context_counts() {
    let server = Server::start_with(&["--roles", "apiserver,controllers"]);
    server.ok(Tool::Wk, &["create", "namespace", "team"]);
    server.ok(Tool::Wk, &["config", "set-context", "--current", "--namespace=team"]);
    server.ok(Tool::Wk, &["create", "configmap", "ours", "--from-literal=a=b"]);
    assert_eq!(server.ok(Tool::Wk, &["get", "configmap", "ours", "-o", "jsonpath={.metadata.namespace}"]), "team");
    server.ok(Tool::Kubectl, &["get", "configmap", "ours", "-n", "team"]);
    server.ok(Tool::Wk, &["delete", "configmap", "ours"]);
    server.fails(Tool::Wk, &["get", "configmap", "ours", "-n", "team"]);
}

/// Fetches the page until it is there: right after a restore the Deployment is as
/// available as the snapshot says, while its pod still starts.
fn wait_for_page(server: &Server) {
    let started = Instant::now();
    loop {
        let forward = server.forward(Tool::Wk, "deployment/web", 80);
        match crate::harness::fetch(forward.local) {
            Ok(page) if page.contains("</html>") => return,
            answer => assert!(started.elapsed() < PATIENCE, "no page: {answer:?}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_snapshot_brings_a_cluster_back_while_it_runs_and_elsewhere() {
    let server = Server::with_image(wk_guests::hello_kiamol(), HELLO);
    server.ok(Tool::Wk, &["create", "deployment", "web", "--image", HELLO]);
    server.wait_for(Tool::Wk, "Available", &["deployment/web"]);
    let file = server.directory().join("backup.snap");
    let file = file.to_str().unwrap();
    let saved = server.ok(Tool::Wk, &["snapshot", "save", file]);
    assert!(saved.contains("Snapshot saved at"), "{saved}");
    let shown: Value = serde_json::from_str(&server.ok(Tool::Wk, &["snapshot", "status", file, "-w", "json"])).unwrap();
    assert!(shown["totalKey"].as_u64().unwrap() > 10 && shown["revision"].as_u64().unwrap() > 10, "{shown}");

    server.ok(Tool::Wk, &["delete", "deployment", "web"]);
    server.ok(Tool::Wk, &["create", "configmap", "later", "--from-literal=a=b"]);
    server.until(&["get", "pods"], "no pods", |seen| !seen.contains("web-"));
    let restored = server.ok(Tool::Wk, &["snapshot", "restore", file]);
    assert!(restored.contains("into the running server"), "{restored}");
    server.fails(Tool::Wk, &["get", "configmap", "later"]);
    server.wait_for(Tool::Kubectl, "Available", &["deployment/web"]);
    server.until(&["get", "deploy", "web", "--no-headers"], "one ready", |row| row.contains("1/1"));
    wait_for_page(&server);

    restore_elsewhere(&server, Path::new(file));
}

fn restore_elsewhere(server: &Server, file: &Path) {
    let home = Home::new();
    let (path, damaged) = (file.to_str().unwrap(), home.directory.path().join("damaged"));
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let error = home.fails(&["snapshot", "restore", damaged.to_str().unwrap()]);
    assert!(error.contains("damaged"), "{error}");
    home.ok(Tool::Wk, &["snapshot", "restore", path]);
    let error = home.fails(&["snapshot", "restore", path]);
    assert!(error.contains("is not empty"), "{error}");

    // Images are no objects, so they come along by themselves.
    let images = Command::new("cp").arg("-r").arg(server.directory().join("images")).arg(&home.data_dir).status();
    assert!(images.unwrap().success());
    home.ok(Tool::Wk, &["up", "--listen", "127.0.0.1:0"]);
    let started = Instant::now();
    loop {
        let ready = home.ok(Tool::Wk, &["get", "deploy", "web", "--no-headers"]);
        // What the snapshot says is not what this node has seen: its pod must be here.
        let containers = home.ok(Tool::Wk, &["ctr", "ps", "-q", "--label", "io.kubernetes.container.name"]);
        if ready.contains("1/1") && !containers.is_empty() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{ready}{}", home.ok(Tool::Wk, &["get", "pods,events", "-A"]));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
