//! The corpus beside the crate, on the fake host; the engine runs it too.

use crate::fake::Container;
use std::{fs, path::Path};

/// Each script writes exactly what lies beside it, which a BusyBox wrote.
#[test]
fn scripts_write_what_busybox_writes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let mut scripts: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let expected = fs::read_to_string(path.with_extension("out")).unwrap();
        let ran = Container::new().run(&["sh", "-c", &fs::read_to_string(&path).unwrap(), "sh", "one", "two"], "");
        assert_eq!(ran.stdout, expected, "{}\n{}", path.display(), ran.stderr);
    }
}

#[test]
fn programs_and_their_ends_are_told_apart() {
    let container = Container::new();
    let ran = container.run(&["sh", "-c", "nosuch"], "");
    assert_eq!((ran.stderr.as_str(), ran.code), ("sh: nosuch: not found\n", 127));
    assert_eq!(container.run(&["sh", "-c", "exit 7"], "").code, 7);
    assert_eq!(container.run(&["sh", "-c", "if"], "").code, 2);
    assert_eq!(container.run(&["sh", "-c", "echo ${x?gone}; echo on"], "").stdout, "");
    assert_eq!(container.run(&["sh"], "echo a\nread x\nline\necho $x $((1 +\n1))\n").stdout, "a\nline 2\n");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let container = Container::new();
    for script in [
        "(".repeat(5000),
        "$(".repeat(5000),
        "{ ".repeat(5000),
        format!("echo {}", "${a:-".repeat(5000)),
        "f() { f; }; f".to_owned(),
        "eval() { :; }; x='eval \"$x\"'; command eval \"$x\"".to_owned(),
    ] {
        let ran = container.run(&["sh", "-c", &script], "");
        assert_ne!(ran.code, 134, "{}", &script[..10]);
    }
}
