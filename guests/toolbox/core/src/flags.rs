//! Command-line options as getopt(3) reads them.

use crate::context::Failure;

/// What a command line said.
pub struct Flags {
    given: Vec<(char, String)>,
    /// What is not an option, in order.
    pub operands: Vec<String>,
}

impl Flags {
    /// `spec` is getopt's: a colon after an option with a value, `+` first to
    /// stop at the first operand. `long` names options by a letter of `spec`.
    pub fn parse(arguments: &[String], spec: &str, long: &[(&str, char)]) -> Result<Self, Failure> {
        let mut flags = Self { given: Vec::new(), operands: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                flags.operands.extend(rest.by_ref().cloned());
            } else if let Some(name) = argument.strip_prefix("--") {
                flags.long(name, spec, long, &mut rest)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                flags.short(&argument[1..], spec, &mut rest)?;
            } else {
                flags.operands.push(argument.clone());
                if spec.starts_with('+') {
                    flags.operands.extend(rest.by_ref().cloned());
                }
            }
        }
        Ok(flags)
    }

    fn short<'a>(
        &mut self,
        letters: &str,
        spec: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        for (at, letter) in letters.char_indices() {
            match takes_value(spec, letter) {
                None => return Err(Failure::Usage(format!("unrecognized option: {letter}"))),
                Some(false) => self.given.push((letter, String::new())),
                Some(true) => {
                    let attached = &letters[at + letter.len_utf8()..];
                    let value = if attached.is_empty() { rest.next().cloned() } else { Some(attached.to_owned()) };
                    let missing = || Failure::Usage(format!("option requires an argument: {letter}"));
                    self.given.push((letter, value.ok_or_else(missing)?));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn long<'a>(
        &mut self,
        name: &str,
        spec: &str,
        long: &[(&str, char)],
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let unknown = || Failure::Usage(format!("unrecognized option: {name}"));
        let letter = long.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter).ok_or_else(unknown)?;
        let value = match (takes_value(spec, letter), value) {
            (Some(true), None) => {
                rest.next().cloned().ok_or_else(|| Failure::Usage(format!("option requires an argument: {name}")))?
            }
            (_, value) => value.unwrap_or_default().to_owned(),
        };
        self.given.push((letter, value));
        Ok(())
    }

    /// Whether the option was given.
    pub fn has(&self, letter: char) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The option's last value.
    pub fn value(&self, letter: char) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| *given == letter).map(|(_, value)| value.as_str())
    }

    /// All values of the option, in order.
    pub fn values(&self, letter: char) -> impl Iterator<Item = &str> {
        self.given.iter().filter(move |(given, _)| *given == letter).map(|(_, value)| value.as_str())
    }

    /// The option that was given last among these.
    pub fn last_of(&self, letters: &str) -> Option<char> {
        self.given.iter().rev().map(|(given, _)| *given).find(|given| letters.contains(*given))
    }

    /// The option's last value as a number.
    pub fn number<N: std::str::FromStr>(&self, letter: char) -> Result<Option<N>, Failure> {
        self.value(letter).map(number).transpose()
    }
}

fn takes_value(spec: &str, letter: char) -> Option<bool> {
    if matches!(letter, ':' | '+') {
        return None;
    }
    let after = &spec[spec.find(letter)? + letter.len_utf8()..];
    Some(after.starts_with(':'))
}

/// A number, or what BusyBox says of text that is none.
pub fn number<N: std::str::FromStr>(text: &str) -> Result<N, Failure> {
    text.parse().map_err(|_| Failure::Message(format!("invalid number '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str], spec: &str) -> Result<Flags, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Flags::parse(&arguments, spec, &[("lines", 'n')])
    }

    #[test]
    fn options_may_be_joined_and_follow_operands() {
        let flags = parse(&["-an5", "file", "-b", "--", "-c"], "abcn:").unwrap();
        assert!(flags.has('a') && flags.has('b') && !flags.has('c'));
        assert_eq!((flags.value('n'), &flags.operands[..]), (Some("5"), &["file".to_owned(), "-c".to_owned()][..]));
        assert_eq!(parse(&["--lines", "3"], "n:").unwrap().value('n'), Some("3"));
        assert_eq!(parse(&["--lines=3"], "n:").unwrap().value('n'), Some("3"));
    }

    #[test]
    fn a_plus_stops_at_the_first_operand() {
        let flags = parse(&["-a", "ls", "-b"], "+ab").unwrap();
        assert!(!flags.has('b'));
        assert_eq!(flags.operands, ["ls", "-b"]);
    }

    #[test]
    fn unknown_and_incomplete_options_are_told() {
        let message = |result: Result<Flags, Failure>| match result {
            Err(Failure::Usage(message)) => message,
            _ => panic!("no usage error"),
        };
        assert_eq!(message(parse(&["-z"], "a")), "unrecognized option: z");
        assert_eq!(message(parse(&["-n"], "n:")), "option requires an argument: n");
        assert_eq!(message(parse(&["--no"], "n:")), "unrecognized option: no");
    }
}
