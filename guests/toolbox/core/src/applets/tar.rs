//! `tar`, `gzip`, `gunzip` and `zcat`: what `kubectl cp` runs in a container.

use super::{files::set_modified, ls::modified};
use crate::{
    Context,
    context::{Failure, Outcome, Stream, reason},
    flags::Flags,
    host::Access,
};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::{
    fs,
    io::{self, Read, Write},
    path::{Component, Path},
    rc::Rc,
};
use tar::{Archive, Builder, EntryType, Header};

/// Directories within each other; deeper trees would end the guest's stack.
const DEPTH_MAX: usize = 200;

const LONG: [(&str, char); 17] = [
    ("create", 'c'),
    ("extract", 'x'),
    ("list", 't'),
    ("file", 'f'),
    ("directory", 'C'),
    ("gzip", 'z'),
    ("touch", 'm'),
    ("verbose", 'v'),
    ("preserve-permissions", 'p'),
    ("to-stdout", 'O'),
    ("exclude", 'X'),
    ("strip-components", 'S'),
    ("keep-old-files", 'k'),
    ("no-same-permissions", 'P'),
    ("no-same-owner", 'o'),
    ("numeric-owner", 'N'),
    ("overwrite", 'w'),
];

pub fn tar(context: &mut Context) -> Outcome {
    let mut arguments = context.operands().to_vec();
    // The old form: `tar cf FILE`, whose letters take their values in order.
    if let Some(first) = arguments.first().filter(|first| !first.starts_with('-')).cloned() {
        let mut expanded = Vec::new();
        let mut rest = arguments.drain(1..).collect::<Vec<_>>().into_iter();
        for letter in first.chars() {
            expanded.push(format!("-{letter}"));
            if matches!(letter, 'f' | 'C') {
                expanded.extend(rest.next());
            }
        }
        arguments = expanded.into_iter().chain(rest).collect();
    }
    let flags = Flags::parse(&arguments, "cxtf:C:zmvpOX:S:kPoNwh", &LONG)?;
    let file = flags.value('f').unwrap_or("-").to_owned();
    // The archive is named before `-C` counts.
    let file = if file == "-" { file } else { context.absolute(&file) };
    if let Some(directory) = flags.value('C') {
        let full = context.absolute(directory);
        if !context.host.path(&full).is_dir() {
            return Err(Failure::Message(format!(
                "can't change directory to '{directory}': No such file or directory"
            )));
        }
        context.directory = full;
    }
    match flags.last_of("cxt") {
        Some('c') => create(context, &flags, &file),
        Some(action) => extract(context, &flags, &file, action == 't'),
        None => Err(Failure::Usage("must specify one of -cxt".to_owned())),
    }
}

fn create(context: &mut Context, flags: &Flags, file: &str) -> Outcome {
    if flags.operands.is_empty() {
        return Err(Failure::Message("empty archive".to_owned()));
    }
    let stdout = file == "-";
    let output = if stdout {
        Rc::clone(&context.stdout.file)
    } else {
        let cannot = |error: io::Error| Failure::Message(format!("can't open '{file}': {}", reason(&error)));
        context.open(file, Access::Write).map_err(cannot)?
    };
    let output = io::BufWriter::with_capacity(64 * 1024, Stream(output));
    let mut code = 0;
    if flags.has('z') {
        let mut builder = Builder::new(GzEncoder::new(output, Compression::default()));
        add_all(context, flags, &mut builder, &mut code)?;
        builder.into_inner()?.finish()?.flush()?;
    } else {
        let mut builder = Builder::new(output);
        add_all(context, flags, &mut builder, &mut code)?;
        builder.into_inner()?.flush()?;
    }
    Ok(code)
}

fn add_all<W: Write>(
    context: &mut Context,
    flags: &Flags,
    builder: &mut Builder<W>,
    code: &mut u8,
) -> Result<(), Failure> {
    for path in &flags.operands {
        add(context, flags, builder, path, code, 0)?;
    }
    Ok(())
}

