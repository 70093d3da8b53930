//! `$((..))`: C's integer expressions over a shell's variables.

/// Where names get their values.
pub trait Variables {
    fn get(&self, name: &str) -> Result<String, String>;
    fn set(&mut self, name: &str, value: i64) -> Result<(), String>;
}

/// Levels of nesting; deeper text would end the guest's stack.
const DEPTH_MAX: usize = 100;

/// The value of an expression.
///
/// # Errors
/// What is wrong with it.
pub fn evaluate(text: &str, variables: &mut dyn Variables) -> Result<i64, String> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, variables, depth: 0, skip: 0 };
    if parser.peek().is_none() {
        return Ok(0);
    }
    let value = parser.comma()?;
    if parser.peek().is_some() { Err("arithmetic syntax error".to_owned()) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    variables: &'a mut dyn Variables,
    depth: usize,
    /// Inside what `&&`, `||` and `?:` do not evaluate.
    skip: usize,
}

type Value = Result<i64, String>;

/// Operators of two operands, by how strongly they bind; longer ones first.
const BINARY: [(&str, u8); 19] = [
    ("||", 1),
    ("&&", 2),
    ("<<", 8),
    (">>", 8),
    ("<=", 7),
    (">=", 7),
    ("==", 6),
    ("!=", 6),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("**", 11),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

const ASSIGNMENTS: [&str; 11] = ["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "="];

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn starts_with(&mut self, token: &str) -> bool {
        self.peek();
        self.text[self.at..].starts_with(token.as_bytes())
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn comma(&mut self) -> Value {
        let mut value = self.assignment()?;
        while self.take(",") {
            value = self.assignment()?;
        }
        Ok(value)
    }

    fn name(&mut self) -> Option<String> {
        let first = self.peek()?;
        if !first.is_ascii_alphabetic() && first != b'_' {
            return None;
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
        self.at += length;
        Some(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn assignment(&mut self) -> Value {
        let start = self.at;
        if let Some(name) = self.name() {
            let operator = ASSIGNMENTS.into_iter().find(|operator| self.starts_with(operator));
            if let Some(operator) = operator.filter(|operator| *operator != "=" || !self.starts_with("==")) {
                self.at += operator.len();
                let right = self.nested(Self::assignment)?;
                let value = match operator.trim_end_matches('=') {
                    "" => right,
                    binary => {
                        let left = self.variable(&name)?;
                        self.apply(binary, left, right)?
                    }
                };
                return self.store(&name, value);
            }
        }
        self.at = start;
        self.ternary()
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Value) -> Value {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("expression recursion loop detected".to_owned());
        }
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn store(&mut self, name: &str, value: i64) -> Value {
        if self.skip == 0 {
            self.variables.set(name, value)?;
        }
        Ok(value)
    }

    fn variable(&mut self, name: &str) -> Value {
        if self.skip > 0 {
            return Ok(0);
        }
        let text = self.variables.get(name)?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(0);
        }
        if let Ok(number) = number(text) {
            return Ok(number);
        }
        // A variable may hold an expression.
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("expression recursion loop detected".to_owned());
        }
        let mut inner = Parser { text: text.as_bytes(), at: 0, variables: self.variables, depth: self.depth, skip: 0 };
        let value = inner.comma()?;
        let rest = inner.peek();
        self.depth -= 1;
        if rest.is_some() { Err("arithmetic syntax error".to_owned()) } else { Ok(value) }
    }

    fn ternary(&mut self) -> Value {
        let condition = self.binary(1)?;
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.skipping(condition == 0, |parser| parser.nested(Self::comma))?;
        if !self.take(":") {
            return Err("arithmetic syntax error".to_owned());
        }
        let no = self.skipping(condition != 0, |parser| parser.nested(Self::assignment))?;
        Ok(if condition != 0 { yes } else { no })
    }

    fn skipping(&mut self, skip: bool, parse: impl FnOnce(&mut Self) -> Value) -> Value {
        self.skip += usize::from(skip);
        let value = parse(self);
        self.skip -= usize::from(skip);
        value
    }

    fn binary(&mut self, weakest: u8) -> Value {
        let mut left = self.unary()?;
        loop {
            self.peek();
            let Some((operator, strength)) = BINARY.into_iter().find(|(operator, _)| self.starts_with(operator)) else {
                return Ok(left);
            };
            let is_assignment = self.text.get(self.at + operator.len()) == Some(&b'=')
                && !matches!(operator, "<" | ">" | "==" | "!=" | "<=" | ">=" | "&&" | "||");
            if strength < weakest || is_assignment {
                return Ok(left);
            }
            self.at += operator.len();
            let decided = (operator == "&&" && left == 0) || (operator == "||" && left != 0);
            let right = self.skipping(decided, |parser| parser.binary(strength + 1))?;
            left = if self.skip > 0 { 0 } else { self.apply(operator, left, right)? };
        }
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Value {
        let shift = || u32::try_from(right & 63).unwrap_or_default();
        Ok(match operator {
            "||" => i64::from(left != 0 || right != 0),
            "&&" => i64::from(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<" => i64::from(left < right),
            "<=" => i64::from(left <= right),
            ">" => i64::from(left > right),
            ">=" => i64::from(left >= right),
            "<<" => left.wrapping_shl(shift()),
            ">>" => left.wrapping_shr(shift()),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            "**" if right < 0 => return Err("exponent less than 0".to_owned()),
            "**" => left.wrapping_pow(u32::try_from(right).unwrap_or(u32::MAX)),
            _ if right == 0 && self.skip > 0 => 0,
            _ if right == 0 => return Err("divide by zero".to_owned()),
            "/" => left.wrapping_div(right),
            _ => left.wrapping_rem(right),
        })
    }

    fn unary(&mut self) -> Value {
        for (token, change) in [("++", 1), ("--", -1)] {
            if self.starts_with(token) {
                let start = self.at;
                self.at += 2;
                if let Some(name) = self.name() {
                    let value = self.variable(&name)?.wrapping_add(change);
                    return self.store(&name, value);
                }
                self.at = start;
            }
        }
        let Some(first) = self.peek() else { return Err("arithmetic syntax error".to_owned()) };
        if matches!(first, b'+' | b'-' | b'!' | b'~') {
            self.at += 1;
            let value = self.nested(Self::unary)?;
            return Ok(match first {
                b'+' => value,
                b'-' => value.wrapping_neg(),
                b'!' => i64::from(value == 0),
                _ => !value,
            });
        }
        self.primary(first)
    }

    fn primary(&mut self, first: u8) -> Value {
        if self.take("(") {
            let value = self.nested(Self::comma)?;
            return if self.take(")") { Ok(value) } else { Err("arithmetic syntax error".to_owned()) };
        }
        if let Some(name) = self.name() {
            let value = self.variable(&name)?;
            for (token, change) in [("++", 1), ("--", -1)] {
                if self.take(token) {
                    self.store(&name, value.wrapping_add(change))?;
                }
            }
            return Ok(value);
        }
        if !first.is_ascii_digit() {
            return Err("arithmetic syntax error".to_owned());
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        self.at += length;
        number(&String::from_utf8_lossy(&rest[..length]))
    }
}

/// Decimal, `0x` or octal, with a sign.
fn number(text: &str) -> Value {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let value = i64::from_str_radix(digits, base).map_err(|_| "arithmetic syntax error".to_owned())?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl Variables for BTreeMap<String, String> {
        fn get(&self, name: &str) -> Result<String, String> {
            Ok(self.get(name).cloned().unwrap_or_default())
        }

        fn set(&mut self, name: &str, value: i64) -> Result<(), String> {
            self.insert(name.to_owned(), value.to_string());
            Ok(())
        }
    }

    fn value(text: &str) -> Value {
        let mut variables = BTreeMap::from([("x".to_owned(), "7".to_owned()), ("y".to_owned(), "x+1".to_owned())]);
        evaluate(text, &mut variables)
    }

    #[test]
    fn expressions_are_those_of_c() {
        for (text, expected) in [
            ("", 0),
            ("1+2*3", 7),
            ("(1+2)*3", 9),
            ("7/2-7%4", 0),
            ("-3 + +4", 1),
            ("1<<4|1", 17),
            ("3>2&&2>1", 1),
            ("0||0", 0),
            ("x>5?10:20", 10),
            ("x=3, x*2", 6),
            ("x+=5", 12),
            ("x++ + x", 15),
            ("--x", 6),
            ("0x1f+010", 39),
            ("y", 8),
            ("1 == 1", 1),
            ("5 & 3 ^ 1", 0),
            ("0 && 1/0", 0),
            ("!0 + ~0", 0),
            ("10-2-3", 5),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert_eq!(value("1/0"), Err("divide by zero".to_owned()));
        assert!(value("1+").is_err() && value("1 2").is_err() && value(&"(".repeat(5000)).is_err());
    }
}
