//! Shows and changes what a container sees. Each argument is an action, done in
//! order; without any it is `args env list:/`.
//!
//! `args`, `env`, `cwd`, `stdin` (copies it), `list:DIR`, `read:FILE`,
//! `write:FILE=TEXT`, `lines:COUNT` (prints that many), `print:TEXT`,
//! `stderr:TEXT`.

use std::{env, fs, io, process::ExitCode};

fn main() -> ExitCode {
    let mut actions: Vec<String> = env::args().skip(1).collect();
    if actions.is_empty() {
        actions = ["args", "env", "list:/"].map(str::to_owned).to_vec();
    }
    for action in actions {
        if let Err(error) = act(&action) {
            eprintln!("{action}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn act(action: &str) -> io::Result<()> {
    let (verb, object) = action.split_once(':').unwrap_or((action, ""));
    match verb {
        "args" => env::args().enumerate().for_each(|(index, arg)| println!("arg {index}: {arg}")),
        "env" => env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "cwd" => println!("{}", env::current_dir()?.display()),
        "stdin" => drop(io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?),
        "list" => list(object)?,
        "read" => print!("{}", fs::read_to_string(object)?),
        "write" => write(object)?,
        "lines" => (0..object.parse().unwrap_or(0u64)).for_each(|line| println!("line {line}")),
        "print" => println!("{object}"),
        "stderr" => eprintln!("{object}"),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "unknown action")),
    }
    Ok(())
}

fn list(directory: &str) -> io::Result<()> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    names.iter().for_each(|name| println!("{}/{name}", directory.trim_end_matches('/')));
    Ok(())
}

fn write(object: &str) -> io::Result<()> {
    let (file, text) = object.split_once('=').ok_or(io::ErrorKind::InvalidInput)?;
    fs::write(file, text)
}
