//! What of a text that somebody sent may be repeated to him, or to the log.

use std::fmt;

/// The longest text that is repeated, in characters: longer than any id of ours or of Microsoft's.
const LONGEST: usize = 80;

/// Parts of a token are at least as long: a name such as `publisher.offer.plan` has shorter ones.
const PART_OF_TOKEN: usize = 16;

/// A foreign text in an error: itself if it can hold nothing private, else only how long it is.
///
/// People send e-mail addresses, tokens and keys where ids belong. So a text is repeated only if it
/// looks like an id or a word: short, of letters, digits and `._:-`, and neither a token nor a key.
///
/// Source: contract section 6, promise 6.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    /// Whether it is repeated.
    pub fn is_harmless(&self) -> bool {
        let text = self.0;
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"._:-".contains(&it);
        let begins =
            |with: &str| text.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with));
        // `eyJ` is how a JSON object begins in base64url.
        let secret = begins("ent_") || begins("EK1") || text.starts_with("eyJ");
        let parts = || text.split('.');
        let token = parts().count() >= 3 && parts().all(|it| it.len() >= PART_OF_TOKEN);
        (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) && !secret && !token
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_harmless() {
            return write!(f, "`{}`", self.0);
        }
        match self.0.chars().count() {
            0 => f.write_str("an empty text"),
            1 => f.write_str("a text of 1 character"),
            count => write!(f, "a text of {count} characters"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_id_or_a_word_is_repeated() {
        let long = "x".repeat(80);
        for harmless in [
            "x",
            "synoptic-panel",
            "r17",
            "vizmaker.synoptic.team",
            "9188040d-6c67-4c5b-b112-36a304b66dad",
            "L-7Q2M-4XKD-9B0C",
            "2026-11-01T08:00:00Z",
            "entitled",
            &long,
        ] {
            assert_eq!(Quoted(harmless).to_string(), format!("`{harmless}`"));
        }
        let part = "a".repeat(PART_OF_TOKEN);
        for private in [
            "ana@customer.example",
            "Ana Lima",
            "ana%40customer.example",
            "eyJhbGciOiJub25lIn0",
            "ent_c2hvcC1zaG9wLXNob3A",
            "ENT_c2hvcC1zaG9wLXNob3A",
            "EK1-7Q2M-4XKD",
            "ek17Q2M4XKD",
            &format!("{part}.{part}.{part}"),
            &"x".repeat(81),
            "line\nbreak",
        ] {
            let count = private.chars().count();
            assert_eq!(Quoted(private).to_string(), format!("a text of {count} characters"));
        }
        assert_eq!(Quoted("").to_string(), "an empty text");
        assert_eq!(Quoted("é").to_string(), "a text of 1 character");
    }
}
