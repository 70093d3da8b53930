//! Amounts of resources (`100m`, `1.5Gi`): reading them and writing them in the
//! one canonical form. Used by the decoder, by validation and by whoever
//! computes with amounts. Follows upstream's `resource.Quantity`.

use std::fmt;

/// How the suffix of an amount is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `k`, `M`, `G`
    Decimal,
    /// `Ki`, `Mi`, `Gi`
    Binary,
    /// `e3`, `e6`
    Exponent,
}

/// An amount, exact to one billionth.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    style: Style,
}

/// Why a text is no amount. The texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Something is where nothing may be.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// No digits.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// Letters that are no unit.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS_PER_UNIT: i128 = 1_000_000_000;
/// Greater amounts in binary units count as this one.
const BINARY_NANOS_MAX: i128 = i64::MAX as i128 * NANOS_PER_UNIT;
/// Greater amounts in decimal units count as this one; upstream has no bound.
const DECIMAL_NANOS_MAX: i128 = 10i128.pow(37);

/// The parts of a text: sign, digits before and after the point, suffix.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, QuantityError> {
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = leading(rest, |byte| byte.is_ascii_digit());
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => leading(rest, |byte| byte.is_ascii_digit()),
            None => ("", rest),
        };
        let (_, exponent) = leading(suffix, |byte| b"eEinumkKMGTP".contains(&byte));
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if text.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole, fraction, suffix })
    }
}

fn leading(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len()))
}

/// The style of a suffix, and its factor as `base` to the power of `exponent`.
fn suffix_factor(suffix: &str) -> Result<(Style, i128, i32), QuantityError> {
    let decimal = |exponent| Ok((Style::Decimal, 10, exponent));
    let binary = |exponent| Ok((Style::Binary, 1024, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse::<i32>().ok());
            exponent.map(|exponent| (Style::Exponent, 10, exponent)).ok_or(QuantityError::Suffix)
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let parts = Parts::of(text)?;
        let (style, base, exponent) = suffix_factor(parts.suffix)?;
        if parts.whole.is_empty() && parts.fraction.is_empty() {
            return Err(QuantityError::Number);
        }
        let most = if style == Style::Binary { BINARY_NANOS_MAX } else { DECIMAL_NANOS_MAX };
        let magnitude = nanos(&parts, base, exponent).map_or(most, |nanos| nanos.min(most));
        let nanos = if parts.negative { -magnitude } else { magnitude };
        Ok(Self { nanos, style })
    }
}

/// Digits that can matter: more lie beyond the greatest amount or below a nano.
const DIGITS_MAX: usize = 60;

/// The magnitude in billionths, rounded up; `None` when it is too great.
fn nanos(parts: &Parts<'_>, base: i128, exponent: i32) -> Option<i128> {
    let whole = parts.whole.trim_start_matches('0');
    let fraction = parts.fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Some(0);
    }
    if base == 1024 {
        return binary_nanos(whole, fraction, u32::try_from(exponent).ok()?);
    }
    // value = digits * 10^shift billionths
    let shift = i64::from(exponent) + 9 - i64::try_from(fraction.len()).ok()?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let length = i64::try_from(digits.len()).ok()?;
    if length + shift > 37 {
        return None;
    }
    if length + shift <= 0 {
        return Some(1); // something, however little
    }
    if shift >= 0 {
        let value: i128 = digits.parse().ok()?;
        return value.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?);
    }
    let (kept, dropped) = digits.split_at(usize::try_from(length + shift).ok()?);
    let value: i128 = kept.parse().ok()?;
    Some(value + i128::from(dropped.bytes().any(|digit| digit != b'0')))
}

fn binary_nanos(whole: &str, fraction: &str, exponent: u32) -> Option<i128> {
    if whole.len() > 19 || fraction.len() > DIGITS_MAX {
        return None;
    }
    let factor = 1024i128.checked_pow(exponent)?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Nine digits of a fraction of 2^60 are exact enough: the rest rounds up.
    let (kept, dropped) = fraction.split_at(fraction.len().min(9));
    let kept: i128 = format!("{kept:0<9}").parse().ok()?;
    let rest = i128::from(!dropped.is_empty());
    whole.checked_mul(factor)?.checked_mul(NANOS_PER_UNIT)?.checked_add(kept.checked_mul(factor)? + rest)
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, style: Style::Decimal };

    /// So many whole units.
    pub fn whole(units: u32) -> Self {
        Self { nanos: i128::from(units) * NANOS_PER_UNIT, style: Style::Decimal }
    }

    /// The sum, written as the first of the two that is anything.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let style = if self.nanos == 0 { other.style } else { self.style };
        Self { nanos: self.nanos.saturating_add(other.nanos), style }
    }

    /// The difference, written likewise.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, ..other })
    }

    /// The amount in billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// The amount in thousandths, rounded up.
    pub fn millis(&self) -> i128 {
        ceil_div(self.nanos, 1_000_000)
    }

    /// The amount in whole units, rounded up.
    pub fn units(&self) -> i128 {
        ceil_div(self.nanos, NANOS_PER_UNIT)
    }

    fn style(&self) -> Style {
        let small = self.nanos.abs() < 1024 * NANOS_PER_UNIT;
        if self.style == Style::Binary && small { Style::Decimal } else { self.style }
    }
}

/// Division that rounds away from zero.
fn ceil_div(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    if value % divisor == 0 { quotient } else { quotient + value.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, the greatest suffix that allows it.
impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return formatter.write_str("0");
        }
        let binary = self.style() == Style::Binary;
        let (mut number, step) = if binary { (self.units(), 1024) } else { (self.nanos, 1000) };
        let mut index = 0;
        let last = if binary { 6 } else { 9 };
        while index < last && number % step == 0 {
            number /= step;
            index += 1;
        }
        let exponent = 3 * i32::try_from(index).unwrap_or_default() - 9;
        match self.style() {
            Style::Binary => write!(formatter, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][index]),
            Style::Decimal => {
                write!(formatter, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index])
            }
            Style::Exponent if exponent == 0 => write!(formatter, "{number}"),
            Style::Exponent => write!(formatter, "{number}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn amounts_have_one_form() {
        let cases = [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("512", "512"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("1000e3", "1e6"),
            ("12E", "12E"),
            ("1Ei", "1Ei"),
            ("100000k", "100M"),
            ("-1.5", "-1500m"),
            ("0.0000000001", "1n"),
            ("1024", "1024"),
            (".5", "500m"),
            ("10Ei", "9223372036854775807"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_in_upstreams_words() {
        for text in ["10 apples", "1Kb", "", "1.2.3"] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::Format), "{text}");
        }
        assert_eq!("1K".parse::<Quantity>(), Err(QuantityError::Suffix));
        assert_eq!("Mi".parse::<Quantity>(), Err(QuantityError::Number));
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_form_is_the_same_amount(nanos in proptest::num::i64::ANY, suffix in "|n|u|m|k|M|Ki|Mi|Gi|e3") {
            let quantity: Quantity = format!("{nanos}{suffix}").parse().unwrap();
            let again: Quantity = quantity.to_string().parse().unwrap();
            proptest::prop_assert_eq!(quantity, again);
            proptest::prop_assert_eq!(quantity.to_string(), again.to_string());
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
