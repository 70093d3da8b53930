//! What a wasm file says about itself: its kind, the names of its imports and
//! exports, and whether it is whole.
//!
//! It reads section headers and names only (core specification, binary format;
//! component model, `Binary.md`), so that looking at an image needs no compiler.
//! Whether the code is valid is the engine's to find out.

use crate::Error;

const MAGIC: &[u8] = b"\0asm";
const MODULE_VERSION: [u8; 4] = [1, 0, 0, 0];
const COMPONENT_VERSION: [u8; 4] = [0x0d, 0, 1, 0];

/// What kind of wasm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WasmKind {
    /// A component (WASI 0.2 and later).
    Component,
    /// A core module (WASI 0.1).
    Module,
}

/// What the file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmFacts {
    /// Component or module.
    pub kind: WasmKind,
    /// What it needs: interfaces of a component (`wasi:cli/exit@0.2.6`), functions
    /// of a module (`wasi_snapshot_preview1.fd_write`), in the order of the file.
    pub imports: Vec<String>,
    /// What it offers, likewise.
    pub exports: Vec<String>,
}

impl WasmFacts {
    /// Reads them from a whole file.
    ///
    /// # Errors
    /// [`Error::NotWasm`], saying what the file is instead, or where it breaks off.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let kind = kind_of(bytes)?;
        let mut reader = Reader { bytes, at: MAGIC.len() + MODULE_VERSION.len() };
        let mut facts = Self { kind, imports: Vec::new(), exports: Vec::new() };
        facts.read_sections(&mut reader).ok_or_else(|| truncated(bytes.len(), reader.at))?;
        Ok(facts)
    }

    /// The world the file was made for, as far as its names tell.
    pub fn world(&self) -> &'static str {
        let exports = |prefix: &str| self.exports.iter().any(|name| name.starts_with(prefix));
        match self.kind {
            WasmKind::Component if exports("wasi:http/handler@") => "wasi:http/service",
            WasmKind::Component if exports("wasi:http/incoming-handler@") => "wasi:http/proxy",
            WasmKind::Component if exports("wasi:cli/run@") => "wasi:cli/command",
            WasmKind::Module if exports("_start") => "wasi_snapshot_preview1 command",
            WasmKind::Component => "a component that is no command",
            WasmKind::Module => "a module that is no command",
        }
    }

    fn read_sections(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        while reader.at < reader.bytes.len() {
            let (id, size) = (reader.byte()?, reader.number()?);
            let section = reader.take(size)?;
            let mut section = Reader { bytes: section, at: 0 };
            // A section that this reader does not understand adds no names; the engine judges it.
            let _ = match (self.kind, id) {
                (WasmKind::Component, 10) => section.component_imports(&mut self.imports),
                (WasmKind::Component, 11) => section.component_exports(&mut self.exports),
                (WasmKind::Module, 2) => section.module_imports(&mut self.imports),
                (WasmKind::Module, 7) => section.module_exports(&mut self.exports),
                _ => Some(()),
            };
        }
        Some(())
    }
}

fn kind_of(bytes: &[u8]) -> Result<WasmKind, Error> {
    match bytes {
        [b'\0', b'a', b's', b'm', version @ ..] if version.len() >= 4 => {
            match [version[0], version[1], version[2], version[3]] {
                MODULE_VERSION => Ok(WasmKind::Module),
                COMPONENT_VERSION => Ok(WasmKind::Component),
                other => Err(Error::NotWasm(format!("the file is WebAssembly of an unknown version ({other:02x?})"))),
            }
        }
        _ => Err(Error::NotWasm(format!("the file is {}; wk runs WebAssembly: {HOW_TO_BUILD}", what_it_is(bytes)))),
    }
}

const HOW_TO_BUILD: &str = "build the program for wasm32-wasip2 and load its .wasm file";

/// Where a tar archive says that it is one.
const TAR_MAGIC_AT: usize = 257;

fn what_it_is(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty",
        [b'\0', b'a', ..] if MAGIC.starts_with(bytes) || bytes.starts_with(MAGIC) => {
            "a WebAssembly file that breaks off in its first bytes"
        }
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "a compressed archive, such as a layer of a Linux container image"
        }
        [0x7f, b'E', b'L', b'F', ..] => "a Linux program",
        _ if bytes.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) => {
            "a Linux container image (a tar archive)"
        }
        _ if starts_with_word(bytes, "(module") || starts_with_word(bytes, "(component") => {
            "the text form of WebAssembly"
        }
        _ => "not WebAssembly",
    }
}

fn starts_with_word(bytes: &[u8], word: &str) -> bool {
    bytes.trim_ascii_start().starts_with(word.as_bytes())
}

fn truncated(length: usize, at: usize) -> Error {
    Error::NotWasm(format!(
        "the WebAssembly file is damaged or cut off: {length} bytes, and the part at byte {at} needs more"
    ))
}

