//! `/version`: what clients take as the version of Kubernetes.

use serde_json::{Value, json};

/// The Kubernetes version whose API this is.
const KUBERNETES: &str = "1.33.0";

/// `v1.33.0+wk0.1.0`, as the server and its nodes say it.
pub fn git_version() -> String {
    format!("v{KUBERNETES}+wk{}", env!("CARGO_PKG_VERSION"))
}

/// `version.Info`. The git version says who we are behind the plus, where
/// clients do not look.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": git_version(),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform(std::env::consts::ARCH)),
    })
}

/// Go's name of an architecture.
fn platform(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
