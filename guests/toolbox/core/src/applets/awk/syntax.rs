//! What an awk program is, once it is parsed.

use std::{collections::BTreeMap, rc::Rc};

#[derive(Debug, Default)]
pub struct Program {
    pub begin: Vec<Rc<[Statement]>>,
    pub rules: Vec<Rule>,
    pub end: Vec<Rc<[Statement]>>,
    pub functions: BTreeMap<String, Rc<Function>>,
}

#[derive(Debug)]
pub struct Rule {
    pub pattern: Pattern,
    /// None prints the record.
    pub action: Option<Rc<[Statement]>>,
}

#[derive(Debug)]
pub enum Pattern {
    Always,
    If(Expression),
    Range(Expression, Expression),
}

#[derive(Debug)]
pub struct Function {
    pub parameters: Vec<String>,
    pub body: Vec<Statement>,
}

#[derive(Debug)]
pub enum Statement {
    Expression(Expression),
    Print {
        what: Vec<Expression>,
        formatted: bool,
        to: Option<(Redirect, Expression)>,
    },
    If(Expression, Vec<Statement>, Vec<Statement>),
    While {
        condition: Expression,
        body: Vec<Statement>,
        body_first: bool,
    },
    For {
        first: Option<Box<Statement>>,
        condition: Option<Expression>,
        next: Option<Box<Statement>>,
        body: Vec<Statement>,
    },
    ForIn {
        variable: String,
        array: String,
        body: Vec<Statement>,
    },
    Block(Vec<Statement>),
    Delete(String, Option<Vec<Expression>>),
    Break,
    Continue,
    Next,
    Exit(Option<Expression>),
    Return(Option<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    Write,
    Append,
    Pipe,
}

#[derive(Debug)]
pub enum Expression {
    Number(f64),
    Text(String),
    /// Alone it asks about the record.
    Regex(String),
    Place(Place),
    Assign(Place, Option<char>, Box<Expression>),
    /// `++` and `--`: by how much, and whether the value is the old one.
    Step {
        place: Place,
        by: f64,
        old: bool,
    },
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
    In(Vec<Expression>, String),
    Call(String, Vec<Expression>),
    /// A value in brackets, of which a list is one for `in` only.
    Group(Vec<Expression>),
    Getline {
        from: Option<(bool, Box<Expression>)>,
        into: Option<Place>,
    },
}

#[derive(Debug)]
pub enum Place {
    Variable(String),
    Field(Box<Expression>),
    Element(String, Vec<Expression>),
}
