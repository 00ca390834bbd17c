//! A share of a whole, such as how much of a tenant may go at once.

use std::fmt;
use std::str::FromStr;

/// Seats of a tenant that may always go at once, however few it has.
///
/// Source: contract section 3, `remove_limit`.
const ALWAYS_REMOVABLE: usize = 5;

/// A share of a whole, above nothing and up to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// In hundredths of a percent: 1 to 10,000.
    per_myriad: u32,
}

impl Share {
    /// A fifth.
    pub const FIFTH: Self = Self { per_myriad: 2_000 };

    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        let wide = |it: usize| u128::try_from(it).unwrap_or(u128::MAX);
        wide(part).saturating_mul(10_000) > wide(whole).saturating_mul(self.per_myriad.into())
    }

    /// Whether the brake holds the loss of so many of so many seats at once, if this is
    /// `[sync.directory] remove_limit`.
    pub fn brakes(self, lost: usize, total: usize) -> bool {
        lost > ALWAYS_REMOVABLE && self.is_exceeded_by(lost, total)
    }

    /// Whether nothing can ever exceed it.
    pub fn is_all(self) -> bool {
        self.per_myriad == 10_000
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.per_myriad) / 100.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        let (digits, scale) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 100.0),
            None => (text, 10_000.0),
        };
        let number: f64 = digits.parse().map_err(|_bad| {
            format!("`{shown}` is no share; write a percentage such as \"20%\", or 0.2")
        })?;
        let scaled = (number * scale).round();
        if !(1.0..=10_000.0).contains(&scaled) {
            return Err(format!(
                "`{shown}` is out of range; it must be from \"0.01%\" to \"100%\""
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 1 to 10,000, as just checked"
        )]
        Ok(Self { per_myriad: scaled as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exceeded_only_by_more() {
        let check = |text: &str, part, whole, exceeded| {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.is_exceeded_by(part, whole), exceeded, "{text} {part}/{whole}");
        };
        check("20%", 20, 100, false);
        check("20%", 21, 100, true);
        check("0.2", 21, 100, true);
        check("12.5 %", 1, 8, false);
        check("100%", 8, 8, false);
        check("100%", usize::MAX, usize::MAX, false);
        for wrong in ["", "%", "0", "0%", "1.5", "101%", "-5%", "NaN", "inf", "a fifth"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        assert_eq!("20%".parse::<Share>().unwrap(), Share::FIFTH);
        assert_eq!(Share::FIFTH.to_string(), "20%");
        assert!(!Share::FIFTH.brakes(5, 5) && Share::FIFTH.brakes(6, 29));
        assert!(!Share::FIFTH.brakes(6, 30));
    }
}
