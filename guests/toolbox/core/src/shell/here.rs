//! Redirections and here-documents, a part of the [`Parser`].

use super::{
    parser::{Error, Parsed, Parser},
    syntax::*,
};
use std::{cell::OnceCell, ops::Range, rc::Rc};

/// A here-document whose lines are still to come.
pub struct Pending {
    operator_at: usize,
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    body: Rc<OnceCell<Word>>,
}

impl Parser<'_> {
    pub(super) fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        self.blanks();
        let start = self.at;
        let digits = self.rest().find(|character: char| !character.is_ascii_digit()).unwrap_or(0);
        let number = self.rest()[..digits].parse::<u32>().ok();
        let operator = &self.rest()[digits..];
        let all = ["<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"];
        let Some(operator) = all.into_iter().find(|known| operator.starts_with(known)) else { return Ok(None) };
        self.at += digits + operator.len();
        self.blanks();
        let fd = number.unwrap_or(u32::from(operator.starts_with('>')));
        let target_at = self.at;
        let Some(word) = self.word()? else { return Err(self.unexpected()) };
        let kind = match operator {
            "<" => RedirectionKind::In(word),
            ">" => RedirectionKind::Out(word),
            ">|" => RedirectionKind::Clobber(word),
            ">>" => RedirectionKind::Append(word),
            "<>" => RedirectionKind::ReadWrite(word),
            "<&" | ">&" => RedirectionKind::Duplicate(word),
            _ => {
                let raw = &self.text[target_at..self.at];
                let body = Rc::new(OnceCell::new());
                self.pending.push(Pending {
                    operator_at: start,
                    delimiter: raw.chars().filter(|character| !matches!(character, '\'' | '"' | '\\')).collect(),
                    quoted: raw.contains(['\'', '"', '\\']),
                    strip_tabs: operator == "<<-",
                    body: Rc::clone(&body),
                });
                RedirectionKind::Here(body)
            }
        };
        Ok(Some(Redirection { fd, kind }))
    }

    /// At the beginning of a line: the bodies of the documents named before it.
    pub(super) fn read_here_documents(&mut self) -> Parsed<()> {
        for pending in std::mem::take(&mut self.pending) {
            let start = self.at;
            let mut text = String::new();
            loop {
                if self.rest().is_empty() {
                    return Err(Error::Incomplete(format!(
                        "unexpected end of file (here-document wants \"{}\")",
                        pending.delimiter
                    )));
                }
                let end = self.rest().find('\n').map_or(self.text.len(), |length| self.at + length + 1);
                let line = &self.text[self.at..end];
                self.at = end;
                let line = if pending.strip_tabs { line.trim_start_matches('\t') } else { line };
                if line.trim_end_matches('\n') == pending.delimiter {
                    break;
                }
                text.push_str(line);
            }
            self.here_texts.push(HereText { operator_at: pending.operator_at, lines: start..self.at });
            let word = if pending.quoted { Word(vec![Part::Quoted(text)]) } else { here_word(&text)? };
            pending.body.set(word).expect("a document is read once");
        }
        Ok(())
    }

    /// A text for [`Source`], once the line is read.
    pub(super) fn source(&mut self, range: Range<usize>) -> Source {
        let source = Source::default();
        self.sources.push((source.clone(), range));
        source
    }

    /// At the end of a line: a document named on the last line of a text has no
    /// body, and sources know where theirs are.
    pub(super) fn finish(&mut self) -> Parsed<()> {
        if !self.pending.is_empty() {
            self.read_here_documents()?;
        }
        for (source, range) in std::mem::take(&mut self.sources) {
            let mut text = self.text[range.clone()].trim_end().to_owned();
            let named = self.here_texts.iter().filter(|here| range.contains(&here.operator_at));
            for here in named.filter(|here| here.lines.start >= range.end) {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(&self.text[here.lines.clone()]);
            }
            source.0.set(text).expect("a source is finished once");
        }
        self.here_texts.clear();
        Ok(())
    }
}

fn here_word(text: &str) -> Parsed<Word> {
    let mut parser = Parser::new(text);
    let word = parser.quoted_until(None)?;
    parser.finish()?;
    Ok(word)
}
