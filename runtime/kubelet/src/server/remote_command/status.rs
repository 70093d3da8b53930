//! How a command ended, as the client is told (upstream:
//! `kubelet/pkg/cri/streaming/remotecommand/{exec,attach}.go`).

use serde_json::{Value, json};

/// What was asked for; its failure names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A command of its own.
    Exec(Vec<String>),
    /// The container's guest.
    Attach,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// For people; `None` on success.
    pub failure: Option<String>,
    /// The `v1.Status`.
    pub json: Value,
}

/// It ended by itself. Attach does not pass the code on: the pod's status has it.
pub fn ended(verb: &Verb, exit_code: i32) -> Status {
    match verb {
        Verb::Exec(command) if exit_code != 0 => exited(command, exit_code),
        Verb::Exec(_) | Verb::Attach => success(),
    }
}

fn success() -> Status {
    Status { failure: None, json: json!({"metadata": {}, "status": "Success"}) }
}

fn exited(command: &[String], exit_code: i32) -> Status {
    let command = command.join(" ");
    let message = format!(
        "command terminated with non-zero exit code: error executing command [{command}], exit code {exit_code}"
    );
    let json = json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": exit_code.to_string()}]},
    });
    Status { failure: Some(message), json }
}

/// It could not run, or its end is not known.
pub fn failed(verb: &Verb, error: &str) -> Status {
    let cause = match verb {
        Verb::Exec(_) => format!("error executing command in container: {error}"),
        Verb::Attach => format!("error attaching to container: {error}"),
    };
    let message = format!("Internal error occurred: {cause}");
    let json = json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": {"causes": [{"message": cause}]},
        "code": 500,
    });
    Status { failure: Some(message), json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_a_cause() {
        let status = ended(&Verb::Exec(vec!["sh".to_owned()]), 3);
        assert_eq!(status.json["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        assert_eq!(status.json["reason"], "NonZeroExitCode");
    }

    #[test]
    fn zero_and_a_detached_guest_are_success() {
        let success = json!({"metadata": {}, "status": "Success"});
        assert_eq!(ended(&Verb::Exec(Vec::new()), 0).json, success);
        assert_eq!(ended(&Verb::Attach, 137).json, success);
    }
}
