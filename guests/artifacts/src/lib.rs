//! Where each guest is, once built: this crate's build script builds the
//! workspace beside it. Used by tests, benches and the demo. Of all this only the
//! toolbox ships, as bytes in the binary: the component and its machine code.
#![forbid(unsafe_code)]

use std::path::Path;

macro_rules! guests {
    ($($(#[$doc:meta])* $function:ident = $target:literal / $file:literal;)*) => {
        $($(#[$doc])*
        pub fn $function() -> &'static Path {
            Path::new(concat!(env!("WK_GUESTS"), "/", $target, "/release/", $file, ".wasm"))
        })*

        /// Every guest, for tests that take them all.
        pub fn all() -> Vec<&'static Path> {
            vec![$($function()),*]
        }
    };
}

guests! {
    /// A static web page on port 80.
    hello_kiamol = "wasm32-wasip2" / "hello-kiamol";
    /// Says who answered and what was asked, on port 80 or the first argument.
    whoami = "wasm32-wasip2" / "whoami";
    /// Sends back what it receives, on port 7 or the first argument.
    tcp_echo = "wasm32-wasip2" / "tcp-echo";
    /// Fetches `HOST:PORT[/PATH]`, trying as often as the second argument says.
    http_get = "wasm32-wasip2" / "http-get";
    /// Waits as many seconds as the first argument says, or for ever.
    sleep = "wasm32-wasip2" / "sleep";
    /// Ends with the code in the first argument; as a component, 0 or 1.
    exit_code = "wasm32-wasip2" / "exit-code";
    /// Ends with the code in the first argument; a core module of WASI 0.1.
    exit_code_p1 = "wasm32-wasip1" / "exit-code";
    /// Ends in a trap: `panic`, `unreachable` or `stack`.
    crash = "wasm32-wasip2" / "crash";
    /// Uses all the CPU it gets.
    busy_loop = "wasm32-wasip2" / "busy-loop";
    /// Takes as many MiB as the first argument says, or all.
    memory_hog = "wasm32-wasip2" / "memory-hog";
    /// The same as a core module of WASI 0.1.
    memory_hog_p1 = "wasm32-wasip1" / "memory-hog";
    /// Shows and changes what a container sees; each argument is an action.
    env_and_files = "wasm32-wasip2" / "env-and-files";
    /// The same as a core module of WASI 0.1.
    env_and_files_p1 = "wasm32-wasip1" / "env-and-files";
}

/// The toolbox, a component: the programs that a container gets when its image
/// has none of that name. It does as `argv[0]` says.
pub static TOOLBOX: &[u8] = include_bytes!(concat!(env!("WK_GUESTS"), "/wasm32-wasip2/release/toolbox.wasm"));

/// [`TOOLBOX`] as machine code for every model of the target's architecture, for
/// an engine of this wasmtime that interrupts by epochs. Empty in a binary that
/// was built on another architecture.
pub static TOOLBOX_CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/toolbox.cwasm"));

/// The programs in [`TOOLBOX`], sorted by name.
pub static TOOLBOX_PROGRAMS: &[&str] = include!(concat!(env!("OUT_DIR"), "/programs.rs"));

#[cfg(test)]
mod tests {
    #[test]
    fn the_toolbox_is_a_component_of_moderate_size() {
        assert_eq!(super::TOOLBOX[..8], *b"\0asm\x0d\0\x01\0");
        // Its machine code, four times as much, is in the binary too.
        assert!(super::TOOLBOX.len() < 4 << 20, "{} bytes", super::TOOLBOX.len());
        assert!(super::TOOLBOX_PROGRAMS.is_sorted() && super::TOOLBOX_PROGRAMS.contains(&"cat"));
    }

    #[test]
    fn every_guest_is_built_as_a_component_or_a_module() {
        for path in super::all() {
            let bytes = std::fs::read(path).unwrap();
            let version = &bytes[4..8];
            let expected: &[u8] =
                if path.to_string_lossy().contains("wasip1") { &[1, 0, 0, 0] } else { &[13, 0, 1, 0] };
            assert_eq!((&bytes[..4], version), (&b"\0asm"[..], expected), "{}", path.display());
        }
    }
}
