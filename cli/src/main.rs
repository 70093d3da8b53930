//! The binary: everything is in the library, so that tests can start a cluster
//! the way a user does.

fn main() -> std::process::ExitCode {
    wk::main()
}
