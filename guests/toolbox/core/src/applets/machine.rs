//! Programs about the machine, as far as a container knows it.

use crate::{
    Context,
    context::{Failure, Outcome},
    flags::{Flags, number},
    time,
};
use std::{io::Write, time::Duration};

pub fn nproc(context: &mut Context) -> Outcome {
    // A guest has one thread.
    writeln!(context.stdout, "1")?;
    Ok(0)
}

pub fn arch(context: &mut Context) -> Outcome {
    writeln!(context.stdout, "wasm32")?;
    Ok(0)
}

pub fn usleep(context: &mut Context) -> Outcome {
    let [micros] = context.operands() else { return Err(Failure::Usage(String::new())) };
    context.host.sleep(Duration::from_micros(number(micros)?));
    Ok(0)
}

/// Of the container, not of the machine: what its processes use.
pub fn free(context: &mut Context) -> Outcome {
    let flags = Flags::parse(context.operands(), "bkmgh", &[])?;
    let unit: u64 = match flags.last_of("bkmgh") {
        Some('b') => 1,
        Some('m' | 'h') => 1 << 20,
        Some('g') => 1 << 30,
        _ => 1 << 10,
    };
    let used: u64 = context.host.processes().iter().map(|process| process.memory_bytes).sum();
    writeln!(context.stdout, "              total        used        free      shared  buff/cache   available")?;
    writeln!(
        context.stdout,
        "Mem:              -  {:>10}           -           0           0           -",
        used / unit
    )?;
    writeln!(context.stdout, "Swap:             0           0           0")?;
    Ok(0)
}

/// Since the container's own program began.
pub fn uptime(context: &mut Context) -> Outcome {
    let now = context.host.now();
    let started = context.host.processes().iter().map(|process| process.started_at).min().unwrap_or(now);
    let minutes = now.saturating_sub(started).as_secs() / 60;
    let up = match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours:2}:{minutes:02}"),
        (days, hours, minutes) => format!("{days} days, {hours:2}:{minutes:02}"),
    };
    let clock = time::format("%H:%M:%S", i64::try_from(now.as_secs()).unwrap_or(0), 0);
    writeln!(context.stdout, " {clock} up {up},  0 users,  load average: 0.00, 0.00, 0.00")?;
    Ok(0)
}
