//! Which program a command means: the image's own, or one of the toolbox.
//!
//! A wasm image is one program; what a shell's user expects beside it comes from
//! the toolbox, a component that does as `argv[0]` says. The composition root
//! brings it; without one, an image has its own program only. `processes/lookup.rs`
//! asks here, and knows files besides.

use std::path::Path;
use wk_images::ImageRecord;

/// Where a program of the toolbox can also be named by path.
const DIRECTORIES: [&str; 6] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Programs for every container.
#[derive(Clone, Copy)]
pub struct Toolbox {
    /// A component for `wasi:cli/command` and `wk:toolbox/processes`.
    pub wasm: &'static [u8],
    /// The component as machine code; empty, or of another engine: it is compiled
    /// at its first use. Whoever brings it vouches for it, since it is run.
    pub code: &'static [u8],
    /// Their names.
    pub programs: &'static [&'static str],
}

/// Where a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is the image's.
    Image,
    /// It is in the toolbox.
    Toolbox,
}

/// Where the program is that a path means, if it is one.
pub(crate) fn locate(image: &ImageRecord, toolbox: Option<&Toolbox>, path: &str) -> Option<Origin> {
    if is_program_of(image, path) {
        return Some(Origin::Image);
    }
    toolbox.is_some_and(|toolbox| toolbox.has(path)).then_some(Origin::Toolbox)
}

/// Whether `name` means the image's one program: by any path, with or without
/// the file's extension.
pub(crate) fn is_program_of(image: &ImageRecord, name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| {
        let file = file.to_string_lossy();
        file == image.program() || file.strip_suffix(".wasm") == Some(image.program())
    })
}

impl Toolbox {
    /// Whether a path means one of its programs.
    fn has(&self, path: &str) -> bool {
        let parts = path.rsplit_once('/');
        parts.is_some_and(|(directory, name)| DIRECTORIES.contains(&directory) && self.programs.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_in_the_usual_directories() {
        let toolbox = Toolbox { wasm: b"", code: b"", programs: &["ls", "sh"] };
        assert!(["/bin/sh", "/usr/bin/ls", "/usr/local/bin/sh"].iter().all(|name| toolbox.has(name)));
        assert!(
            !["", "/", "sh", "/bin/bash", "/opt/sh", "./sh", "bin/sh", "/bin/", "/bin/../bin/sh"]
                .iter()
                .any(|name| toolbox.has(name))
        );
    }
}
