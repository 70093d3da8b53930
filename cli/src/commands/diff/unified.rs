//! A unified diff of two directories, for machines without diff(1).

use anyhow::{Context, Result};
use std::{collections::BTreeSet, fmt::Write, path::Path};

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// Files longer than this are compared as a whole: the table of the comparison
/// has a cell for each pair of lines.
const LINES_MAX: usize = 5000;

/// The differences of all files; a missing file counts as empty.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn directories(from: &Path, to: &Path) -> Result<String> {
    let mut names = BTreeSet::new();
    for directory in [from, to] {
        for entry in std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
            names.insert(entry?.file_name());
        }
    }
    let mut text = String::new();
    for name in names {
        let (from, to) = (from.join(&name), to.join(&name));
        let (old, new) = (read(&from)?, read(&to)?);
        if old != new {
            let hunks = hunks(&lines(&old), &lines(&new));
            write!(text, "--- {}\n+++ {}\n{hunks}", from.display(), to.display())?;
        }
    }
    Ok(text)
}

fn read(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("read {}", path.display())),
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// One line of the result: from which side, and its text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Edit<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The shortest way from one to the other, by the table of longest common subsequences.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return old.iter().map(|line| Edit::Gone(line)).chain(new.iter().map(|line| Edit::New(line))).collect();
    }
    let width = new.len() + 1;
    let mut common = vec![0_u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            edits.push(Edit::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            edits.push(Edit::Gone(old[i]));
            i += 1;
        } else {
            edits.push(Edit::New(new[j]));
            j += 1;
        }
    }
    edits
}

/// `@@ -1,3 +1,4 @@` and the lines under it, for each group of changes.
fn hunks(old: &[&str], new: &[&str]) -> String {
    let edits = edits(old, new);
    let is_change = |edit: &Edit<'_>| !matches!(edit, Edit::Same(_));
    let mut text = String::new();
    let mut next = 0;
    while let Some(first) = edits[next..].iter().position(is_change).map(|offset| next + offset) {
        let start = first.saturating_sub(CONTEXT_LINES).max(next);
        let mut end = first + 1;
        while let Some(gap) = edits[end..].iter().position(is_change).filter(|gap| *gap <= 2 * CONTEXT_LINES) {
            end += gap + 1;
        }
        let end = (end + CONTEXT_LINES).min(edits.len());
        hunk(&edits, start, end, &mut text);
        next = end;
    }
    text
}

fn hunk(edits: &[Edit<'_>], start: usize, end: usize, text: &mut String) {
    let count = |edits: &[Edit<'_>]| {
        let old = edits.iter().filter(|edit| !matches!(edit, Edit::New(_))).count();
        let new = edits.iter().filter(|edit| !matches!(edit, Edit::Gone(_))).count();
        (old, new)
    };
    let ((old_before, new_before), (old, new)) = (count(&edits[..start]), count(&edits[start..end]));
    text.push_str(&format!("@@ -{} +{} @@\n", range(old_before, old), range(new_before, new)));
    for edit in &edits[start..end] {
        let (sign, line) = match edit {
            Edit::Same(line) => (' ', line),
            Edit::Gone(line) => ('-', line),
            Edit::New(line) => ('+', line),
        };
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
}

/// `START,COUNT` as diff(1) writes it: one line has no count, none starts before.
fn range(before: usize, count: usize) -> String {
    match count {
        0 => format!("{before},0"),
        1 => (before + 1).to_string(),
        _ => format!("{},{count}", before + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_are_those_of_diff() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm";
        let new = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn";
        let expected = "@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -11,3 +11,4 @@\n k\n l\n m\n+n\n";
        assert_eq!(hunks(&lines(old), &lines(new)), expected);
        assert_eq!(hunks(&[], &["x"]), "@@ -0,0 +1 @@\n+x\n");
    }

    #[test]
    fn a_missing_file_is_empty() {
        let (from, to) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        std::fs::write(to.path().join("x"), "1\n").expect("written");
        std::fs::write(from.path().join("same"), "1\n").expect("written");
        std::fs::write(to.path().join("same"), "1\n").expect("written");
        let text = directories(from.path(), to.path()).expect("readable");
        assert!(text.ends_with("/x\n@@ -0,0 +1 @@\n+1\n") && !text.contains("same"), "{text}");
    }
}
