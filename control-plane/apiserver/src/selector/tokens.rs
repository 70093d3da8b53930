//! Splits a label selector into tokens. Called by the parser only.

/// What a piece of a selector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Identifier,
    In,
    NotIn,
    Equals,
    NotEquals,
    Greater,
    Less,
    Not,
    Comma,
    Open,
    Close,
    End,
}

/// Where the parser is: `in` and `notin` are operators only after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Operator,
    Values,
}

/// The rest of a selector.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

const SPECIAL: [(&str, Token); 9] = [
    ("==", Token::Equals),
    ("!=", Token::NotEquals),
    ("=", Token::Equals),
    ("!", Token::Not),
    (">", Token::Greater),
    ("<", Token::Less),
    (",", Token::Comma),
    ("(", Token::Open),
    (")", Token::Close),
];

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn peek(&self, context: Context) -> (Token, &'a str) {
        Self { rest: self.rest }.next(context)
    }

    /// The next token and its text; the end again and again at the end.
    pub(super) fn next(&mut self, context: Context) -> (Token, &'a str) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if self.rest.is_empty() {
            return (Token::End, "");
        }
        if let Some((text, token)) = SPECIAL.iter().find(|(text, _)| self.rest.starts_with(text)) {
            return (*token, self.take(text.len()));
        }
        let end = self.rest.find(|c: char| " \t\r\n=!(),><".contains(c)).unwrap_or(self.rest.len());
        let text = self.take(end);
        let token = match (text, context) {
            ("in", Context::Operator) => Token::In,
            ("notin", Context::Operator) => Token::NotIn,
            _ => Token::Identifier,
        };
        (token, text)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}
