//! The calendar, in UTC: WASI knows no other zone.

/// A moment's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 1 to 366.
    pub day_of_year: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Days since 1970 of a date (Hinnant's days_from_civil).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since 1970 as parts.
pub fn civil(seconds: i64) -> Civil {
    let (day_number, rest) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let shifted = day_number + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day,
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
        weekday: (day_number + 4).rem_euclid(7),
        day_of_year: day_number - days(year, 1, 1) + 1,
    }
}

/// Seconds since 1970; the parts may be out of range, as in mktime(3).
pub fn seconds(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
    days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
}

/// strftime(3).
pub fn format(format: &str, seconds: i64, nanos: u32) -> String {
    let at = civil(seconds);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("?")
    };
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut pad = '0';
        let mut next = characters.next();
        if let Some(flag @ ('-' | '_')) = next {
            pad = flag;
            next = characters.next();
        }
        let two = |value: i64| match pad {
            '-' => value.to_string(),
            '_' => format!("{value:2}"),
            _ => format!("{value:02}"),
        };
        let text = match next {
            Some('Y') => at.year.to_string(),
            Some('y') => two(at.year.rem_euclid(100)),
            Some('C') => two(at.year / 100),
            Some('m') => two(at.month),
            Some('d') => two(at.day),
            Some('e') => format!("{:2}", at.day),
            Some('H') => two(at.hour),
            Some('I') => two((at.hour + 11) % 12 + 1),
            Some('k') => format!("{:2}", at.hour),
            Some('l') => format!("{:2}", (at.hour + 11) % 12 + 1),
            Some('U') => two((at.day_of_year + 6 - at.weekday) / 7),
            Some('r') => self::format("%I:%M:%S %p", seconds, nanos),
            Some('M') => two(at.minute),
            Some('S') => two(at.second),
            Some('N') => format!("{nanos:09}"),
            Some('j') => format!("{:03}", at.day_of_year),
            Some('a') => name(&DAYS, at.weekday)[..3].to_owned(),
            Some('A') => name(&DAYS, at.weekday).to_owned(),
            Some('b' | 'h') => name(&MONTHS, at.month - 1)[..3].to_owned(),
            Some('B') => name(&MONTHS, at.month - 1).to_owned(),
            Some('p') => (if at.hour < 12 { "AM" } else { "PM" }).to_owned(),
            Some('u') => (if at.weekday == 0 { 7 } else { at.weekday }).to_string(),
            Some('w') => at.weekday.to_string(),
            Some('s') => seconds.to_string(),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('F') => self::format("%Y-%m-%d", seconds, nanos),
            Some('T' | 'X') => self::format("%H:%M:%S", seconds, nanos),
            Some('R') => self::format("%H:%M", seconds, nanos),
            Some('D' | 'x') => self::format("%m/%d/%y", seconds, nanos),
            Some('c') => self::format("%a %b %e %H:%M:%S %Y", seconds, nanos),
            Some('n') => "\n".to_owned(),
            Some('t') => "\t".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        };
        out.push_str(&text);
    }
    out
}

/// `@SECONDS`, `YYYY-MM-DD[ T]hh:mm[:ss][Z]`, `YYYY-MM-DD`, `hh:mm[:ss]` of the day of `now`.
pub fn parse(text: &str, now: i64) -> Option<i64> {
    if text == "now" {
        return Some(now);
    }
    if let Some(number) = text.strip_prefix('@') {
        return number.split('.').next()?.parse().ok();
    }
    let text = text.trim_end_matches('Z');
    // BusyBox's own: `2024.01.02-03:04:05`.
    let dotted = text.split_once('-').filter(|(date, time)| date.matches('.').count() == 2 && time.contains(':'));
    let text = dotted.map_or(text.to_owned(), |(date, time)| format!("{} {time}", date.replace('.', "-")));
    let text = text.as_str();
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, time),
        None if text.contains(':') => ("", text),
        None => (text, ""),
    };
    let numbers = |text: &str, separator: char| -> Option<Vec<i64>> {
        text.split(separator).map(|part| part.split('.').next()?.parse().ok()).collect()
    };
    let today = civil(now);
    let date = if date.is_empty() { vec![today.year, today.month, today.day] } else { numbers(date, '-')? };
    let time = if time.is_empty() { vec![0, 0] } else { numbers(time, ':')? };
    let &[year, month, day] = date.as_slice() else { return None };
    let (&[hour, minute], second) = (time.get(..2)?, time.get(2).copied().unwrap_or(0)) else { return None };
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (0..=9999).contains(&year);
    valid.then(|| seconds(year, month, day, hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_text_are_the_same_time() {
        let text = "%Y-%m-%d %H:%M:%S %a %j";
        assert_eq!(format(text, 0, 0), "1970-01-01 00:00:00 Thu 001");
        assert_eq!(format(text, 1_709_210_096, 0), "2024-02-29 12:34:56 Thu 060");
        assert_eq!(format(text, -1, 0), "1969-12-31 23:59:59 Wed 365");
        assert_eq!(parse("2024-02-29 12:34:56", 0), Some(1_709_210_096));
        assert_eq!(parse("2024-02-29T12:34:56Z", 0), Some(1_709_210_096));
        assert_eq!((parse("@5", 0), parse("01:00", 86400), parse("2024-13-01", 0)), (Some(5), Some(90000), None));
    }
}
