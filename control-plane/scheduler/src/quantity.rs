//! Resource quantities as whole numbers. Pure
//! (upstream: `k8s.io/apimachinery/pkg/api/resource`).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths, rounded up; nothing for text that is no quantity.
pub fn milli(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1000).unwrap_or_default()
}

/// In units, rounded up; nothing for text that is no quantity.
pub fn units(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1).unwrap_or_default()
}

/// What a suffix multiplies by: a numerator and a denominator.
fn suffix(text: &str) -> Option<(i128, i128)> {
    let decimal = |exponent| Some((10_i128.pow(exponent), 1));
    match text {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((1 << 10, 1)),
        "Mi" => Some((1 << 20, 1)),
        "Gi" => Some((1 << 30, 1)),
        "Ti" => Some((1 << 40, 1)),
        "Pi" => Some((1 << 50, 1)),
        "Ei" => Some((1 << 60, 1)),
        _ => exponent(text),
    }
}

fn exponent(text: &str) -> Option<(i128, i128)> {
    let power: i32 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, factor) } else { (factor, 1) })
}

/// `text` times `factor`, rounded up and held within an `i64`.
fn scaled(text: &str, factor: i128) -> Option<i64> {
    let digits_end = text.find(|letter: char| !matches!(letter, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix_text) = text.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.get(..fraction.len().min(9))?; // nothing is finer than nano
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = suffix(suffix_text)?;
    let denominator = denominator.checked_mul(10_i128.pow(u32::try_from(fraction.len()).ok()?))?;
    let product = mantissa.checked_mul(numerator)?.checked_mul(factor)?;
    let rounded_up = product.div_euclid(denominator) + i128::from(product.rem_euclid(denominator) != 0);
    Some(i64::try_from(rounded_up).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_fractions_and_exponents() {
        let milli = |text: &str| milli(&Quantity(text.to_owned()));
        let units = |text: &str| units(&Quantity(text.to_owned()));
        assert_eq!((milli("100m"), milli("1.5"), milli("2"), milli("1u")), (100, 1500, 2000, 1));
        assert_eq!(
            (units("64Mi"), units("1.5Gi"), units("1e3"), units("128974848000m")),
            (67108864, 1610612736, 1000, 128974848)
        );
        assert_eq!((units("9999999E"), units("x"), units("")), (i64::MAX, 0, 0));
    }
}
