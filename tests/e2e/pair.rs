//! Both command lines side by side: the same words, each in a namespace of its
//! own that begins as the other's does; what they print and how they end must
//! agree, but for what is different by nature (see [`scrub`]).

use crate::harness::{Server, Tool, text};
use regex::Regex;
use std::{
    process::{Output, Stdio},
    sync::LazyLock,
};

/// As long as each other, so that columns are.
pub const NAMESPACES: [(Tool, &str); 2] = [(Tool::Kubectl, "side-k"), (Tool::Wk, "side-w")];

/// Without nodes: most of what a command line says needs none.
pub const API_ONLY: &[&str] = &["--roles", "apiserver,controllers"];

pub struct Pair {
    pub server: Server,
}

impl Pair {
    pub fn start(args: &[&str]) -> Self {
        Self::on(Server::start_with(args))
    }

    /// The same on a server that runs.
    pub fn on(server: Server) -> Self {
        for (tool, namespace) in NAMESPACES {
            server.ok(tool, &["create", "namespace", namespace]);
        }
        Self { server }
    }

    pub fn run(&self, tool: Tool, words: &[&str]) -> Output {
        let (_, namespace) = NAMESPACES.into_iter().find(|(one, _)| *one == tool).unwrap();
        let words: Vec<String> = words.iter().map(|word| word.replace("NAMESPACE", namespace)).collect();
        let mut all = vec!["-n", namespace];
        all.extend(words.iter().map(String::as_str));
        self.server.command(tool, &all).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the same words with both.
    pub fn same(&self, words: &[&str]) -> Output {
        let (ours, difference) = self.compare(words);
        assert!(difference.is_none(), "{}", difference.unwrap_or_default());
        ours
    }

    /// What `wk` said, and how kubectl's answer differs from it.
    fn compare(&self, words: &[&str]) -> (Output, Option<String>) {
        let [theirs, ours] = NAMESPACES.map(|(tool, _)| self.run(tool, words));
        let told = |output: &Output| (output.status.code(), scrub(&text(&output.stdout)), scrub(&text(&output.stderr)));
        let show = |output: &Output| format!("{:?}\n{}\n--\n{}", told(output).0, told(output).1, told(output).2);
        let difference = (told(&ours) != told(&theirs))
            .then(|| format!("{words:?}\n===== wk\n{}\n===== kubectl\n{}", show(&ours), show(&theirs)));
        (ours, difference)
    }

    /// All of them; says every one that differs.
    pub fn each_same(&self, all: &[&[&str]]) {
        let different: Vec<String> = all.iter().filter_map(|words| self.compare(words).1).collect();
        assert!(different.is_empty(), "{} of {} differ\n{}", different.len(), all.len(), different.join("\n"));
    }

    /// The same for lines that are split at spaces.
    pub fn all_same(&self, lines: &[&str]) {
        let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
        self.each_same(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    /// What `wk` prints; it must succeed.
    pub fn ours(&self, line: &str) -> String {
        let output = self.run(Tool::Wk, &line.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A file for both.
    pub fn file(&self, name: &str, content: &str) -> String {
        self.server.file(name, content).to_str().unwrap().to_owned()
    }
}

/// Takes out what differs by nature: the two names, namespaces, ids, versions,
/// times and ages (with the blanks that their widths cost).
pub fn scrub(told: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"kubectl", "wk"),
            (r"(?m) +$", ""),
            (r"side-[kw]", "NAMESPACE"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r#"(resourceVersion"?: ?"?)\d+"#, "${1}VERSION"),
            // What the server puts after generated names.
            (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-SUFFIX"),
            (r"10\.244\.\d+\.\d+|10\.96\.\d+\.\d+ *", "IP"),
            (r"wasmtime://[0-9a-f]{64}", "CONTAINER"),
            (r"(NodePort: .*|:)3[0-2]\d{3}\b", "${1}NODEPORT"),
            (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
            (r" *\b(\d+m)?\d+s\b( \(x\d+ over [^)]*\))? *", " AGE "),
            (r"AGE +", "AGE "),
        ];
        rules.iter().map(|(pattern, text)| (Regex::new(pattern).unwrap(), *text)).collect()
    });
    RULES.iter().fold(told.to_owned(), |told, (pattern, text)| pattern.replace_all(&told, *text).into_owned())
}
