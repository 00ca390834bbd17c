//! What a visual tells the person before it: keys, languages, texts with placeholders, and the
//! publisher's own texts in place of ours.

mod language;
mod texts;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::product::{UnknownWord, words};
pub use language::Language;
use std::fmt;
use std::str::FromStr;

/// The longest text, in UTF-16 units as JavaScript counts them.
///
/// Source: `visuals-and-isv.md` section 2.1, `notifyFeatureBlocked`.
pub const MESSAGE_MAX: usize = 500;

words!(
    /// What is to be told; each has a text in every [`Language`].
    MessageKey, "notice" {
        /// A trial that ends on a known day.
        Trial = "trial",
        /// A trial of which no end is known.
        TrialOpen = "trial_open",
        /// Lapsed, and still working until a known day.
        Grace = "grace",
        /// Lapsed, and still working; nobody told until when.
        GraceOpen = "grace_open",
        /// Paid, but ends soon and will not be renewed.
        EndsSoon = "ends_soon",
        /// More users than the license allows; it works all the same.
        OverLimit = "over_limit",
        /// Could not be confirmed lately, and still works.
        Stale = "stale",
        /// The directory no longer shows it, with many others; it works until that is confirmed.
        HeldBack = "held_back",
        /// Bought, but not activated yet.
        Pending = "pending",
        /// Suspended: it can come back.
        Suspended = "suspended",
        /// Over.
        Expired = "expired",
        /// Nothing gives a right.
        Unlicensed = "unlicensed",
        /// All seats of the subscription are taken.
        NoFreeSeat = "no_free_seat",
        /// More users than the license allows, and this one is refused.
        TooManyUsers = "too_many_users",
        /// The license, its licensee or its package was not recognized.
        NotRecognized = "not_recognized",
        /// No right counts where the visual runs.
        HostUnsupported = "host_unsupported",
        /// An administrator has to let us look.
        ConsentNeeded = "consent_needed",
        /// The right could not be checked.
        Unknown = "unknown",
    }
);

words!(
    /// What a text may leave open.
    Placeholder, "placeholder" {
        /// `1 day`, `12 days`: how long is left, in the text's language and in its right number.
        Days = "days",
        /// The day in the text's language, UTC.
        Date = "date",
        /// `1 user`, `50 users`: so many the license allows.
        Max = "max",
        /// What people call the product.
        Product = "product",
    }
);

/// What stands in the place of the placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// Days that are left.
    pub days: i64,
    /// The day it ends.
    pub date: Timestamp,
    /// So many users are allowed.
    pub max: u64,
    /// What people call the product.
    pub product: &'a str,
}

impl MessageKey {
    /// Whether a text of this key can fill the placeholder.
    pub const fn knows(self, placeholder: Placeholder) -> bool {
        match placeholder {
            Placeholder::Days | Placeholder::Date => {
                matches!(self, Self::Trial | Self::Grace | Self::EndsSoon)
            }
            Placeholder::Max => matches!(self, Self::OverLimit),
            Placeholder::Product => true,
        }
    }
}

/// The texts: ours, and the publisher's own in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    own: BTreeMap<(MessageKey, Language), Box<str>>,
}

/// Why a text of the publisher's is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A brace stands alone.
    #[error(
        "a brace opens or closes a placeholder; write {{days}}, {{date}}, {{max}} or {{product}}"
    )]
    Brace,
    /// No such placeholder.
    #[error(transparent)]
    Placeholder(#[from] UnknownWord),
    /// The placeholder has no value in this notice.
    #[error("`{{{placeholder}}}` has no value in a notice `{key}`; leave it out")]
    NoValue {
        /// Which one.
        placeholder: Placeholder,
        /// In which notice.
        key: MessageKey,
    },
    /// It can become too long.
    #[error("it can become {0} characters long; visuals show at most {MESSAGE_MAX}")]
    TooLong(usize),
}

impl Messages {
    /// Takes a text of the publisher's in place of ours, if it can be told for every product with
    /// a name no longer than `longest_product`.
    ///
    /// # Errors
    ///
    /// [`MessageError`].
    pub fn put(
        &mut self,
        key: MessageKey,
        language: Language,
        text: &str,
        longest_product: &str,
    ) -> Result<(), MessageError> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let inside = rest.get(at..).and_then(|it| it.strip_prefix('{'));
            let (name, after) =
                inside.and_then(|it| it.split_once('}')).ok_or(MessageError::Brace)?;
            let placeholder: Placeholder = name.parse()?;
            if !key.knows(placeholder) {
                return Err(MessageError::NoValue { placeholder, key });
            }
            rest = after;
        }
        let longest = longest(text, language, longest_product);
        if longest > MESSAGE_MAX {
            return Err(MessageError::TooLong(longest));
        }
        self.own.insert((key, language), text.into());
        Ok(())
    }

    /// The text of a notice.
    pub fn text(&self, key: MessageKey, language: Language, filling: &Filling<'_>) -> String {
        let own = self.own.get(&(key, language)).map(|it| &**it);
        fill(own.unwrap_or_else(|| texts::ours(key, language)), language, filling)
    }
}

