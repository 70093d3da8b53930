//! Programs that run or find others: `timeout`, `nohup`, `watch`, `top`, `pgrep`.

use super::{
    basics::duration,
    processes::{run, signal, spawn},
};
use crate::{
    Context,
    context::{Failure, Outcome},
    flags::Flags,
    host::Process,
};
use std::{collections::BTreeMap, io::Write, time::Duration};

/// How often `timeout` looks whether its program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

const TERM: u8 = 15;
const KILL: u8 = 9;

pub fn timeout(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+s:k:t:", &[("signal", 's'), ("kill-after", 'k')])?;
    let named = |name: &str| signal(name).ok_or_else(|| Failure::Message(format!("bad signal name '{name}'")));
    let number = flags.value('s').map_or(Ok(TERM), named)?;
    let [limit, program @ ..] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    if program.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let mut left = vec![(duration(limit)?, number)];
    if let Some(after) = flags.value('k') {
        left.push((duration(after)?, KILL));
    }
    let Some(child) = spawn(context, program)? else { return Ok(127) };
    for (limit, number) in left {
        let mut waited = Duration::ZERO;
        while waited < limit {
            if let Some(end) = child.poll() {
                return Ok(end.code());
            }
            context.host.sleep(POLL_INTERVAL.min(limit - waited));
            waited += POLL_INTERVAL;
        }
        if child.poll().is_none() {
            // It may have ended just now.
            let _ = context.host.kill(child.pid(), number);
        }
    }
    Ok(child.wait().code())
}

/// `nohup`, `nice`, `setsid`: nothing here hangs up, has a priority or a session.
pub fn prefixed(context: &mut Context) -> Outcome {
    let spec = if context.name() == "nice" { "+n:" } else { "+" };
    let flags = Flags::parse(context.operands(), spec, &[])?;
    if flags.operands.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    run(context, &flags.operands)
}

pub fn watch(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "+n:t", &[("interval", 'n'), ("no-title", 't')])?;
    let period = flags.value('n').map_or(Ok(Duration::from_secs(2)), duration)?;
    if flags.operands.is_empty() {
        return Err(Failure::Usage(String::new()));
    }
    let command = flags.operands.join(" ");
    loop {
        write!(context.stdout, "{CLEAR}")?;
        if !flags.has('t') {
            writeln!(context.stdout, "Every {:.1}s: {command}\n", period.as_secs_f64())?;
        }
        if run(context, &["sh".to_owned(), "-c".to_owned(), command.clone()])? == 128 + 2 {
            return Ok(128 + 2);
        }
        context.host.sleep(period);
    }
}

/// The cursor to the top, and nothing below it.
pub const CLEAR: &str = "\x1b[H\x1b[J";

pub fn top(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "bn:d:", &[])?;
    let period = flags.value('d').map_or(Ok(Duration::from_secs(5)), duration)?;
    let rounds = flags.number('n')?.unwrap_or(if flags.has('b') { 1 } else { u64::MAX });
    let mut before = BTreeMap::new();
    for round in 0..rounds {
        let processes = context.host.processes();
        if !flags.has('b') {
            write!(context.stdout, "{CLEAR}")?;
        }
        show(context, &processes, &before)?;
        before = processes.into_iter().map(|process| (process.pid, (process.cpu, context.host.now()))).collect();
        context.stdout.flush()?;
        if round + 1 < rounds {
            context.host.sleep(period);
        }
    }
    Ok(0)
}

/// The busiest first; at first since each began, then since the last time.
fn show(
    context: &mut Context,
    processes: &[Process],
    before: &BTreeMap<u32, (Duration, Duration)>,
) -> Result<(), Failure> {
    let now = context.host.now();
    let share = |process: &Process| {
        let (cpu, since) = before.get(&process.pid).copied().unwrap_or((Duration::ZERO, process.started_at));
        let wall = now.saturating_sub(since).as_secs_f64();
        if wall > 0.0 { 100.0 * process.cpu.saturating_sub(cpu).as_secs_f64() / wall } else { 0.0 }
    };
    let mut rows: Vec<(f64, &Process)> = processes.iter().map(|process| (share(process), process)).collect();
    rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let used: u64 = processes.iter().map(|process| process.memory_bytes).sum();
    writeln!(context.stdout, "Mem: {}K used, {} processes", used / 1024, processes.len())?;
    let shown = context.host.terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows).saturating_sub(3));
    writeln!(context.stdout, "  PID  PPID USER     STAT   VSZ %CPU COMMAND")?;
    for (share, process) in rows.into_iter().take(shown) {
        let Process { pid, parent, state, memory_bytes, command, .. } = process;
        let (size, command) = (super::processes::size(*memory_bytes), command.join(" "));
        writeln!(context.stdout, "{pid:>5} {parent:>5} root     {state:<4} {size:>5} {share:>4.0} {command}")?;
    }
    Ok(())
}

/// The base name of what a process runs; of a script's interpreter, its own.
fn program(process: &Process) -> &str {
    process.command.first().map_or("", |name| name.rsplit('/').next().unwrap_or_default())
}

pub fn pidof(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "s", &[])?;
    let named = |process: &Process| flags.operands.iter().any(|name| name == program(process));
    let mut found: Vec<u32> = context.host.processes().iter().filter(|it| named(it)).map(|it| it.pid).collect();
    found.reverse();
    found.truncate(if flags.has('s') { 1 } else { usize::MAX });
    if found.is_empty() {
        return Ok(1);
    }
    let found: Vec<String> = found.iter().map(u32::to_string).collect();
    writeln!(context.stdout, "{}", found.join(" "))?;
    Ok(0)
}

/// `pgrep` and `pkill`.
pub fn pgrep(context: &mut Context) -> Outcome {
    let kills = context.name() == "pkill";
    let mut arguments = context.operands().to_vec();
    let mut number = TERM;
    if kills
        && let Some(name) = arguments.first().and_then(|first| first.strip_prefix('-'))
        && let Some(named) = signal(name)
    {
        number = named;
        arguments.remove(0);
    }
    let flags = Flags::parse(&arguments, "flavxons:P:", &[])?;
    let [pattern] = flags.operands.as_slice() else { return Err(Failure::Usage(String::new())) };
    let whole = if flags.has('x') { super::regular::Whole::Line } else { super::regular::Whole::Anything };
    let pattern = super::regular::compile_whole(pattern, super::regular::Syntax::Extended, false, whole)?;
    let own = context.host.pid();
    let mut any = false;
    for process in context.host.processes() {
        let text = if flags.has('f') { process.command.join(" ") } else { program(&process).to_owned() };
        if process.pid == own || pattern.is_match(text.as_bytes())? == flags.has('v') {
            continue;
        }
        any = true;
        if kills {
            // It may have ended just now.
            let _ = context.host.kill(process.pid, number);
        } else if flags.has('l') || flags.has('a') {
            writeln!(context.stdout, "{} {}", process.pid, process.command.join(" "))?;
        } else {
            writeln!(context.stdout, "{}", process.pid)?;
        }
    }
    Ok(u8::from(!any))
}
