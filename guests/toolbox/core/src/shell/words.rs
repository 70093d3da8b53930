//! Words and what expands in them, a part of the [`Parser`].

use super::{
    parser::{Error, Parsed, Parser, is_meta, is_name},
    syntax::*,
};
use std::rc::Rc;

impl Parser<'_> {
    /// The next word; none where an operator or the end is.
    pub(super) fn word(&mut self) -> Parsed<Option<Word>> {
        self.blanks();
        let start = self.at;
        let word = self.plain_until(is_meta)?;
        Ok((self.at > start).then_some(word))
    }

    /// Parts outside double quotes, up to such a character.
    fn plain_until(&mut self, ends: impl Fn(char) -> bool) -> Parsed<Word> {
        let mut parts = Vec::new();
        while let Some(next) = self.rest().chars().next().filter(|next| !ends(*next)) {
            match next {
                '\'' => {
                    let inner = &self.rest()[1..];
                    let length = inner.find('\'').ok_or_else(unterminated)?;
                    parts.push(Part::Quoted(inner[..length].to_owned()));
                    self.at += length + 2;
                }
                '"' => {
                    self.at += 1;
                    parts.push(Part::Double(self.quoted_until(Some('"'))?));
                    self.at += 1;
                }
                '\\' => {
                    self.at += 1;
                    match self.rest().chars().next() {
                        Some('\n') => self.at += 1,
                        Some(character) => {
                            self.at += character.len_utf8();
                            parts.push(Part::Quoted(character.to_string()));
                        }
                        None => parts.push(Part::Quoted("\\".to_owned())),
                    }
                }
                '$' | '`' => self.expansion(&mut parts, false)?,
                _ => {
                    let special =
                        |character: char| ends(character) || matches!(character, '\'' | '"' | '\\' | '$' | '`');
                    let length = self.rest().find(special).unwrap_or(self.rest().len());
                    parts.push(Part::Plain(self.rest()[..length].to_owned()));
                    self.at += length;
                }
            }
        }
        Ok(Word(parts))
    }

    /// Parts between double quotes, up to the end, which stays; the end of the text without one.
    pub(super) fn quoted_until(&mut self, end: Option<char>) -> Parsed<Word> {
        let mut parts = Vec::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return if end.is_none() { Ok(Word(parts)) } else { Err(unterminated()) };
            };
            match next {
                _ if Some(next) == end => return Ok(Word(parts)),
                '$' | '`' => self.expansion(&mut parts, true)?,
                '"' if end == Some('}') => {
                    // Quotes in `"${x:-"y"}"` change nothing but what they hide.
                    self.at += 1;
                    parts.extend(self.quoted_until(Some('"'))?.0);
                    self.at += 1;
                }
                '\\' => {
                    let escaped = self.rest()[1..].chars().next();
                    let escapes = |character: char| {
                        matches!(character, '$' | '`' | '\\')
                            || (character == '"' && end.is_some())
                            || Some(character) == end
                    };
                    match escaped {
                        Some('\n') => self.at += 2,
                        Some(character) if escapes(character) => {
                            parts.push(Part::Quoted(character.to_string()));
                            self.at += 1 + character.len_utf8();
                        }
                        _ => {
                            parts.push(Part::Quoted("\\".to_owned()));
                            self.at += 1;
                        }
                    }
                }
                _ => {
                    let special =
                        |character: char| Some(character) == end || matches!(character, '"' | '\\' | '$' | '`');
                    let length = self.rest().char_indices().skip(1).find(|(_, character)| special(*character));
                    let length = length.map_or(self.rest().len(), |(at, _)| at);
                    parts.push(Part::Quoted(self.rest()[..length].to_owned()));
                    self.at += length;
                }
            }
        }
    }

    /// What a `$` or a backquote begins; a lone `$` is itself.
    fn expansion(&mut self, parts: &mut Vec<Part>, quoted: bool) -> Parsed<()> {
        if self.take("`") {
            parts.push(self.backquoted(quoted)?);
            return Ok(());
        }
        self.at += 1;
        if self.rest().starts_with("((")
            && let Some(part) = self.arithmetic()?
        {
            parts.push(part);
        } else if self.take("(") {
            let list = self.commands(&[])?;
            self.close_bracket()?;
            parts.push(Part::Substitution(Rc::new(list)));
        } else if self.take("{") {
            parts.push(self.braced(quoted)?);
        } else if let Some(name) = self.parameter_name(false) {
            parts.push(Part::Parameter(Box::new(Parameter { name, operation: Operation::Value })));
        } else if !quoted && self.rest().starts_with('\'') {
            self.at += 1;
            parts.push(self.ansi_quoted()?);
        } else {
            parts.push(Part::Quoted("$".to_owned()));
        }
        Ok(())
    }

    /// `$'..'`: escapes are replaced.
    fn ansi_quoted(&mut self) -> Parsed<Part> {
        let mut escaped = false;
        for (at, character) in self.rest().char_indices() {
            if character == '\'' && !escaped {
                let raw = self.rest()[..at].replace("\\'", "'").replace("\\\"", "\"");
                let (bytes, _) = crate::applets::unescape(&raw, crate::applets::Octal::Plain);
                self.at += at + 1;
                return Ok(Part::Quoted(String::from_utf8_lossy(&bytes).into_owned()));
            }
            escaped = character == '\\' && !escaped;
        }
        Err(unterminated())
    }

    /// `$((..))`, if it is one and not a subshell in a substitution.
    fn arithmetic(&mut self) -> Parsed<Option<Part>> {
        let inner = &self.rest()[2..];
        let mut depth = 0usize;
        let mut end = None;
        for (at, character) in inner.char_indices() {
            match character {
                '(' => depth += 1,
                ')' if depth == 0 => {
                    end = Some(at);
                    break;
                }
                ')' => depth -= 1,
                _ => {}
            }
        }
        let Some(end) = end else { return Err(Error::Incomplete("missing '))'".to_owned())) };
        if !inner[end..].starts_with("))") {
            return Ok(None);
        }
        let mut parser = Parser::new(&inner[..end]);
        parser.depth = self.depth + 1;
        let word = parser.quoted_until(None)?;
        parser.finish()?;
        self.at += end + 4;
        Ok(Some(Part::Arithmetic(word)))
    }

    fn backquoted(&mut self, quoted: bool) -> Parsed<Part> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '`' => {
                    self.at += at + 1;
                    let mut parser = Parser::new(&text);
                    parser.depth = self.depth + 1;
                    let list = parser.commands(&[])?;
                    if !parser.rest().is_empty() {
                        return Err(parser.unexpected());
                    }
                    parser.finish()?;
                    return Ok(Part::Substitution(Rc::new(list)));
                }
                '\\' => match characters.next() {
                    Some((_, next)) if matches!(next, '`' | '\\' | '$') || (quoted && next == '"') => text.push(next),
                    Some((_, next)) => text.extend(['\\', next]),
                    None => break,
                },
                _ => text.push(character),
            }
        }
        Err(Error::Incomplete("EOF in backquote substitution".to_owned()))
    }

    /// A name, a special parameter, or a number; of one digit outside braces.
    fn parameter_name(&mut self, braced: bool) -> Option<String> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        let length = if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            1
        } else if first.is_ascii_digit() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
            if braced { digits } else { 1 }
        } else {
            rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_').unwrap_or(rest.len())
        };
        let name = &rest[..length];
        let valid = length > 0 && (is_name(name) || !first.is_ascii_alphabetic());
        if !valid {
            return None;
        }
        self.at += length;
        Some(name.to_owned())
    }

    /// After `${`.
    fn braced(&mut self, quoted: bool) -> Parsed<Part> {
        let bad = || Error::Unexpected("bad substitution".to_owned());
        let rest = self.rest();
        let is_length = rest.starts_with('#') && !rest.starts_with("#}") && !is_operator_after_hash(&rest[1..]);
        if is_length {
            self.at += 1;
        }
        let name = self.parameter_name(true).ok_or_else(|| if rest.is_empty() { unterminated() } else { bad() })?;
        let operation = if is_length { Operation::Length } else { self.operation(quoted)? };
        if !self.take("}") {
            return Err(if self.rest().is_empty() { Error::Incomplete("missing '}'".to_owned()) } else { bad() });
        }
        Ok(Part::Parameter(Box::new(Parameter { name, operation })))
    }

    fn operation(&mut self, quoted: bool) -> Parsed<Operation> {
        let colon = self.take(":");
        let rest = self.rest();
        let Some(operator) = rest.chars().next() else { return Err(Error::Incomplete("missing '}'".to_owned())) };
        if matches!(operator, '-' | '=' | '?' | '+') {
            self.at += 1;
            return Ok(Operation::Absent { operator, colon, word: self.operand(quoted, &['}'])? });
        }
        if colon {
            let offset = self.operand(false, &['}', ':'])?;
            let length = if self.take(":") { Some(self.operand(false, &['}'])?) } else { None };
            return Ok(Operation::Slice { offset, length });
        }
        match operator {
            '%' | '#' => {
                self.at += 1;
                let longest = self.take(&operator.to_string());
                Ok(Operation::Trim { suffix: operator == '%', longest, pattern: self.operand(false, &['}'])? })
            }
            '/' => {
                self.at += 1;
                let all = self.take("/");
                let pattern = self.operand(false, &['}', '/'])?;
                let text = if self.take("/") { self.operand(quoted, &['}'])? } else { Word::default() };
                Ok(Operation::Replace { all, pattern, text })
            }
            _ => Ok(Operation::Value),
        }
    }

    fn operand(&mut self, quoted: bool, ends: &[char]) -> Parsed<Word> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(Error::Unexpected("too deeply nested".to_owned()));
        }
        let word = if quoted {
            // Still within double quotes: blanks stay, single quotes are nothing special.
            self.quoted_until(Some('}')).map(|word| Word(vec![Part::Double(word)]))
        } else {
            self.plain_until(|character| ends.contains(&character))
        };
        self.depth -= 1;
        word
    }
}

/// `${#-x}` and the like act on `$#`; `${#}` and `${#x}` do not come here.
fn is_operator_after_hash(rest: &str) -> bool {
    let mut characters = rest.chars();
    matches!(characters.next(), Some('-' | '?' | '=' | '+' | '%' | ':' | '/' | '#')) && characters.next() != Some('}')
}

fn unterminated() -> Error {
    Error::Incomplete("unterminated quoted string".to_owned())
}