/// How long a text can become.
fn longest(text: &str, language: Language, product: &str) -> usize {
    let day = |month: i8| jiff::civil::date(2028, month, 28).to_zoned(jiff::tz::TimeZone::UTC);
    let dates = (1..=12).filter_map(|month| day(month).ok());
    let length = |date: jiff::Zoned| {
        let filling = Filling { days: 3_660, date: date.timestamp(), max: u64::MAX, product };
        fill(text, language, &filling).encode_utf16().count()
    };
    dates.map(length).max().unwrap_or(0)
}

/// The text with its placeholders filled; what is none stays.
fn fill(text: &str, language: Language, filling: &Filling<'_>) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match name.parse() {
            Ok(Placeholder::Days) => filled.push_str(&language.days(filling.days)),
            Ok(Placeholder::Date) => filled.push_str(&language.date(filling.date)),
            Ok(Placeholder::Max) => filled.push_str(&language.users(filling.max)),
            Ok(Placeholder::Product) => filled.push_str(filling.product),
            Err(_none) => {}
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'static> =
        Filling { days: 1, date: Timestamp::UNIX_EPOCH, max: 1, product: "Synoptic Panel" };

    #[test]
    fn every_notice_has_a_text_of_its_own_in_every_language_that_fits() {
        for language in Language::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for key in MessageKey::ALL {
                let text = texts::ours(*key, *language);
                assert!(seen.insert(text), "{key} {language} is another's");
                let put = Messages::default().put(*key, *language, text, "");
                assert_eq!(put, Ok(()), "{key} {language}");
                for (word, needed) in [
                    ("{days}", key.knows(Placeholder::Days)),
                    ("{date}", key.knows(Placeholder::Date)),
                    ("{max}", key.knows(Placeholder::Max)),
                ] {
                    assert_eq!(text.contains(word), needed, "{key} {language} {word}");
                }
                assert!(!text.contains("{product}"), "{key} {language}: the visual shows its name");
                assert!(text.ends_with(['.', '。']), "{key} {language}");
                let english = texts::ours(*key, Language::English);
                assert!(*language == Language::English || text != english, "{key} {language}");
            }
        }
    }

    #[test]
    fn a_number_and_a_day_are_told_in_the_language() {
        let check = |language: Language, days, text: &str| {
            let date = "2027-01-31T12:00:00Z".parse().unwrap();
            let filling = Filling { days, date, max: 50, ..FILLING };
            assert_eq!(fill("{days}|{date}|{max}", language, &filling), text);
        };
        check(Language::English, 1, "1 day|31 January 2027|50 users");
        check(Language::English, 12, "12 days|31 January 2027|50 users");
        check(Language::German, 1, "1 Tag|31. Januar 2027|50 Personen");
        check(Language::German, 12, "12 Tagen|31. Januar 2027|50 Personen");
        check(Language::French, 1, "1 jour|31 janvier 2027|50 utilisateurs");
        check(Language::French, 12, "12 jours|31 janvier 2027|50 utilisateurs");
        check(Language::Italian, 1, "1 giorno|31 gennaio 2027|50 utenti");
        check(Language::Italian, 12, "12 giorni|31 gennaio 2027|50 utenti");
        check(Language::Spanish, 1, "1 día|31 de enero de 2027|50 usuarios");
        check(Language::Spanish, 12, "12 días|31 de enero de 2027|50 usuarios");
        check(Language::Japanese, 1, "1日|2027年1月31日|50人");
        let first = "2027-05-01T00:00:00Z".parse().unwrap();
        assert_eq!(Language::French.date(first), "1er mai 2027");
        assert_eq!(Language::Italian.date(first), "1º maggio 2027");
        assert_eq!(Language::Japanese.users(1), "1人");
    }

    #[test]
    fn a_text_of_the_publishers_takes_the_place_of_ours() {
        let mut messages = Messages::default();
        let text = "{product}: call us within {days}.";
        assert_eq!(messages.put(MessageKey::Grace, Language::English, text, "x"), Ok(()));
        let told = |key, language| messages.text(key, language, &FILLING);
        assert_eq!(
            told(MessageKey::Grace, Language::English),
            "Synoptic Panel: call us within 1 day."
        );
        assert!(told(MessageKey::Grace, Language::German).contains("in 1 Tag"));
        assert!(told(MessageKey::Trial, Language::English).contains("in 1 day"));
    }

    #[test]
    fn a_text_that_could_not_be_told_is_not_taken() {
        let check = |key, text: &str, product: &str, says: &str| {
            let error = Messages::default().put(key, Language::English, text, product);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        check(MessageKey::Grace, "in {hours}", "", "`hours` is no placeholder");
        check(MessageKey::Expired, "in {days}", "", "`{days}` has no value in a notice `expired`");
        check(MessageKey::Grace, "in {days", "", "a brace");
        check(MessageKey::Grace, "in } days", "", "a brace");
        check(MessageKey::Expired, &"é".repeat(501), "", "501 characters");
        check(MessageKey::Expired, "{product}{product}", &"n".repeat(251), "502 characters");
        let just = "é".repeat(500);
        let put = Messages::default().put(MessageKey::Expired, Language::English, &just, "");
        assert_eq!(put, Ok(()));
    }
}
