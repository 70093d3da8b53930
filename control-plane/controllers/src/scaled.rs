//! Counts that may be given as percentages (upstream:
//! `intstr.GetScaledValueFromIntOrPercent`). Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The count, or the percentage of `of` rounded up.
pub fn round_up(value: &IntOrString, of: i32) -> i32 {
    scaled(value, of, 99)
}

/// The count, or the percentage of `of` rounded down.
pub fn round_down(value: &IntOrString, of: i32) -> i32 {
    scaled(value, of, 0)
}

fn scaled(value: &IntOrString, of: i32, extra_hundredths: i64) -> i32 {
    match value {
        IntOrString::Int(count) => (*count).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            let hundredths = percent.max(0).saturating_mul(i64::from(of)).saturating_add(extra_hundredths);
            i32::try_from(hundredths / 100).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        for (value, of, up, down) in [
            (percent("25%"), 3, 1, 0),
            (percent("50%"), 4, 2, 2),
            (percent("100%"), 7, 7, 7),
            (IntOrString::Int(2), 9, 2, 2),
            (IntOrString::Int(-2), 9, 0, 0),
        ] {
            assert_eq!((round_up(&value, of), round_down(&value, of)), (up, down), "{value:?} of {of}");
        }
    }
}