/// Adds a file or a tree. What cannot be read is told and left out; what cannot be written ends all.
fn add<W: Write>(
    context: &mut Context,
    flags: &Flags,
    builder: &mut Builder<W>,
    path: &str,
    code: &mut u8,
    depth: usize,
) -> Result<(), Failure> {
    let full = context.path(path);
    let found = if flags.has('h') { fs::metadata(&full) } else { fs::symlink_metadata(&full) };
    let metadata = match found {
        Ok(metadata) => metadata,
        Err(error) => {
            context.complain_of(path, &error);
            *code = 1;
            return Ok(());
        }
    };
    let name = path.trim_start_matches('/');
    let name = if name.is_empty() { "." } else { name };
    if flags.values('X').any(|pattern| crate::shell::pattern::matches(pattern, name)) {
        return Ok(());
    }
    if flags.has('v') {
        // On stdout, unless that is the archive.
        let slash = if metadata.is_dir() && !name.ends_with('/') { "/" } else { "" };
        let line = format!("{name}{slash}\n");
        if flags.value('f').unwrap_or("-") == "-" {
            context.stderr.write(line.as_bytes())?;
        } else {
            context.stdout.write_all(line.as_bytes())?;
        }
    }
    let mut header = Header::new_gnu();
    header.set_mtime(u64::try_from(modified(&metadata)).unwrap_or(0));
    header.set_mode(super::ls::mode(&metadata).1);
    header.set_size(0);
    let kind = metadata.file_type();
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        builder.append_link(&mut header, name, fs::read_link(&full)?)?;
    } else if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        builder.append_data(&mut header, format!("{}/", name.trim_end_matches('/')), io::empty())?;
        if depth > DEPTH_MAX {
            return Err(Failure::Message(format!("{name}: File name too long")));
        }
        let mut names: Vec<String> = fs::read_dir(&full)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for inner in names {
            add(context, flags, builder, &format!("{}/{inner}", path.trim_end_matches('/')), code, depth + 1)?;
        }
    } else {
        let file = match fs::File::open(&full) {
            Ok(file) => file,
            Err(error) => {
                context.complain_of(path, &error);
                *code = 1;
                return Ok(());
            }
        };
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.len());
        // A file that changes while it is read keeps the size that its header says.
        let content = file.take(metadata.len()).chain(io::repeat(0)).take(metadata.len());
        builder.append_data(&mut header, name, content)?;
    }
    Ok(())
}

fn extract(context: &mut Context, flags: &Flags, file: &str, list: bool) -> Outcome {
    let shown = flags.value('f').unwrap_or("-");
    let cannot = |error: io::Error| Failure::Message(format!("can't open '{shown}': {}", reason(&error)));
    let mut input = context.input(file).map_err(cannot)?;
    let magic = io::BufRead::fill_buf(&mut input)?;
    let gzip = magic.starts_with(&[0x1f, 0x8b]);
    let input: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
    let mut archive = Archive::new(input);
    let strip: usize = flags.number('S')?.unwrap_or(0);
    let mut code = 0;
    let short = |error: io::Error| Failure::Message(format!("short read: {}", reason(&error)));
    for entry in archive.entries().map_err(short)? {
        let mut entry = entry.map_err(short)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if list {
            writeln!(context.stdout, "{}", listed(&entry, &path, flags.has('v')))?;
            continue;
        }
        let wanted =
            |operand: &String| path == *operand || path.starts_with(&format!("{}/", operand.trim_end_matches('/')));
        if !flags.operands.is_empty() && !flags.operands.iter().any(wanted) {
            continue;
        }
        let Some(name) = inside(&path, strip) else { continue };
        if flags.has('v') {
            writeln!(context.stdout, "{path}")?;
        }
        if flags.has('O') {
            io::copy(&mut entry, &mut context.stdout)?;
            continue;
        }
        if let Err(error) = unpack(context, flags, &mut entry, &name, strip) {
            context.complain(format_args!("can't open '{name}': {}", reason(&error)));
            code = 1;
        }
    }
    Ok(code)
}

