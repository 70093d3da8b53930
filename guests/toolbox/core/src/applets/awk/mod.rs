//! `awk`, as POSIX has it.
//!
//! ```text
//! text -> lexer -> parser (syntax) -> run (records, statements) -> evaluate (expressions)
//!                                                               -> functions, output
//! ```

mod evaluate;
mod functions;
mod lexer;
mod output;
mod parser;
mod run;
mod syntax;
mod value;

use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
};
use std::io::Read;

pub fn awk(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+F:v:f:", &[])?;
    let mut operands = flags.operands.clone();
    let mut text = String::new();
    for path in flags.values('f') {
        let opened = context.input(path);
        let cannot = |error| Failure::Message(format!("can't open '{path}': {}", crate::context::reason(&error)));
        opened.map_err(cannot)?.read_to_string(&mut text)?;
        text.push('\n');
    }
    if !flags.has('f') {
        if operands.is_empty() {
            return Err(Failure::Usage(String::new()));
        }
        text = operands.remove(0);
    }
    let program = match parser::parse(&text) {
        Ok(program) => program,
        Err(message) => {
            context.complain(format_args!("cmd. line: {message}"));
            return Ok(1);
        }
    };
    let separator = flags.value('F').map(|separator| run::escaped(if separator == "t" { "\t" } else { separator }));
    let assignments: Vec<String> = flags.values('v').map(str::to_owned).collect();
    run::run(context, &program, separator, &assignments, operands)
}
