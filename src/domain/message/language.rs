//! The languages of notices: which one is meant, and how numbers and days read in it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::product::{UnknownWord, words};

words!(
    /// A language that notices are told in, by its code (ISO 639-1).
    Language, "language" {
        /// English: what is told when no other is asked for.
        English = "en",
        /// German.
        German = "de",
        /// French.
        French = "fr",
        /// Italian.
        Italian = "it",
        /// Spanish.
        Spanish = "es",
        /// Japanese.
        Japanese = "ja",
    }
);

/// So many tags of an `Accept-Language` are looked at.
const TAGS_MAX: usize = 16;

/// The names of the months; Japanese has none, and counts.
const MONTHS: [(Language, [&str; 12]); 5] = [
    (
        Language::English,
        [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
    ),
    (
        Language::German,
        [
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ],
    ),
    (
        Language::French,
        [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ],
    ),
    (
        Language::Italian,
        [
            "gennaio",
            "febbraio",
            "marzo",
            "aprile",
            "maggio",
            "giugno",
            "luglio",
            "agosto",
            "settembre",
            "ottobre",
            "novembre",
            "dicembre",
        ],
    ),
    (
        Language::Spanish,
        [
            "enero",
            "febrero",
            "marzo",
            "abril",
            "mayo",
            "junio",
            "julio",
            "agosto",
            "septiembre",
            "octubre",
            "noviembre",
            "diciembre",
        ],
    ),
];

impl Language {
    /// The language of a locale such as `de`, `de-AT` or `ja_JP`; `None` if notices know it not.
    ///
    /// Source: BCP 47, section 2.1: the first subtag is the language, whatever its case.
    pub fn of_locale(locale: &str) -> Option<Self> {
        let first = locale.trim().split(['-', '_']).next()?;
        Self::ALL.iter().copied().find(|it| it.as_str().eq_ignore_ascii_case(first))
    }

    /// The language that an `Accept-Language` likes best of those we know.
    ///
    /// Source: RFC 9110, section 12.5.4: the higher `q` first, `q=0` never; without one it is 1.
    pub fn accepted(header: &str) -> Option<Self> {
        let weighed = |tag: &str| {
            let (locale, weight) = tag.split_once(';').unwrap_or((tag, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            Some((Self::of_locale(locale)?, weight)).filter(|(_, weight)| *weight > 0.0)
        };
        let mut best: Option<(Self, f32)> = None;
        for (language, weight) in header.split(',').take(TAGS_MAX).filter_map(weighed) {
            if best.is_none_or(|(_, most)| weight > most) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }

    /// So many days, as they read after `in`, `dans`, `tra`, `dentro de` and `あと`.
    pub(super) fn days(self, days: i64) -> String {
        let one = days == 1;
        match self {
            Self::English => format!("{days} {}", if one { "day" } else { "days" }),
            Self::German => format!("{days} {}", if one { "Tag" } else { "Tagen" }),
            Self::French => format!("{days} {}", if days < 2 { "jour" } else { "jours" }),
            Self::Italian => format!("{days} {}", if one { "giorno" } else { "giorni" }),
            Self::Spanish => format!("{days} {}", if one { "día" } else { "días" }),
            Self::Japanese => format!("{days}日"),
        }
    }

    /// So many users.
    pub(super) fn users(self, users: u64) -> String {
        let one = users == 1;
        match self {
            Self::English => format!("{users} {}", if one { "user" } else { "users" }),
            Self::German => format!("{users} {}", if one { "Person" } else { "Personen" }),
            Self::French => {
                format!("{users} {}", if users < 2 { "utilisateur" } else { "utilisateurs" })
            }
            Self::Italian => format!("{users} {}", if one { "utente" } else { "utenti" }),
            Self::Spanish => format!("{users} {}", if one { "usuario" } else { "usuarios" }),
            Self::Japanese => format!("{users}人"),
        }
    }

    /// A day, in UTC.
    pub(super) fn date(self, at: Timestamp) -> String {
        let date = at.to_zoned(TimeZone::UTC).date();
        let (year, month, day) = (date.year(), date.month(), date.day());
        let name = self.month(month);
        match (self, day) {
            (Self::English, _) => format!("{day} {name} {year}"),
            (Self::German, _) => format!("{day}. {name} {year}"),
            (Self::French, 1) => format!("1er {name} {year}"),
            (Self::Italian, 1) => format!("1º {name} {year}"),
            (Self::French | Self::Italian, _) => format!("{day} {name} {year}"),
            (Self::Spanish, _) => format!("{day} de {name} de {year}"),
            (Self::Japanese, _) => format!("{year}年{month}月{day}日"),
        }
    }

    /// The name of a month; nothing where months are counted.
    fn month(self, month: i8) -> &'static str {
        let names = MONTHS.iter().find(|(language, _)| *language == self);
        let at = usize::try_from(month).ok().and_then(|it| it.checked_sub(1));
        names.zip(at).and_then(|((_, names), at)| names.get(at).copied()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_a_language_and_whatever_follows() {
        let check = |locale: &str, language| {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        };
        check("de", Some(Language::German));
        check("de-AT", Some(Language::German));
        check("JA_jp", Some(Language::Japanese));
        check(" fr-CA-x-y ", Some(Language::French));
        check("den", None);
        check("pt-BR", None);
        check("", None);
        check("-", None);
    }

    #[test]
    fn the_language_that_is_liked_best_is_told() {
        let check = |header: &str, language| {
            assert_eq!(Language::accepted(header), language, "{header}");
        };
        check("pt-BR, es;q=0.4, it-IT;q=0.8, en;q=0.3", Some(Language::Italian));
        check("fr, de", Some(Language::French));
        check("de;q=0, en;q=0.1", Some(Language::English));
        check("*", None);
        check("de;q=x", None);
        check("", None);
        check("de;q=NaN", None);
    }
}