/// A cursor; every method is `None` where the bytes end too early.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// An unsigned LEB128 number of up to 32 bits.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn name(&mut self) -> Option<String> {
        let length = self.number()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn component_imports(&mut self, names: &mut Vec<String>) -> Option<()> {
        for _ in 0..self.number()? {
            self.byte()?; // how the name is written
            names.push(self.name()?);
            self.extern_description()?;
        }
        Some(())
    }

    fn component_exports(&mut self, names: &mut Vec<String>) -> Option<()> {
        for _ in 0..self.number()? {
            self.byte()?; // how the name is written
            names.push(self.name()?);
            if self.byte()? == 0 {
                self.byte()?; // a core sort has a second byte
            }
            self.number()?;
            if self.byte()? == 1 {
                self.extern_description()?;
            }
        }
        Some(())
    }

    fn extern_description(&mut self) -> Option<()> {
        match self.byte()? {
            0x00 => (self.byte()?, self.number()?).1, // a core module and its type
            0x02 | 0x03 => return self.bound(),
            _ => self.number()?,
        };
        Some(())
    }

    /// `eq` has an index; `sub resource` has none.
    fn bound(&mut self) -> Option<()> {
        if self.byte()? == 0 {
            self.number()?;
        }
        Some(())
    }

    fn module_imports(&mut self, names: &mut Vec<String>) -> Option<()> {
        for _ in 0..self.number()? {
            let (module, name) = (self.name()?, self.name()?);
            names.push(format!("{module}.{name}"));
            match self.byte()? {
                0x01 => (self.number()?, self.limits()?).1, // a table: element type and limits
                0x02 => self.limits()?,
                0x03 => (self.number()?, self.byte()?).0, // a global: type and mutability
                0x04 => (self.byte()?, self.number()?).1, // a tag: attribute and type
                _ => self.number()?,
            };
        }
        Some(())
    }

    fn limits(&mut self) -> Option<usize> {
        let flags = self.byte()?;
        let minimum = self.number()?;
        if flags & 1 == 1 { self.number() } else { Some(minimum) }
    }

    fn module_exports(&mut self, names: &mut Vec<String>) -> Option<()> {
        for _ in 0..self.number()? {
            names.push(self.name()?);
            self.byte()?;
            self.number()?;
        }
        Some(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module that imports `env.f` and exports `_start`; its code is left out.
    pub(crate) fn module() -> Vec<u8> {
        let mut bytes = [MAGIC, &MODULE_VERSION].concat();
        bytes.extend([1, 4, 1, 0x60, 0, 0]);
        bytes.extend([2, 9, 1, 3, b'e', b'n', b'v', 1, b'f', 0, 0]);
        bytes.extend([7, 10, 1, 6, b'_', b's', b't', b'a', b'r', b't', 0, 0]);
        bytes
    }

    fn message(bytes: &[u8]) -> String {
        WasmFacts::read(bytes).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_module_tells_its_names() {
        let facts = WasmFacts::read(&module()).unwrap();
        assert_eq!(facts.kind, WasmKind::Module);
        assert_eq!((facts.imports, facts.exports), (vec!["env.f".to_owned()], vec!["_start".to_owned()]));
    }

    #[test]
    fn a_component_tells_its_names() {
        let mut bytes = [MAGIC, &COMPONENT_VERSION].concat();
        bytes.extend([10, 9, 1, 0, 4, b'a', b':', b'b', b'/', 5, 0]);
        bytes.extend([11, 18, 1, 0, 12]);
        bytes.extend(b"wasi:cli/run");
        bytes.extend([5, 0, 0]);
        let facts = WasmFacts::read(&bytes).unwrap();
        assert_eq!(facts.imports, ["a:b/"]);
        assert_eq!(facts.exports, ["wasi:cli/run"]);
    }

    #[test]
    fn a_cut_off_file_is_named_so() {
        let module = module();
        for length in [3, 6, 10, 20, module.len() - 1] {
            let message = message(&module[..length]);
            assert!(message.contains("cut off") || message.contains("breaks off"), "{length}: {message}");
        }
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        let mut tar = vec![b'x'; 512];
        tar[TAR_MAGIC_AT..TAR_MAGIC_AT + 5].copy_from_slice(b"ustar");
        assert!(message(&tar).contains("Linux container image"));
        assert!(message(&[0x1f, 0x8b, 8]).contains("Linux container image"));
        assert!(message(b"\x7fELF\x02").contains("a Linux program"));
        assert!(message(b" (module)").contains("text form"));
        assert!(message(b"#!/bin/sh").contains("not WebAssembly"));
        assert!(message(b"").contains("empty"));
        assert!(message(b"#!/bin/sh").contains("wasm32-wasip2"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, component: bool) {
            let version = if component { COMPONENT_VERSION } else { MODULE_VERSION };
            let _ = WasmFacts::read(&[MAGIC, &version, &bytes].concat());
            let _ = WasmFacts::read(&bytes);
        }
    }
}
