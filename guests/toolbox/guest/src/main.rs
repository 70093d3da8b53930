//! The toolbox as a component: what the core asks of its host, over the imports
//! of `wit/toolbox.wit` and WASI's libc.

use std::rc::Rc;
use wk_toolbox::{Context, Output, host::Host};

mod guest;

fn main() {
    let host: Rc<dyn Host> = Rc::new(guest::Guest);
    let [stdin, stdout, stderr] = guest::streams();
    let mut context = Context {
        host,
        arguments: std::env::args().collect(),
        speaker: None,
        environment: std::env::vars().collect(),
        directory: guest::directory(),
        stdin,
        stdout: Output::new(stdout),
        stderr,
    };
    let code = wk_toolbox::run(&mut context);
    guest::exit(code)
}
