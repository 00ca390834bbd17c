//! The token a buyer brings to the landing page.

use std::fmt;

/// What proves a purchase for 24 hours; opaque, and never logged: it has no `Display`, and `Debug`
/// does not show it.
///
/// Invariant: 1 to 4,096 visible ASCII characters, so that it fits into a header.
///
/// Source: `marketplace-saas.md` section 4.
#[derive(Clone, PartialEq, Eq)]
pub struct PurchaseToken(String);

impl PurchaseToken {
    /// As long as it may be; about 216 characters were seen.
    const CHARS_MAX: usize = 4_096;

    /// The token in the query of the landing page's address, decoded exactly once: `+` stays `+`,
    /// for frameworks that make a space of it break tokens. `None` when there is none that could
    /// be one.
    pub fn from_query(query: &str) -> Option<Self> {
        let value = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
        Self::new(decoded(value)?)
    }

    /// A token that is decoded already.
    pub fn new(text: String) -> Option<Self> {
        let fits = (1..=Self::CHARS_MAX).contains(&text.len());
        (fits && text.bytes().all(|it| it.is_ascii_graphic())).then_some(Self(text))
    }

    /// The token, to be sent to Microsoft and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PurchaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurchaseToken(…)")
    }
}

/// Percent-decodes once; `None` for what is no encoding of ASCII text.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut out) = (text.bytes(), String::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? << 4 | digit()?).ok()?
        } else {
            byte
        };
        out.push(byte.is_ascii().then(|| char::from(byte))?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_decoded_exactly_once() {
        let check = |query: &str, token: Option<&str>| {
            let got = PurchaseToken::from_query(query);
            assert_eq!(got.as_ref().map(PurchaseToken::expose), token, "{query}");
        };
        check("token=ab%2Bcd%2fef%3D%3D", Some("ab+cd/ef=="));
        check("lang=de&token=ab+cd/ef==&x=1", Some("ab+cd/ef=="));
        check("token=ab%252Bcd", Some("ab%2Bcd"));
        check("token=", None);
        check("", None);
        check("tokens=ab", None);
        check("token=ab%2", None);
        check("token=ab%zz", None);
        check("token=a%20b", None);
        check("token=a%0d%0ab", None);
        check("token=%c3%a4", None);
        check(&format!("token={}", "a".repeat(4_096)), Some(&"a".repeat(4_096)));
        check(&format!("token={}", "a".repeat(4_097)), None);
    }

    #[test]
    fn the_token_is_not_shown() {
        let token = PurchaseToken::from_query("token=secret").unwrap();
        assert_eq!(format!("{token:?}"), "PurchaseToken(…)");
    }
}
