//! What an awk variable holds: a number, a text, or a text from outside that may
//! be meant as a number.

use std::rc::Rc;

#[derive(Debug, Clone, Default)]
pub enum Value {
    #[default]
    Unset,
    Number(f64),
    Text(Rc<str>),
    /// From input: compared as a number if it looks like one.
    Input(Rc<str>),
}

impl Value {
    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub fn input(text: impl Into<Rc<str>>) -> Self {
        Self::Input(text.into())
    }

    pub fn truth(truth: bool) -> Self {
        Self::Number(f64::from(u8::from(truth)))
    }

    pub fn number(&self) -> f64 {
        match self {
            Self::Unset => 0.0,
            Self::Number(number) => *number,
            Self::Text(text) | Self::Input(text) => leading_number(text).0,
        }
    }

    pub fn string(&self) -> Rc<str> {
        match self {
            Self::Unset => "".into(),
            Self::Number(number) => show(*number).into(),
            Self::Text(text) | Self::Input(text) => Rc::clone(text),
        }
    }

    /// What it is in a comparison, if that is a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Unset => Some(0.0),
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
            Self::Input(text) => {
                let trimmed = text.trim();
                let (number, length) = leading_number(trimmed);
                (length > 0 && length == trimmed.len()).then_some(number)
            }
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Unset => false,
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Input(text) => self.as_number().map_or(!text.is_empty(), |number| number != 0.0),
        }
    }
}

/// The number that a text begins with, and how long that is.
fn leading_number(text: &str) -> (f64, usize) {
    let blanks = text.len() - text.trim_start().len();
    let bytes = &text.as_bytes()[blanks..];
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut any = whole;
    if bytes.get(end) == Some(&b'.') {
        let part = digits(end + 1);
        any += part;
        end += 1 + part;
    }
    if any == 0 {
        return (0.0, 0);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let part = digits(end + 1 + sign);
        if part > 0 {
            end += 1 + sign + part;
        }
    }
    (text[blanks..blanks + end].parse().unwrap_or(0.0), blanks + end)
}

/// Whole numbers as such, others as `%.6g`.
pub fn show(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e16 {
        return format!("{:.0}", if number == 0.0 { 0.0 } else { number });
    }
    super::super::printf::general(number, 6, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_may_be_a_number() {
        assert_eq!(Value::input(" 10 ").as_number(), Some(10.0));
        assert_eq!(Value::input("1e3").as_number(), Some(1000.0));
        assert_eq!(Value::input("10x").as_number(), None);
        assert_eq!(Value::text("10").as_number(), None);
        assert_eq!((Value::input("3.5kg").number(), Value::input("x").number()), (3.5, 0.0));
        assert!(!Value::input("0").is_true() && Value::text("0").is_true() && !Value::Unset.is_true());
    }

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        let shown = [3.0, -0.0, 0.1, 1e20, 100_000.0, 1.0 / 3.0].map(show);
        assert_eq!(shown, ["3", "0", "0.1", "1e+20", "100000", "0.333333"]);
    }
}
