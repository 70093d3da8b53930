//! Amounts such as `250m`, `64Mi` and `1e3`, read exactly in thousandths.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount that is not negative, in thousandths, rounded up as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    thousandths: u128,
}

impl Amount {
    /// In thousandths.
    pub fn millis(self) -> u64 {
        u64::try_from(self.thousandths).unwrap_or(u64::MAX)
    }

    /// In wholes, rounded up.
    pub fn whole(self) -> u64 {
        self.divided_by(1)
    }

    /// In units of `divisor` wholes, rounded up.
    pub fn divided_by(self, divisor: u64) -> u64 {
        let divisor = u128::from(divisor.max(1)) * 1_000;
        u64::try_from(self.thousandths.div_ceil(divisor)).unwrap_or(u64::MAX)
    }

    /// In units of `divisor`, rounded up.
    pub fn in_units_of(self, divisor: Self) -> u64 {
        u64::try_from(self.thousandths.div_ceil(divisor.thousandths.max(1))).unwrap_or(u64::MAX)
    }
}

/// Reads a quantity; `None` when it is none, negative, or absurdly big.
pub fn parse(quantity: &Quantity) -> Option<Amount> {
    let text = quantity.0.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator) = multiplier(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let thousandths = digits.checked_mul(1_000)?.checked_mul(numerator)?;
    Some(Amount { thousandths: thousandths.div_ceil(scale.checked_mul(denominator)?) })
}

/// A number of wholes as upstream writes it: with the greatest suffix that leaves
/// a whole number.
pub fn canonical(value: u64, binary: bool) -> String {
    let (base, suffixes) = if binary {
        (1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
    } else {
        (1000, ["", "k", "M", "G", "T", "P", "E"])
    };
    let (mut value, mut index) = (value, 0);
    while value > 0 && value.is_multiple_of(base) && index + 1 < suffixes.len() {
        (value, index) = (value / base, index + 1);
    }
    format!("{value}{}", suffixes[index])
}

fn multiplier(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1_u128 << (10 * power), 1));
    let decimal = |power: u32| Some((1_000_u128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_u128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, size) } else { (size, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_short_as_they_are_exact() {
        let both = |value| [canonical(value, true), canonical(value, false)];
        assert_eq!(both(3 << 20), ["3Mi", "3145728"]);
        assert_eq!(both(1_500_000), ["1500000", "1500k"]);
        assert_eq!(both(0), ["0", "0"]);
    }

    #[test]
    fn suffixes_are_read() {
        let millis = |text: &str| parse(&Quantity(text.to_owned())).map(Amount::millis);
        assert_eq!(
            [millis("250m"), millis("1"), millis("1.5"), millis("0.1")].map(Option::unwrap),
            [250, 1_000, 1_500, 100]
        );
        let whole = |text: &str| parse(&Quantity(text.to_owned())).map(Amount::whole);
        assert_eq!(
            [whole("64Mi"), whole("1G"), whole("2e3"), whole("100m")].map(Option::unwrap),
            [64 << 20, 1_000_000_000, 2_000, 1]
        );
        for bad in ["", "Mi", "-1", "1x", "1e99", "999999999999999999999999999999Ei"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
