//! Whether two people typed the same licensee.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use icu_normalizer::ComposingNormalizerBorrowed;
use subtle::ConstantTimeEq as _;

/// To whom a license is made out, as it was written: often a company, a name and an address.
///
/// Its `Debug` shows nothing: it is personal data and half of what activates a license.
#[derive(Clone, PartialEq, Eq)]
pub struct Licensee(Box<str>);

/// A licensee cannot be written like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLicensee {
    /// Nothing is left of it when spaces are left out.
    #[error("the licensee is empty")]
    Empty,
    /// Over [`Licensee::BYTES_MAX`].
    #[error("the licensee is longer than {} bytes", Licensee::BYTES_MAX)]
    TooLong,
    /// It holds what cannot be typed.
    #[error("the licensee holds control characters")]
    Control,
}

impl Licensee {
    /// The longest licensee, in bytes.
    pub const BYTES_MAX: usize = 512;

    /// A licensee as it is to be shown: spaces around it are dropped.
    ///
    /// # Errors
    ///
    /// [`InvalidLicensee`].
    pub fn new(text: &str) -> Result<Self, InvalidLicensee> {
        let text = text.trim();
        if text.len() > Self::BYTES_MAX {
            Err(InvalidLicensee::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(InvalidLicensee::Control)
        } else if folded(text).is_empty() {
            Err(InvalidLicensee::Empty)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody typed this licensee: case, spaces and ways to write one character do not
    /// count. Takes as long for a wrong one as for a right one of its length.
    pub fn is(&self, typed: &str) -> bool {
        let hash = |text: &str| digest(&SHA256, folded(text).as_bytes());
        let typed = if typed.len() > 2 * Self::BYTES_MAX { "" } else { typed };
        bool::from(hash(&self.0).as_ref().ct_eq(hash(typed).as_ref()))
    }
}

impl fmt::Debug for Licensee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Licensee(…)")
    }
}

/// Upper case comes first, so that `ß` and `SS` become one.
fn folded(text: &str) -> String {
    let visible = |it: &char| {
        !it.is_whitespace() && !matches!(it, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
    };
    let same_width = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let one_case = same_width.chars().filter(visible).flat_map(char::to_uppercase);
    let one_case: String = one_case.flat_map(char::to_lowercase).collect();
    ComposingNormalizerBorrowed::new_nfkc().normalize(&one_case).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_and_ways_to_write_a_character_do_not_count() {
        let check = |made_out_to: &str, typed: &str, same: bool| {
            let licensee = Licensee::new(made_out_to).unwrap();
            assert_eq!(licensee.is(typed), same, "{made_out_to:?} {typed:?}");
        };
        let ana = "Contoso (ana@contoso.example)";
        check(ana, ana, true);
        check(ana, "  contoso  (ANA@contoso.example) ", true);
        check(ana, "contoso(ana@contoso.example)", true);
        check(ana, "Contoso\u{a0}(ana@contoso.example)\u{200b}", true);
        check(ana, "Contoso (ana@contoso.exampl)", false);
        check(ana, "Contoso ana@contoso.example", false);
        check(ana, "", false);
        check("Müller Straße GmbH", "MÜLLER STRASSE GMBH", true);
        check("Müller", "Mu\u{308}ller", true);
        check("Müller", "Muller", false);
        check("Office AG", "O\u{fb03}ce AG", true);
        check("株式会社データ", "株式会社ﾃﾞｰﾀ", true);
        check("İş", "i\u{307}ş", true);
        check(ana, &"x".repeat(1 << 20), false);
    }

    #[test]
    fn what_cannot_be_typed_is_no_licensee() {
        let check = |text: &str, wrong| assert_eq!(Licensee::new(text), Err(wrong), "{text:?}");
        check(" \u{200b} ", InvalidLicensee::Empty);
        check("a\u{0}b", InvalidLicensee::Control);
        check(&"x".repeat(Licensee::BYTES_MAX + 1), InvalidLicensee::TooLong);
        assert_eq!(format!("{:?}", Licensee::new("Ana").unwrap()), "Licensee(…)");
    }
}
