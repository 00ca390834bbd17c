//! Identifiers: parsed once, never mixed up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::{Uuid, uuid};

use super::Quoted;

/// The text is no identifier that anything may be keyed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a usable {what}: {why}")]
pub struct InvalidId {
    /// What was read, as [`Quoted`] shows it.
    pub text: String,
    /// Which identifier it should have been.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl InvalidId {
    pub(super) fn new(text: &str, what: &'static str, why: &'static str) -> Self {
        Self { text: Quoted(text).to_string(), what, why }
    }
}

/// Any 128 bits in hexadecimal are accepted: Microsoft's ids are no RFC 4122 version 4 UUIDs (25
/// of 380 recorded subscription ids have version nibble 4). Shown in lower case.
macro_rules! guid {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these 128 bits.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 128 bits.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, big-endian.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match Uuid::try_parse(text.trim()) {
                    Ok(uuid) if !uuid.is_nil() => Ok(Self(uuid)),
                    Ok(_) => Err(InvalidId::new(text, $what, "it is all zeros")),
                    Err(_) => Err(InvalidId::new(text, $what, "it is no GUID")),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

guid!(
    /// A user's Entra object id. Means a user only together with a [`TenantId`]: a guest has
    /// another one in each tenant.
    UserId, "user object id"
);
guid!(
    /// A group's Entra object id.
    GroupId, "group object id"
);
guid!(
    /// What Microsoft sells as one unit (`subscribedSku.skuId`).
    SkuId, "SKU id"
);
guid!(
    /// One service inside a SKU (`servicePlanInfo.servicePlanId`).
    ServicePlanId, "service plan id"
);
guid!(
    /// A marketplace SaaS subscription.
    SubscriptionId, "subscription id"
);

/// A customer's Entra tenant.
///
/// Invariant: never the nil GUID, nor the tenant that all personal accounts share. A right keyed
/// on either would be everybody's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Uuid);

impl TenantId {
    /// The tenant that every personal Microsoft account belongs to.
    ///
    /// Source: contract section 2, rule 4.
    pub const PERSONAL_ACCOUNTS: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

    /// The tenant with these bits; `None` for the nil GUID and for [`Self::PERSONAL_ACCOUNTS`].
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        (!uuid.is_nil() && uuid != Self::PERSONAL_ACCOUNTS).then_some(Self(uuid))
    }

    /// The 128 bits.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The 16 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Whether the text names the tenant of all personal accounts.
    pub fn is_personal(text: &str) -> bool {
        Uuid::try_parse(text.trim()).is_ok_and(|uuid| uuid == Self::PERSONAL_ACCOUNTS)
    }
}

impl FromStr for TenantId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let what = "tenant id";
        let Ok(uuid) = Uuid::try_parse(text.trim()) else {
            return Err(InvalidId::new(text, what, "it is no GUID"));
        };
        let why = if uuid.is_nil() { "it is all zeros" } else { "all personal accounts share it" };
        Self::from_uuid(uuid).ok_or_else(|| InvalidId::new(text, what, why))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

/// A product's id as the publisher chose it, such as `synoptic-panel`.
///
/// Invariant: 1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProductId(Arc<str>);

impl ProductId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProductId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        match text.len() {
            1..=64 if text.chars().all(ok) => Ok(Self(text.into())),
            1..=64 => Err(InvalidId::new(text, "product id", "only a-z, 0-9, `-`, `_`, `.`")),
            _ => Err(InvalidId::new(text, "product id", "it must have 1 to 64 characters")),
        }
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Microsoft's name of one sellable plan: `publisher.offer.plan`, in lower case.
///
/// Invariant: three parts that are not empty. A plan id holds no dots, so the text is split at
/// the last one; what is between the first and the last is the offer.
///
/// Source: Partner Center, "Service ID"; `visuals-and-isv.md` section 2.3.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceId {
    text: Arc<str>,
    offer: u16,
    plan: u16,
}

impl ServiceId {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The publisher's part.
    pub fn publisher(&self) -> &str {
        self.text.get(..usize::from(self.offer).saturating_sub(1)).unwrap_or_default()
    }

    /// The offer's part.
    pub fn offer(&self) -> &str {
        let (from, to) = (usize::from(self.offer), usize::from(self.plan).saturating_sub(1));
        self.text.get(from..to).unwrap_or_default()
    }

    /// The plan's part: the last one.
    pub fn plan(&self) -> &str {
        self.text.get(usize::from(self.plan)..).unwrap_or_default()
    }

    /// Whether a text of Microsoft's (a service plan name, a `serviceIdentifier`) is this Service
    /// ID, whatever its case.
    pub fn matches(&self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text.trim())
    }
}

impl FromStr for ServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = |why| InvalidId::new(text, "Service ID", why);
        let lower = text.trim().to_ascii_lowercase();
        let three = "it must be publisher.offer.plan";
        let first = lower.find('.').ok_or_else(|| wrong(three))?;
        let last = lower.rfind('.').ok_or_else(|| wrong(three))?;
        if first == 0 || last <= first.saturating_add(1) || last.saturating_add(1) == lower.len() {
            return Err(wrong(three));
        }
        let at =
            |i: usize| u16::try_from(i.saturating_add(1)).map_err(|_long| wrong("it is too long"));
        Ok(Self { offer: at(first)?, plan: at(last)?, text: lower.into() })
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One execution of one sync source for one scope. Counts up through restarts; shown as `r17`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.trim().trim_start_matches(['r', 'R']);
        digits.parse().map(Self).map_err(|_bad| InvalidId::new(text, "run id", "it looks like r17"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_id_splits_at_its_first_and_last_dot() {
        let id: ServiceId = "VizMaker.viz.suite.Team".parse().unwrap();
        assert_eq!((id.publisher(), id.offer(), id.plan()), ("vizmaker", "viz.suite", "team"));
        assert!(id.matches(" vizmaker.VIZ.suite.team"));
        for wrong in ["", "a", "a.b", ".b.c", "a..c", "a.b.", "..", "a."] {
            assert!(wrong.parse::<ServiceId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_keyed_on_everybodys_tenant() {
        assert!("9188040D-6C67-4C5B-B112-36A304B66DAD".parse::<TenantId>().is_err());
        assert!("00000000-0000-0000-0000-000000000000".parse::<TenantId>().is_err());
        assert!(TenantId::is_personal("9188040D-6C67-4C5B-B112-36A304B66DAD"));
    }

    #[test]
    fn guids_need_not_be_version_4() {
        let id: SubscriptionId = "17ADB6D2-4289-581C-2CB7-DB784599A7BD".parse().unwrap();
        assert_eq!(id.to_string(), "17adb6d2-4289-581c-2cb7-db784599a7bd");
    }
}