fn listed<R: Read>(entry: &tar::Entry<'_, R>, path: &str, verbose: bool) -> String {
    if !verbose {
        return path.to_owned();
    }
    let header = entry.header();
    let mode = match header.entry_type() {
        EntryType::Directory => "drwxr-xr-x",
        EntryType::Symlink => "lrwxrwxrwx",
        _ => "-rw-r--r--",
    };
    let at = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
    let date = crate::time::format("%Y-%m-%d %H:%M:%S", at, 0);
    format!("{mode} root/root {:9} {date} {path}", entry.size())
}

/// The name without its first parts; none when nothing is left or it would leave the directory.
fn inside(path: &str, strip: usize) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let name = parts.get(strip..)?.join("/");
    (!name.is_empty()).then_some(name)
}

fn unpack<R: Read>(
    context: &Context,
    flags: &Flags,
    entry: &mut tar::Entry<'_, R>,
    name: &str,
    strip: usize,
) -> io::Result<()> {
    let full = context.path(name);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.header().entry_type() {
        EntryType::Directory => fs::create_dir_all(&full),
        EntryType::Symlink => {
            let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let _ = fs::remove_file(&full);
            context.host.symlink(&target.unwrap_or_default(), &context.absolute(name))
        }
        EntryType::Link => {
            let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let target = target.and_then(|target| inside(&target, strip)).ok_or(io::ErrorKind::InvalidInput)?;
            let _ = fs::remove_file(&full);
            fs::hard_link(context.path(&target), &full)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            if fs::symlink_metadata(&full).is_ok() {
                if flags.has('k') {
                    return Ok(());
                }
                // As tar does: what is behind a link must not change.
                let is_link = fs::symlink_metadata(&full)?.file_type().is_symlink();
                if is_link {
                    fs::remove_file(&full)?;
                }
            }
            let mut file = fs::File::create(&full)?;
            io::copy(entry, &mut file)?;
            drop(file);
            if flags.has('m') {
                return Ok(());
            }
            set_modified(&full, i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0))
        }
        // Devices and pipes: WASI has none.
        _ => Ok(()),
    }
}

pub fn gzip(context: &mut Context) -> Outcome {
    let flags = Flags::parse(
        context.operands(),
        "cdfkt123456789nqv",
        &[("stdout", 'c'), ("decompress", 'd'), ("keep", 'k'), ("force", 'f')],
    )?;
    let unpack = flags.has('d') || context.name() != "gzip";
    let to_stdout = flags.has('c') || context.name() == "zcat";
    if flags.operands.is_empty() {
        let input = context.input("-")?;
        transform(input, &mut context.stdout, unpack)?;
        return Ok(0);
    }
    for path in &flags.operands {
        let input = context.input(path)?;
        if to_stdout {
            transform(input, &mut context.stdout, unpack)?;
            continue;
        }
        let target = if unpack {
            path.strip_suffix(".gz")
                .ok_or_else(|| Failure::Message(format!("{path}: unknown suffix - ignored")))?
                .to_owned()
        } else {
            format!("{path}.gz")
        };
        let output = context.open(&target, Access::Write)?;
        transform(input, &mut Stream(output), unpack)?;
        if !flags.has('k') {
            fs::remove_file(context.path(path))?;
        }
    }
    Ok(0)
}

fn transform(mut input: impl io::BufRead, output: &mut impl Write, unpack: bool) -> io::Result<()> {
    if unpack {
        io::copy(&mut MultiGzDecoder::new(input), output)?;
    } else {
        let mut encoder = GzEncoder::new(output, Compression::default());
        io::copy(&mut input, &mut encoder)?;
        encoder.finish()?;
    }
    Ok(())
}
