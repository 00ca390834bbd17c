//! Which events an endpoint wants: types, and groups of them.

use std::fmt;
use std::str::FromStr;

use super::NoticeKind;
use crate::domain::UnknownWord;

/// Which events an endpoint wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeWish {
    /// This one.
    One(NoticeKind),
    /// All whose word begins like this, up to the dot.
    Group(&'static str),
}

impl NoticeWish {
    /// Every group: whoever wants all of them also gets what later versions tell.
    pub fn everything() -> Vec<Self> {
        let mut groups: Vec<Self> =
            NoticeKind::ALL.iter().map(|it| Self::Group(group_of(*it))).collect();
        groups.dedup();
        groups
    }

    /// Whether this event is wanted.
    pub fn wants(self, kind: NoticeKind) -> bool {
        match self {
            Self::One(it) => it == kind,
            Self::Group(it) => group_of(kind) == it,
        }
    }
}

fn group_of(kind: NoticeKind) -> &'static str {
    kind.as_str().split_once('.').map_or(kind.as_str(), |(group, _)| group)
}

impl fmt::Display for NoticeWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(it) => it.fmt(f),
            Self::Group(it) => write!(f, "{it}.*"),
        }
    }
}

impl FromStr for NoticeWish {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let group = text.strip_suffix(".*").and_then(|wanted| {
            NoticeKind::ALL.iter().map(|it| group_of(*it)).find(|it| *it == wanted)
        });
        group.map_or_else(|| text.parse().map(Self::One), |it| Ok(Self::Group(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_type_or_a_group_of_them() {
        let wish = |text: &str| text.parse::<NoticeWish>();
        assert!(wish("subscription.*").unwrap().wants(NoticeKind::SubscriptionRenewed));
        assert!(!wish("subscription.*").unwrap().wants(NoticeKind::SyncFailing));
        assert!(wish("license.*").unwrap().wants(NoticeKind::LicenseOverLimit));
        assert!(wish("sync.failing").unwrap().wants(NoticeKind::SyncFailing));
        assert!(!wish("sync.failing").unwrap().wants(NoticeKind::SyncRecovered));
        assert!(wish("licence.*").is_err() && wish("*").is_err() && wish("test").is_err());
        for kind in NoticeKind::ALL {
            assert_eq!(wish(kind.as_str()).unwrap().to_string(), kind.as_str());
        }
    }
}
