//! Tokens become a program, by recursive descent.

use super::{
    lexer::{Token, tokens},
    syntax::*,
};
use std::rc::Rc;

/// Expressions and statements within each other; deeper ones would end the guest's stack.
const DEPTH_MAX: usize = 100;

type Parsed<T> = Result<T, String>;

/// Parses a program.
///
/// # Errors
/// What is not understood.
pub fn parse(text: &str) -> Parsed<Program> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, no_greater: false };
    let mut program = Program::default();
    parser.skip_ends();
    while *parser.peek() != Token::End {
        parser.item(&mut program)?;
        parser.skip_ends();
    }
    Ok(program)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Behind `print`, `>` is where it goes.
    no_greater: bool,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(other) if *other == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(other) if *other == word)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        let found = match self.peek() {
            Token::End => "end of program".to_owned(),
            Token::Newline => "newline".to_owned(),
            Token::Name(name) | Token::Call(name) => name.clone(),
            Token::Word(word) | Token::Sign(word) => (*word).to_owned(),
            Token::Number(number) => number.to_string(),
            Token::Text(text) | Token::Regex(text) => format!("{text:?}"),
        };
        format!("unexpected {found}")
    }

    fn skip_newlines(&mut self) {
        while *self.peek() == Token::Newline {
            self.at += 1;
        }
    }

    fn skip_ends(&mut self) {
        while *self.peek() == Token::Newline || self.is(";") {
            self.at += 1;
        }
    }

    fn item(&mut self, program: &mut Program) -> Parsed<()> {
        if self.accept_word("function") || self.accept_word("func") {
            let (Token::Name(name) | Token::Call(name)) = self.take() else { return Err(self.unexpected()) };
            self.expect("(")?;
            let mut parameters = Vec::new();
            while let Token::Name(parameter) = self.peek().clone() {
                self.at += 1;
                parameters.push(parameter);
                self.accept(",");
                self.skip_newlines();
            }
            self.expect(")")?;
            self.skip_newlines();
            let body = self.block()?;
            program.functions.insert(name, Rc::new(Function { parameters, body }));
            return Ok(());
        }
        if self.accept_word("BEGIN") {
            program.begin.push(self.block()?.into());
            return Ok(());
        }
        if self.accept_word("END") {
            program.end.push(self.block()?.into());
            return Ok(());
        }
        let pattern = if self.is("{") {
            Pattern::Always
        } else {
            let first = self.expression()?;
            if self.accept(",") {
                self.skip_newlines();
                Pattern::Range(first, self.expression()?)
            } else {
                Pattern::If(first)
            }
        };
        let action = if self.is("{") { Some(self.block()?.into()) } else { None };
        program.rules.push(Rule { pattern, action });
        Ok(())
    }

    fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.expect("{")?;
        let mut statements = Vec::new();
        self.skip_ends();
        while !self.accept("}") {
            statements.push(self.statement()?);
            self.skip_ends();
        }
        Ok(statements)
    }

    fn body(&mut self) -> Parsed<Vec<Statement>> {
        self.skip_newlines();
        if self.accept(";") {
            return Ok(Vec::new());
        }
        if self.is("{") { self.block() } else { Ok(vec![self.statement()?]) }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        let result = if self.depth > DEPTH_MAX { Err("nested too deeply".to_owned()) } else { parse(self) };
        self.depth -= 1;
        result
    }

    fn statement(&mut self) -> Parsed<Statement> {
        self.nested(Self::any_statement)
    }

    fn any_statement(&mut self) -> Parsed<Statement> {
        if self.is("{") {
            return Ok(Statement::Block(self.block()?));
        }
        let Token::Word(word) = self.peek().clone() else { return self.ended(Self::simple) };
        match word {
            "if" => self.if_statement(),
            "while" => {
                self.at += 1;
                let condition = self.condition()?;
                Ok(Statement::While { condition, body: self.body()?, body_first: false })
            }
            "do" => {
                self.at += 1;
                let body = self.body()?;
                self.skip_ends();
                if !self.accept_word("while") {
                    return Err(self.unexpected());
                }
                let condition = self.condition()?;
                Ok(Statement::While { condition, body, body_first: true })
            }
            "for" => self.for_statement(),
            _ => self.ended(Self::simple),
        }
    }

    /// A statement with what ends it.
    fn ended(&mut self, parse: fn(&mut Self) -> Parsed<Statement>) -> Parsed<Statement> {
        let statement = parse(self)?;
        if *self.peek() == Token::Newline || self.is(";") {
            self.at += 1;
        } else if !self.is("}") && *self.peek() != Token::End {
            return Err(self.unexpected());
        }
        Ok(statement)
    }

    fn condition(&mut self) -> Parsed<Expression> {
        self.expect("(")?;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    fn if_statement(&mut self) -> Parsed<Statement> {
        self.at += 1;
        let condition = self.condition()?;
        let body = self.body()?;
        let before = self.at;
        self.skip_ends();
        if self.accept_word("else") {
            return Ok(Statement::If(condition, body, self.body()?));
        }
        self.at = before;
        Ok(Statement::If(condition, body, Vec::new()))
    }

    fn for_statement(&mut self) -> Parsed<Statement> {
        self.at += 1;
        self.expect("(")?;
        if let [Token::Name(variable), Token::Word("in"), Token::Name(array), Token::Sign(")"), ..] =
            &self.tokens[self.at..]
        {
            let (variable, array) = (variable.clone(), array.clone());
            self.at += 4;
            return Ok(Statement::ForIn { variable, array, body: self.body()? });
        }
        let first = if self.is(";") { None } else { Some(Box::new(self.simple()?)) };
        self.expect(";")?;
        self.skip_newlines();
        let condition = if self.is(";") { None } else { Some(self.expression()?) };
        self.expect(";")?;
        self.skip_newlines();
        let next = if self.is(")") { None } else { Some(Box::new(self.simple()?)) };
        self.expect(")")?;
        Ok(Statement::For { first, condition, next, body: self.body()? })
    }

    fn simple(&mut self) -> Parsed<Statement> {
        let Token::Word(word) = self.peek().clone() else { return Ok(Statement::Expression(self.expression()?)) };
        let ends = |parser: &Self| matches!(parser.peek(), Token::Newline | Token::End | Token::Sign(";" | "}"));
        if word != "getline" {
            self.at += 1;
        }
        Ok(match word {
            "print" | "printf" => self.print(word == "printf")?,
            "break" => Statement::Break,
            "continue" => Statement::Continue,
            "next" => Statement::Next,
            "exit" => Statement::Exit(if ends(self) { None } else { Some(self.expression()?) }),
            "return" => Statement::Return(if ends(self) { None } else { Some(self.expression()?) }),
            "delete" => {
                let Token::Name(array) = self.take() else { return Err(self.unexpected()) };
                let index = if self.accept("[") { Some(self.list("]")?) } else { None };
                Statement::Delete(array, index)
            }
            "getline" => Statement::Expression(self.expression()?),
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    fn print(&mut self, formatted: bool) -> Parsed<Statement> {
        let ends = matches!(self.peek(), Token::Newline | Token::End | Token::Sign(";" | "}" | ">" | ">>" | "|"));
        let mut what = Vec::new();
        if !ends {
            let before = std::mem::replace(&mut self.no_greater, true);
            what.push(self.expression()?);
            while self.accept(",") {
                self.skip_newlines();
                what.push(self.expression()?);
            }
            self.no_greater = before;
        }
        // One pair of brackets around all of it is no value.
        if let [Expression::Group(_)] = what.as_slice()
            && let Some(Expression::Group(inner)) = what.pop()
        {
            what = inner;
        }
        let redirect = match self.peek() {
            Token::Sign(">") => Some(Redirect::Write),
            Token::Sign(">>") => Some(Redirect::Append),
            Token::Sign("|") => Some(Redirect::Pipe),
            _ => None,
        };
        let to = match redirect {
            Some(redirect) => {
                self.at += 1;
                Some((redirect, self.concatenation()?))
            }
            None => None,
        };
        Ok(Statement::Print { what, formatted, to })
    }

    fn list(&mut self, close: &str) -> Parsed<Vec<Expression>> {
        let no_greater = std::mem::take(&mut self.no_greater);
        let mut all = Vec::new();
        self.skip_newlines();
        while !self.accept(close) {
            all.push(self.expression()?);
            self.skip_newlines();
            if !self.accept(",") && !self.is(close) {
                return Err(self.unexpected());
            }
            self.skip_newlines();
        }
        self.no_greater = no_greater;
        Ok(all)
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.nested(Self::choice)
    }

    fn choice(&mut self) -> Parsed<Expression> {
        let condition = self.binary(0)?;
        if self.accept("?") {
            self.skip_newlines();
            let yes = self.expression()?;
            self.skip_newlines();
            self.expect(":")?;
            self.skip_newlines();
            let no = self.expression()?;
            return Ok(Expression::Choice(Box::new(condition), Box::new(yes), Box::new(no)));
        }
        let Token::Sign(sign @ ("=" | "+=" | "-=" | "*=" | "/=" | "%=" | "^=")) = self.peek().clone() else {
            return Ok(condition);
        };
        let Expression::Place(place) = condition else { return Err(self.unexpected()) };
        self.at += 1;
        self.skip_newlines();
        let operator = sign.chars().next().filter(|operator| *operator != '=');
        Ok(Expression::Assign(place, operator, Box::new(self.expression()?)))
    }

    /// `||`, `&&`, `in`, `~`, comparisons: from the loosest.
    fn binary(&mut self, level: usize) -> Parsed<Expression> {
        let mut left = match level {
            4 => return self.comparison(),
            _ => self.binary(level + 1)?,
        };
        loop {
            let sign = match (level, self.peek()) {
                (0, Token::Sign("||")) => "||",
                (1, Token::Sign("&&")) => "&&",
                (2, Token::Word("in")) => "in",
                (3, Token::Sign("~")) => "~",
                (3, Token::Sign("!~")) => "!~",
                _ => return Ok(left),
            };
            self.at += 1;
            if sign == "in" {
                let Token::Name(array) = self.take() else { return Err(self.unexpected()) };
                let index = if let Expression::Group(index) = left { index } else { vec![left] };
                left = Expression::In(index, array);
                continue;
            }
            self.skip_newlines();
            let right = self.binary(level + 1)?;
            left = Expression::Binary(sign, Box::new(left), Box::new(right));
        }
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let left = self.concatenation()?;
        let sign = match self.peek() {
            Token::Sign(sign @ ("<" | "<=" | "==" | "!=" | ">=")) => *sign,
            Token::Sign(">") if !self.no_greater => ">",
            Token::Sign("|") if matches!(self.tokens.get(self.at + 1), Some(Token::Word("getline"))) => {
                self.at += 2;
                let into = self.optional_place()?;
                return Ok(Expression::Getline { from: Some((true, Box::new(left))), into });
            }
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.concatenation()?;
        Ok(Expression::Binary(sign, Box::new(left), Box::new(right)))
    }

    fn concatenation(&mut self) -> Parsed<Expression> {
        let mut left = self.sum()?;
        while self.begins_value() {
            let right = self.sum()?;
            left = Expression::Binary(" ", Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn begins_value(&self) -> bool {
        match self.peek() {
            Token::Number(_) | Token::Text(_) | Token::Regex(_) | Token::Name(_) | Token::Call(_) => true,
            Token::Sign(sign) => matches!(*sign, "$" | "!" | "(" | "-" | "+" | "++" | "--"),
            _ => false,
        }
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let mut left = self.product()?;
        while let Token::Sign(sign @ ("+" | "-")) = self.peek().clone() {
            self.at += 1;
            left = Expression::Binary(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Parsed<Expression> {
        let mut left = self.unary()?;
        while let Token::Sign(sign @ ("*" | "/" | "%")) = self.peek().clone() {
            self.at += 1;
            left = Expression::Binary(sign, Box::new(left), Box::new(self.unary()?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expression> {
        self.nested(|parser| {
            if parser.accept("!") {
                return Ok(Expression::Not(Box::new(parser.unary()?)));
            }
            if parser.accept("-") {
                return Ok(Expression::Negative(Box::new(parser.unary()?)));
            }
            if parser.accept("+") {
                return Ok(Expression::Positive(Box::new(parser.unary()?)));
            }
            parser.power()
        })
    }

    fn power(&mut self) -> Parsed<Expression> {
        let base = self.stepped()?;
        if self.accept("^") {
            // To the right, and tighter than a sign before the base.
            let exponent = self.unary()?;
            return Ok(Expression::Binary("^", Box::new(base), Box::new(exponent)));
        }
        Ok(base)
    }

    fn stepped(&mut self) -> Parsed<Expression> {
        for (sign, by) in [("++", 1.0), ("--", -1.0)] {
            if self.accept(sign) {
                let Expression::Place(place) = self.primary()? else { return Err(self.unexpected()) };
                return Ok(Expression::Step { place, by, old: false });
            }
        }
        let value = self.primary()?;
        let Expression::Place(place) = value else { return Ok(value) };
        for (sign, by) in [("++", 1.0), ("--", -1.0)] {
            if self.accept(sign) {
                return Ok(Expression::Step { place, by, old: true });
            }
        }
        Ok(Expression::Place(place))
    }

    fn primary(&mut self) -> Parsed<Expression> {
        Ok(match self.take() {
            Token::Number(number) => Expression::Number(number),
            Token::Text(text) => Expression::Text(text),
            Token::Regex(text) => Expression::Regex(text),
            Token::Sign("$") => {
                let index = if self.is("-") || self.is("!") { self.unary()? } else { self.field_index()? };
                Expression::Place(Place::Field(Box::new(index)))
            }
            Token::Sign("(") => Expression::Group(self.list(")")?),
            Token::Call(name) => {
                self.expect("(")?;
                Expression::Call(name, self.list(")")?)
            }
            // The one function that needs no brackets.
            Token::Name(name) if name == "length" => Expression::Call(name, Vec::new()),
            Token::Name(name) if self.accept("[") => Expression::Place(Place::Element(name, self.list("]")?)),
            Token::Name(name) => Expression::Place(Place::Variable(name)),
            Token::Word("getline") => {
                let into = self.optional_place()?;
                let from = if self.accept("<") { Some((false, Box::new(self.stepped()?))) } else { None };
                Expression::Getline { from, into }
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    /// `$i++` steps the field, not the index.
    fn field_index(&mut self) -> Parsed<Expression> {
        for (sign, by) in [("++", 1.0), ("--", -1.0)] {
            if self.accept(sign) {
                let Expression::Place(place) = self.primary()? else { return Err(self.unexpected()) };
                return Ok(Expression::Step { place, by, old: false });
            }
        }
        self.nested(Self::primary)
    }

    fn optional_place(&mut self) -> Parsed<Option<Place>> {
        if !matches!(self.peek(), Token::Name(_) | Token::Sign("$")) {
            return Ok(None);
        }
        match self.primary()? {
            Expression::Place(place) => Ok(Some(place)),
            _ => Err(self.unexpected()),
        }
    }
}
