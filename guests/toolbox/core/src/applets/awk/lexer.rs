//! The text of an awk program becomes tokens.

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Number(f64),
    Text(String),
    Regex(String),
    Name(String),
    /// A name right before `(`.
    Call(String),
    Word(&'static str),
    /// An operator or a bracket.
    Sign(&'static str),
    Newline,
    End,
}

const WORDS: [&str; 18] = [
    "BEGIN", "END", "function", "func", "if", "else", "while", "for", "do", "break", "continue", "next", "exit",
    "return", "delete", "in", "getline", "print",
];

/// Longest first.
const SIGNS: [&str; 43] = [
    "**=", "+=", "-=", "*=", "/=", "%=", "^=", "==", "<=", ">=", "!=", "++", "--", "&&", "||", ">>", "**", "!~", "{",
    "}", "(", ")", "[", "]", ";", ",", "+", "-", "*", "/", "%", "^", "!", ">", "<", "|", "?", ":", "~", "$", "=", "&",
    "@",
];

/// The tokens of a program, the end last.
///
/// # Errors
/// What is not a token.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { characters: text.chars().collect(), at: 0, tokens: Vec::new() };
    while lexer.next()? {}
    lexer.tokens.push(Token::End);
    Ok(lexer.tokens)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    /// False at the end.
    fn next(&mut self) -> Result<bool, String> {
        let Some(character) = self.peek() else { return Ok(false) };
        match character {
            ' ' | '\t' | '\r' => self.at += 1,
            '\\' if self.characters.get(self.at + 1) == Some(&'\n') => self.at += 2,
            '#' => drop(self.take_while(|character| character != '\n')),
            '\n' => {
                self.at += 1;
                self.tokens.push(Token::Newline);
            }
            '"' => self.text()?,
            '/' if self.regex_may_begin() => self.regex()?,
            '0'..='9' => self.number(),
            '.' if self.characters.get(self.at + 1).is_some_and(char::is_ascii_digit) => self.number(),
            character if character.is_alphabetic() || character == '_' => self.name(),
            _ => self.sign(character)?,
        }
        Ok(true)
    }

    /// A slash behind a value divides.
    fn regex_may_begin(&self) -> bool {
        !matches!(
            self.tokens.last(),
            Some(
                Token::Number(_)
                    | Token::Text(_)
                    | Token::Regex(_)
                    | Token::Name(_)
                    | Token::Sign(")" | "]" | "$" | "++" | "--")
            )
        )
    }

    fn text(&mut self) -> Result<(), String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let character = self.peek().filter(|character| *character != '\n').ok_or("unterminated string")?;
            self.at += 1;
            match character {
                '"' => break,
                '\\' => self.escape(&mut text),
                other => text.push(other),
            }
        }
        self.tokens.push(Token::Text(text));
        Ok(())
    }

    fn escape(&mut self, text: &mut String) {
        let Some(next) = self.peek() else { return };
        self.at += 1;
        match next {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'v' => text.push('\x0b'),
            '"' | '/' | '\\' => text.push(next),
            '\n' => {}
            '0'..='7' => {
                let mut value = next.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|digit| digit.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.at += 1;
                }
                text.extend(char::from_u32(value));
            }
            other => text.extend(['\\', other]),
        }
    }

    fn regex(&mut self) -> Result<(), String> {
        self.at += 1;
        let (mut text, mut in_bracket) = (String::new(), false);
        loop {
            let character = self.peek().filter(|character| *character != '\n').ok_or("unterminated regex")?;
            self.at += 1;
            match character {
                '/' if !in_bracket => break,
                '\\' if self.peek() == Some('/') => continue,
                '\\' => {
                    text.push('\\');
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => {
                    in_bracket = if in_bracket { other != ']' } else { other == '[' };
                    text.push(other);
                }
            }
        }
        self.tokens.push(Token::Regex(text));
        Ok(())
    }

    fn number(&mut self) {
        let mut text = self.take_while(|character| character.is_ascii_digit() || character == '.');
        if matches!(self.peek(), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.characters.get(self.at + 1), Some('+' | '-')));
            if self.characters.get(self.at + 1 + sign).is_some_and(char::is_ascii_digit) {
                text.extend(&self.characters[self.at..=self.at + sign]);
                self.at += 1 + sign;
                text += &self.take_while(|character| character.is_ascii_digit());
            }
        }
        self.tokens.push(Token::Number(text.parse().unwrap_or(0.0)));
    }

    fn name(&mut self) {
        let name = self.take_while(|character| character.is_alphanumeric() || character == '_');
        let token = match WORDS.iter().chain(&["printf"]).find(|word| **word == name) {
            Some(word) => Token::Word(word),
            None if self.peek() == Some('(') => Token::Call(name),
            None => Token::Name(name),
        };
        self.tokens.push(token);
    }

    fn sign(&mut self, character: char) -> Result<(), String> {
        let rest: String = self.characters[self.at..].iter().take(3).collect();
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or(format!("unexpected {character:?}"))?;
        self.at += sign.len();
        // Another way to write the same.
        self.tokens.push(Token::Sign(match *sign {
            "**" => "^",
            "**=" => "^=",
            sign => sign,
        }));
        Ok(())
    }
}
