//! The table of programs, and how one is run.
//!
//! An applet is a function from a [`Context`] to an exit code. Those of one
//! subject share a file.

mod awk;
mod basics;
mod columns;
mod compare;
mod control;
mod dump;
mod files;
mod find;
mod grep;
mod ls;
mod machine;
mod names;
mod net;
pub(crate) mod printf;
pub(crate) mod processes;
pub(crate) mod regular;
mod sed;
mod sort;
mod system;
mod tar;
mod terminal;
mod test;
mod text;
mod wget;

pub(crate) use basics::{Octal, unescape};
pub(crate) use processes::{DEFAULT_SEARCH, signal, signal_name};

use crate::{
    Context,
    context::{Failure, Outcome},
};
use std::io::Write;

/// One program.
struct Applet {
    name: &'static str,
    run: fn(&mut Context) -> Outcome,
    /// What follows its name in its usage, and what it does.
    usage: &'static str,
}

const fn applet(name: &'static str, run: fn(&mut Context) -> Outcome, usage: &'static str) -> Applet {
    Applet { name, run, usage }
}

/// Every program, by name.
static APPLETS: &[Applet] = &[
    applet("[", basics::test, "EXPRESSION ]\n\nCheck file types, compare values etc."),
    applet("[[", basics::test, "EXPRESSION ]]\n\nCheck file types, compare values and match patterns"),
    applet("arch", machine::arch, "\n\nPrint the machine architecture"),
    applet("awk", awk::awk, "[-F SEP] [-v VAR=VAL] [-f FILE | PROGRAM] [FILE]...\n\nRun an awk program on each line"),
    applet("base64", system::base64, "[-d] [-w COL] [FILE]\n\nBase64 encode or decode FILE to standard output"),
    applet(
        "basename",
        text::basename,
        "FILE [SUFFIX] | -a FILE... | -s SUFFIX FILE...\n\nStrip directory path and SUFFIX from FILE",
    ),
    applet("cat", basics::cat, "[-nbvteA] [FILE]...\n\nPrint FILEs to stdout"),
    applet("chmod", files::chmod, "[-R] MODE FILE...\n\nDo nothing: there are no permission bits here"),
    applet("chown", files::chmod, "[-R] USER[:GROUP] FILE...\n\nDo nothing: there are no owners here"),
    applet("clear", terminal::clear, "\n\nClear screen"),
    applet("cmp", compare::cmp, "[-ls] [-n NUM] FILE1 [FILE2]\n\nCompare FILE1 with FILE2 (or stdin)"),
    applet("comm", compare::comm, "[-123] FILE1 FILE2\n\nCompare FILE1 with FILE2"),
    applet("cp", files::cp, "[-arpn] SOURCE... DEST\n\nCopy SOURCEs to DEST"),
    applet("cut", text::cut, "[-b|c|f LIST] [-d CHAR] [-s] [FILE]...\n\nPrint selected fields from FILEs to stdout"),
    applet("date", system::date, "[-uR] [-d TIME] [-r FILE] [+FMT]\n\nDisplay time (using +FMT)"),
    applet(
        "dd",
        files::dd,
        "[if=FILE] [of=FILE] [bs=N] [count=N] [skip=N] [status=none]\n\nCopy a file with converting and formatting",
    ),
    applet("df", system::df, "[-hk]\n\nPrint filesystem usage statistics"),
    applet(
        "diff",
        compare::diff,
        "[-biNqrsw] [-L LABEL] [-U LINES] FILE1 FILE2\n\nCompare files line by line and output the differences between them",
    ),
    applet("dirname", text::dirname, "FILENAME\n\nStrip non-directory suffix from FILENAME"),
    applet("du", files::du, "[-achks] [-d N] [FILE]...\n\nSummarize disk space used for FILEs (or directories)"),
    applet("echo", basics::echo, "[-neE] [ARG]...\n\nPrint ARGs to stdout"),
    applet("egrep", grep::grep, "[-ivnrclLqosw] PATTERN [FILE]...\n\nSearch for an extended PATTERN"),
    applet(
        "env",
        processes::env,
        "[-i] [-u NAME]... [NAME=VALUE]... [PROG ARGS]\n\nPrint the environment, or run PROG in a changed one",
    ),
    applet("expr", system::expr, "EXPRESSION\n\nPrint the value of EXPRESSION"),
    applet("false", basics::no, "\n\nReturn an exit code of FALSE (1)"),
    applet("fgrep", grep::grep, "[-ivnrclLqosw] PATTERN [FILE]...\n\nSearch for a fixed string"),
    applet("find", find::find, "[PATH]... [OPTIONS] [ACTIONS]\n\nSearch for files and perform actions on them"),
    applet("fold", columns::fold, "[-s] [-w WIDTH] [FILE]\n\nWrap input lines in FILE (or stdin)"),
    applet("free", machine::free, "[-bkmg]\n\nDisplay the memory that the container uses"),
    applet(
        "grep",
        grep::grep,
        "[-EFivnrclLqoswxhH] [-m N] [-A|B|C N] PATTERN|-e PATTERN [FILE]...\n\nSearch for PATTERN in FILEs (or stdin)",
    ),
    applet("gunzip", tar::gzip, "[-cfk] [FILE]...\n\nDecompress FILEs (or stdin)"),
    applet("gzip", tar::gzip, "[-cdfk] [FILE]...\n\nCompress FILEs (or stdin)"),
    applet("head", text::head, "[-n [-]N] [-c N] [FILE]...\n\nPrint first 10 lines of FILEs (or stdin)"),
    applet("hexdump", dump::dump, "[-C] [-n LEN] [FILE]\n\nDisplay FILE in hex"),
    applet("hostname", system::hostname, "[-ifsd]\n\nShow hostname"),
    applet("id", system::id, "[-ugGn]\n\nPrint information about the current user"),
    applet("kill", processes::kill, "[-l] [-SIG] PID...\n\nSend a signal (default: TERM) to given PIDs"),
    applet("less", basics::cat, "[FILE]...\n\nShow FILEs"),
    applet("link", names::link, "FILE LINK\n\nCreate hard LINK to FILE"),
    applet("ln", files::ln, "[-sf] TARGET... LINK|DIR\n\nCreate a link LINK or DIR/TARGET to the specified TARGET(s)"),
    applet("ls", ls::ls, "[-1AaCdFhlnpRrSt] [FILE]...\n\nList directory contents"),
    applet("md5sum", system::sum, "[-cs] [FILE]...\n\nPrint or check MD5 checksums"),
    applet("mkdir", files::mkdir, "[-m MODE] [-p] DIRECTORY...\n\nCreate DIRECTORY"),
    applet(
        "mktemp",
        names::mktemp,
        "[-dqtu] [-p DIR] [TEMPLATE]\n\nCreate a temporary file with name based on TEMPLATE and print its name",
    ),
    applet("more", basics::cat, "[FILE]...\n\nShow FILEs"),
    applet("mv", files::mv, "[-fn] SOURCE... DEST\n\nRename SOURCE to DEST, or move SOURCEs to DIRECTORY"),
    applet(
        "nc",
        net::nc,
        "[-zuv] [-w SEC] HOST PORT | -l [-k] -p PORT\n\nOpen a pipe to HOST:PORT or listen for a connection",
    ),
    applet("nice", control::prefixed, "[-n ADJUST] PROG ARGS\n\nRun PROG"),
    applet("nl", text::nl, "[-b a] [FILE]...\n\nWrite FILEs with line numbers added"),
    applet("nohup", control::prefixed, "PROG ARGS\n\nRun PROG"),
    applet("nproc", machine::nproc, "\n\nPrint number of available CPUs"),
    applet("nslookup", net::nslookup, "HOST [DNS_SERVER]\n\nQuery DNS about HOST"),
    applet("od", dump::dump, "[-x] [-t x1] [-A n] [FILE]\n\nDump FILE in octal"),
    applet("paste", columns::paste, "[-d LIST] [-s] [FILE]...\n\nPaste lines from each input file, separated with tab"),
    applet("pgrep", control::pgrep, "[-flxv] PATTERN\n\nDisplay process(es) selected by regex PATTERN"),
    applet("pidof", control::pidof, "[-s] NAME...\n\nList PIDs of all processes with names that match NAMEs"),
    applet(
        "pkill",
        control::pgrep,
        "[-SIGNAL] [-fxv] PATTERN\n\nSend a signal to process(es) selected by regex PATTERN",
    ),
    applet("printenv", processes::printenv, "[VARIABLE]...\n\nPrint environment VARIABLEs"),
    applet("printf", printf::printf, "FORMAT [ARG]...\n\nFormat and print ARGs according to FORMAT"),
    applet("ps", processes::ps, "[-o COL1,COL2=HEADER]\n\nShow list of processes"),
    applet("pwd", basics::pwd, "\n\nPrint the full name of the current directory"),
    applet("readlink", files::readlink, "[-f] FILE...\n\nDisplay the value of a symlink"),
    applet("realpath", files::readlink, "FILE...\n\nPrint absolute pathnames of FILEs"),
    applet("reset", terminal::clear, "\n\nReset terminal"),
    applet("rev", text::tac, "[FILE]...\n\nReverse lines of FILEs (or stdin)"),
    applet("rm", files::rm, "[-rf] FILE...\n\nRemove (unlink) FILEs"),
    applet("rmdir", files::rmdir, "DIRECTORY...\n\nRemove DIRECTORY if it is empty"),
    applet("sed", sed::sed, "[-nEi] [-e CMD]... [-f FILE]... [FILE]...\n\nStream editor"),
    applet("seq", text::seq, "[-w] [-s SEP] [FIRST [INC]] LAST\n\nPrint numbers from FIRST to LAST, in steps of INC"),
    applet("setsid", control::prefixed, "PROG ARGS\n\nRun PROG"),
    applet("sh", crate::shell::main, "[-aCefnuvxs] [-o OPTION] [-c SCRIPT | FILE] [ARG]...\n\nUnix shell interpreter"),
    applet("sha1sum", system::sum, "[-cs] [FILE]...\n\nPrint or check SHA1 checksums"),
    applet("sha256sum", system::sum, "[-cs] [FILE]...\n\nPrint or check SHA256 checksums"),
    applet("sha512sum", system::sum, "[-cs] [FILE]...\n\nPrint or check SHA512 checksums"),
    applet("shuf", columns::shuf, "[-n NUM] [-e ARG... | -i L-H | FILE]\n\nRandomly permute lines"),
    applet(
        "sleep",
        basics::sleep,
        "[N]...\n\nPause for a time equal to the total of the args given, where each arg can\nhave an optional suffix of (s)econds, (m)inutes, (h)ours, or (d)ays",
    ),
    applet("sort", sort::sort, "[-nrufbghMVdsc] [-k KEY] [-t CHAR] [-o FILE] [FILE]...\n\nSort lines of text"),
    applet(
        "split",
        columns::split,
        "[-a LEN] [-l LINES | -b BYTES] [FILE [PREFIX]]\n\nSplit FILE (or stdin) into pieces",
    ),
    applet("stat", ls::stat, "[-L] [-c FORMAT] FILE...\n\nDisplay file status"),
    applet("stty", terminal::stty, "[-a] [size] [raw|sane]\n\nPrint or set terminal settings"),
    applet("sync", basics::yes, "\n\nWrite all buffered blocks to disk"),
    applet("tac", text::tac, "[FILE]...\n\nConcatenate FILEs and print them in reverse"),
    applet(
        "tail",
        text::tail,
        "[-n [+]N] [-c N] [-f] [-s SECONDS] [FILE]...\n\nPrint last 10 lines of FILEs (or stdin)",
    ),
    applet(
        "tar",
        tar::tar,
        "c|x|t [-zmvkhO] [-f TARFILE] [-C DIR] [FILE]...\n\nCreate, extract, or list files from a tar file",
    ),
    applet("tee", text::tee, "[-a] [FILE]...\n\nCopy stdin to each FILE, and also to stdout"),
    applet("test", basics::test, "EXPRESSION\n\nCheck file types, compare values etc."),
    applet(
        "timeout",
        control::timeout,
        "[-s SIG] [-k KILL_SECS] SECS PROG ARGS\n\nRun PROG. Send SIG to it if it is not gone in SECS seconds.",
    ),
    applet(
        "top",
        control::top,
        "[-b] [-n COUNT] [-d SECONDS]\n\nShow a view of process activity in real time. ^C ends it.",
    ),
    applet("touch", files::touch, "[-c] [-d DATE] [-r FILE] FILE...\n\nUpdate mtime of FILEs"),
    applet(
        "tr",
        text::tr,
        "[-cds] STRING1 [STRING2]\n\nTranslate, squeeze, or delete characters from stdin, writing to stdout",
    ),
    applet("true", basics::yes, "\n\nReturn an exit code of TRUE (0)"),
    applet("truncate", names::truncate, "[-c] -s SIZE FILE...\n\nTruncate FILEs to SIZE"),
    applet("tty", terminal::tty, "[-s]\n\nPrint file name of stdin's terminal"),
    applet("uname", system::uname, "[-asnrvmo]\n\nPrint system information"),
    applet("uniq", text::uniq, "[-cdui] [-f,s,w N] [FILE [OUTFILE]]\n\nDiscard duplicate lines"),
    applet("unlink", names::unlink, "FILE\n\nDelete FILE by calling unlink()"),
    applet("uptime", machine::uptime, "\n\nTell how long the container has been running"),
    applet("usleep", machine::usleep, "N\n\nPause for N microseconds"),
    applet("watch", control::watch, "[-n SEC] [-t] PROG ARGS\n\nRun PROG periodically"),
    applet("wc", text::wc, "[-clwmL] [FILE]...\n\nCount lines, words, and bytes for FILEs (or stdin)"),
    applet(
        "wget",
        wget::wget,
        "[-qS] [--spider] [--header STR] [--post-data STR | --post-file FILE] [-T SEC] [-U STR] [-O FILE] [-P DIR] URL...\n\nRetrieve files via HTTP",
    ),
    applet("which", system::which, "[-a] COMMAND...\n\nLocate a COMMAND"),
    applet("whoami", system::whoami, "\n\nPrint the user name"),
    applet("xargs", text::xargs, "[-0rt] [-n N] [-I REPL] [PROG ARGS]\n\nRun PROG on every item given by stdin"),
    applet("xxd", dump::dump, "[-p] [-l LEN] [FILE]\n\nHex dump FILE (or stdin)"),
    applet("yes", text::yes, "[STRING]\n\nRepeatedly print a line with STRING, or 'y'"),
    applet("zcat", tar::gzip, "[FILE]...\n\nDecompress to stdout"),
];

