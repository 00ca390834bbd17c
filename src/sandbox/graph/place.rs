//! Opaque tokens: where a listing or a delta round stands. Bound to tenant and seed, so that a token
//! of another tenant is refused as Microsoft would.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::sandbox::chance::{halves, hash};

/// What a `$skiptoken` or `$deltatoken` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which listing: a token is good for its own only.
    pub(crate) listing: Listing,
    /// Selected properties.
    pub(crate) select: u16,
    /// Changes after this version; `None` lists everything.
    pub(crate) since: Option<u64>,
    /// … and up to this version.
    pub(crate) upto: u64,
    /// Position of the next item.
    pub(crate) at: u64,
    /// Seconds since 1970.
    pub(crate) issued: i64,
    /// The page before was empty.
    pub(crate) after_empty: bool,
    /// Which groups alone, by their number among those asked for so far; 0: all.
    pub(crate) limited: u32,
}

/// The listings that have tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Users,
    UsersDelta,
    GroupsDelta,
    Groups,
    Members,
}

impl Listing {
    const ALL: [Self; 5] =
        [Self::Users, Self::UsersDelta, Self::GroupsDelta, Self::Groups, Self::Members];

    fn letter(self) -> &'static str {
        match self {
            Self::Users => "u",
            Self::UsersDelta => "d",
            Self::GroupsDelta => "e",
            Self::Groups => "g",
            Self::Members => "m",
        }
    }
}

impl Place {
    /// The start of a listing.
    pub(crate) fn start(listing: Listing, select: u16, upto: u64, issued: i64) -> Self {
        let (since, after_empty) = (None, false);
        Self { listing, select, since, upto, at: 0, issued, after_empty, limited: 0 }
    }

    /// The token.
    pub(crate) fn encode(self, seed: u64, tenant: Uuid) -> String {
        let since = self.since.map_or_else(String::new, |since| since.to_string());
        let plain = format!(
            "{}.{}.{since}.{}.{}.{}.{}.{}",
            self.listing.letter(),
            self.select,
            self.upto,
            self.at,
            self.issued,
            u8::from(self.after_empty),
            self.limited
        );
        let sum = plain.bytes().fold(hash(&halves(tenant)), |sum, byte| hash(&[sum, byte.into()]));
        URL_SAFE_NO_PAD.encode(format!("{plain}.{:x}", hash(&[seed, sum])))
    }

    /// Reads a token back; `None` for any that [`Self::encode`] did not make.
    pub(crate) fn decode(token: &str, seed: u64, tenant: Uuid) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut parts = plain.split('.');
        let letter = parts.next()?;
        let listing = Listing::ALL.into_iter().find(|listing| listing.letter() == letter)?;
        let select = parts.next()?.parse().ok()?;
        let since = match parts.next()? {
            "" => None,
            since => Some(since.parse().ok()?),
        };
        let upto = parts.next()?.parse().ok()?;
        let at = parts.next()?.parse().ok()?;
        let issued = parts.next()?.parse().ok()?;
        let after_empty = parts.next()? == "1";
        let limited = parts.next()?.parse().ok()?;
        let place = Self { listing, select, since, upto, at, issued, after_empty, limited };
        (place.encode(seed, tenant) == token).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_tenant_only() {
        let place = Place {
            since: Some(4),
            at: 99,
            after_empty: true,
            ..Place::start(Listing::UsersDelta, 7, 12, 1_700_000_000)
        };
        let token = place.encode(1, Uuid::from_u128(1));
        assert_eq!(Place::decode(&token, 1, Uuid::from_u128(1)), Some(place));
        assert_eq!(Place::decode(&token, 1, Uuid::from_u128(2)), None);
        assert_eq!(Place::decode(&token, 2, Uuid::from_u128(1)), None);
        assert_eq!(Place::decode("latest", 1, Uuid::from_u128(1)), None);
    }
}
