//! Cron's schedules: five fields, nicknames and `@every`; when the next time is,
//! in a time zone. Pure. The API server refuses what cannot be read
//! (upstream: `robfig/cron/v3` `parser.go` and `spec.go`).

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use std::time::Duration;

/// A schedule that names a day that never comes is looked for this long
/// (upstream: five years).
const SEARCH_YEARS: i64 = 5;

/// A set of small numbers; the bit above all says that the field was `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    is_any: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & (1 << number) != 0)
    }
}

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// `@every 5m`
    Every(Duration),
    /// At these minutes of these hours of these days.
    At(Box<Times>),
}

/// The five fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => text,
        };
        if let Some(every) = fields.strip_prefix("@every ") {
            return duration(every).map(Self::Every).ok_or_else(|| format!("failed to parse duration {text}"));
        }
        if fields.starts_with('@') {
            return Err(format!("unrecognized descriptor: {text}"));
        }
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        Ok(Self::At(Box::new(Times {
            minute: field(minute, 0, 59, &[])?,
            hour: field(hour, 0, 23, &[])?,
            day: field(day, 1, 31, &[])?,
            month: field(month, 1, 12, MONTHS)?,
            weekday: field(weekday, 0, 6, DAYS)?,
        })))
    }

    /// The first time after `after`; none when the day never comes.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(pause) => Timestamp::from_second(after.as_second()).ok()?.checked_add(*pause).ok(),
            Self::At(times) => times.next(after, zone),
        }
    }
}

impl Times {
    /// Goes forward by the largest step that skips nothing. A time that a change
    /// of clocks leaves out is left out; one that it repeats comes twice.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let limit = after.checked_add(Duration::from_secs(SEARCH_YEARS.unsigned_abs() * 366 * 86_400)).ok()?;
        let whole_minute = after.as_second() - after.as_second().rem_euclid(60);
        let mut time = Timestamp::from_second(whole_minute + 60).ok()?;
        while time <= limit {
            let local = time.to_zoned(zone.clone());
            time = if !self.month.has(local.month()) {
                local.first_of_month().ok()?.checked_add(1.month()).ok()?.start_of_day().ok()?.timestamp()
            } else if !self.is_on(&local) {
                local.tomorrow().ok()?.start_of_day().ok()?.timestamp()
            } else if !self.hour.has(local.hour()) {
                time.checked_add((60 - i64::from(local.minute())).minutes()).ok()?
            } else if !self.minute.has(local.minute()) {
                time.checked_add(1.minute()).ok()?
            } else {
                return Some(time);
            };
        }
        None
    }

    /// With both the day and the weekday given, one of them is enough.
    fn is_on(&self, date: &Zoned) -> bool {
        let (day, weekday) = (self.day.has(date.day()), self.weekday.has(date.weekday().to_sunday_zero_offset()));
        if self.day.is_any || self.weekday.is_any { day && weekday } else { day || weekday }
    }
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Field, String> {
    let mut field = Field { bits: 0, is_any: false };
    for part in text.split(',') {
        let one = range(part, low, high, names)?;
        field.bits |= one.bits;
        field.is_any |= one.is_any;
    }
    Ok(field)
}

/// `*`, `3`, `1-5`, each with an optional `/step`; `3/5` goes on to the end.
fn range(part: &str, low: u32, high: u32, names: &[&str]) -> Result<Field, String> {
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    let number = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = named.and_then(|place| u32::try_from(place).ok()).map(|place| place + low);
        named.or_else(|| text.parse().ok()).ok_or_else(|| format!("failed to parse int from {text}"))
    };
    let is_any = span == "*" || span == "?";
    let (start, end) = match span.split_once('-') {
        _ if is_any => (low, high),
        Some((start, end)) => (number(start)?, number(end)?),
        None if step.is_some() => (number(span)?, high),
        None => (number(span)?, number(span)?),
    };
    let step = step.map_or(Ok(1), number)?;
    if step == 0 || start < low || end > high || start > end {
        return Err(format!("range out of bounds ({low}-{high}): {part}"));
    }
    let bits = (start..=end).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
    Ok(Field { bits, is_any: is_any && step == 1 })
}

/// Go's durations of hours, minutes and seconds, a second at least.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.trim(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let mut letters = after.chars();
        let unit = match letters.next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = letters.as_str();
    }
    Some(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &TimeZone) -> Option<String> {
        let schedule = Schedule::parse(schedule).expect(schedule);
        schedule.next(after.parse().expect("a time"), zone).map(|time| time.to_string())
    }

    #[test]
    fn the_next_time_is_after_now() {
        for (schedule, after, expect) in [
            ("* * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"),
            ("* * * * *", "2024-01-01T00:00:59.5Z", "2024-01-01T00:01:00Z"),
            ("*/15 * * * *", "2024-01-01T00:50:00Z", "2024-01-01T01:00:00Z"),
            ("5/20 * * * *", "2024-01-01T00:05:00Z", "2024-01-01T00:25:00Z"),
            ("30 9-17 * * mon-FRI", "2024-01-05T17:30:00Z", "2024-01-08T09:30:00Z"),
            ("0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * 5", "2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z"), // the 13th or a Friday
            ("0 0 13 * *", "2024-01-01T00:00:00Z", "2024-01-13T00:00:00Z"),
            ("0 0 1 dec ?", "2024-12-01T00:00:00Z", "2025-12-01T00:00:00Z"),
            ("@hourly", "2024-01-01T00:30:00Z", "2024-01-01T01:00:00Z"),
            ("@weekly", "2024-01-01T00:00:00Z", "2024-01-07T00:00:00Z"),
            ("@yearly", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("@every 1h30m", "2024-01-01T00:00:00.7Z", "2024-01-01T01:30:00Z"),
        ] {
            assert_eq!(next(schedule, after, &TimeZone::UTC).as_deref(), Some(expect), "{schedule} after {after}");
        }
        assert_eq!(next("0 0 30 2 *", "2024-01-01T00:00:00Z", &TimeZone::UTC), None);
    }

    #[test]
    fn a_zone_moves_the_hours_and_its_clock_changes_are_kept() {
        // Central Europe's rule, so that the test needs no database of zones.
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        for (schedule, after, expect) in [
            ("0 8 * * *", "2024-01-01T00:00:00Z", "2024-01-01T07:00:00Z"),
            ("0 8 * * *", "2024-07-01T00:00:00Z", "2024-07-01T06:00:00Z"),
            ("30 2 * * *", "2024-03-31T00:00:00Z", "2024-04-01T00:30:00Z"), // there is no 02:30 that day
            ("30 2 * * *", "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"), // there are two
        ] {
            assert_eq!(next(schedule, after, &berlin).as_deref(), Some(expect), "{schedule} after {after}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "@often", "@every 5"]
        {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
    }
}
