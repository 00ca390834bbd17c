//! Whether two people typed the same licensee.

use aws_lc_rs::digest::{SHA256, digest};
use icu_normalizer::ComposingNormalizerBorrowed;
use subtle::ConstantTimeEq as _;

/// Longer texts are no licensee, in bytes.
const TYPED_MAX: usize = 2_048;

/// Whether somebody typed this licensee: case, spaces and ways to write one character do not
/// count. Takes as long for a wrong one as for a right one of its length, and an empty one is
/// never right.
pub fn same_licensee(made_out_to: &str, typed: &str) -> bool {
    let typed = if typed.len() > TYPED_MAX { "" } else { typed };
    let (right, typed) = (folded(made_out_to), folded(typed));
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    bool::from(hash(&right).as_ref().ct_eq(hash(&typed).as_ref())) && !typed.is_empty()
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
            assert_eq!(same_licensee(made_out_to, typed), same, "{made_out_to:?} {typed:?}");
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
        check(" ", " ", false);
    }
}