/// The names of all programs, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    APPLETS.iter().map(|applet| applet.name)
}

fn find(name: &str) -> Option<&'static Applet> {
    APPLETS.iter().find(|applet| applet.name == name)
}

/// Programs that take `--help` as any other argument.
const TAKE_HELP: [&str; 6] = ["[", "[[", "echo", "false", "test", "true"];

/// Runs the program that `arguments[0]` names: its exit code.
pub fn run(context: &mut Context) -> u8 {
    let name = context.name().to_owned();
    let Some(applet) = find(&name) else {
        // Under the name it has itself, it runs what its first argument names.
        if matches!(name.as_str(), "toolbox" | "busybox") && context.arguments.len() > 1 {
            context.arguments.remove(0);
            return run(context);
        }
        let _ = context.stderr.write(format!("{name}: applet not found\n").as_bytes());
        return 127;
    };
    if context.operands().first().is_some_and(|first| first == "--help") && !TAKE_HELP.contains(&applet.name) {
        let _ = context.stderr.write(usage(applet).as_bytes());
        return 0;
    }
    let outcome = (applet.run)(context);
    let flushed = context.stdout.flush().map_err(Failure::from);
    match outcome.and_then(|code| flushed.map(|()| code)) {
        Ok(code) | Err(Failure::Code(code)) => code,
        Err(Failure::Message(message)) => {
            context.complain(message);
            1
        }
        Err(Failure::Usage(message)) => {
            if !message.is_empty() {
                context.complain(message);
            }
            let _ = context.stderr.write(usage(applet).as_bytes());
            if applet.name == "grep" { 2 } else { 1 }
        }
    }
}

fn usage(applet: &Applet) -> String {
    format!("wk toolbox v{}\n\nUsage: {} {}\n", env!("CARGO_PKG_VERSION"), applet.name, applet.usage)
}

#[cfg(test)]
mod tests {
    /// The host reads the file to know what it may start.
    #[test]
    fn the_list_beside_the_crate_is_the_table() {
        let list: Vec<&str> = include_str!("../../../programs.txt").lines().collect();
        assert_eq!(list, super::names().collect::<Vec<_>>());
        assert!(list.is_sorted());
    }
}
