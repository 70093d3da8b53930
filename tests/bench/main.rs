//! The numbers of a cluster on this machine, beside what the same figures are
//! for etcd and the real control plane. Run with `make bench`; prints, asserts
//! nothing: machines are noisy, and a number is no test.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

mod api;
mod cluster;
mod exec;
mod idle;
mod pods;
mod report;

use cluster::Cluster;
use report::Report;

fn main() {
    // `cargo bench` passes its own flags; a word is a filter on the names.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut report = Report::new(filter);
    report.machine();
    if report.wants("start") {
        pods::start(&mut report);
    }
    if report.wants("idle") {
        idle::idle(&mut report);
    }
    if report.wants("pods") {
        pods::pods(&mut report);
    }
    if report.wants("exec") {
        exec::exec(&mut report);
    }
    if report.wants("many") {
        pods::many(&mut report);
    }
    if report.wants("api") {
        api::api(&mut report);
    }
}
