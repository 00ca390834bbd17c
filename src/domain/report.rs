//! What publishers are told of licences in customers' tenants in figures, never by user: Partner
//! Center's licence report, and deals that were entered by hand. Neither gives nor takes a right.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::product::words;
use super::{Cause, Change, Entity, Fact, InvalidId, ServiceId, TenantId, UnknownWord};

words!(
    /// How a line of the licence report came here.
    ReportOrigin, "report origin" {
        /// By hand, as the License dashboard's CSV.
        Import = "import",
        /// From Partner Center's analytics API.
        Api = "api",
    }
);

/// One line of the licence report: a plan that a tenant has, in figures.
///
/// There is one for each tenant, Service ID and SKU name. Data is up to 48 hours older than the
/// report.
///
/// Source: `visuals-and-isv.md` section 4.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedLicence {
    /// The customer's tenant.
    pub tenant: TenantId,
    /// The plan's Service ID in lower case, as it was reported: it may be none of ours.
    pub service_id: Arc<str>,
    /// The plan's name; may be empty.
    pub sku_name: Arc<str>,
    /// How many licences were activated in the tenant; `None` when masked or not told.
    pub provisioned: Option<u64>,
    /// How many of them are assigned to users; `None` as above.
    pub assigned: Option<u64>,
    /// Microsoft's word for the licence's state; the list of words is not documented.
    pub state: Option<Arc<str>>,
    /// When the licences were activated.
    pub activated: Option<Date>,
    /// The offer's title.
    pub product: Option<Arc<str>>,
    /// When the report was made that says so.
    pub reported_at: Timestamp,
    /// How that report came here.
    pub origin: ReportOrigin,
}

impl ReportedLicence {
    /// What tells it from the tenant's other lines.
    pub fn key(&self) -> (&str, &str) {
        (&self.service_id, &self.sku_name)
    }

    /// Whether both say the same of the licence, whichever reports they stand in.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let of = |it: &Self| Self {
            reported_at: Timestamp::UNIX_EPOCH,
            origin: ReportOrigin::Import,
            ..it.clone()
        };
        of(self) == of(other)
    }

    /// What it says, in words for the journal.
    fn in_words(&self) -> Arc<str> {
        let count = |it: Option<u64>| it.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        let state = self.state.as_deref().map(|it| format!(", {it}")).unwrap_or_default();
        let activated = self.activated.map(|it| format!(", activated {it}")).unwrap_or_default();
        format!(
            "{} provisioned, {} assigned{state}{activated} ({})",
            count(self.provisioned),
            count(self.assigned),
            self.origin
        )
        .into()
    }

    /// A line that is new, differs or is gone; nothing when both are absent.
    pub fn change(
        at: Timestamp,
        cause: Cause,
        before: Option<&Self>,
        after: Option<&Self>,
    ) -> Option<Change> {
        let it = after.or(before)?;
        let id = match &*it.sku_name {
            "" => Arc::clone(&it.service_id),
            name => format!("{} ({name})", it.service_id).into(),
        };
        let words = |it: &Self| Fact::Words(it.in_words());
        Some(Change {
            at,
            cause,
            entity: Entity::Report,
            id,
            tenant: Some(it.tenant),
            user: None,
            before: before.map(words),
            after: after.map(words),
        })
    }
}

/// The number of a deal, random, so that none comes twice; shown as `d-1f2e3d4c`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DealId(pub u32);

impl fmt::Display for DealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d-{:08x}", self.0)
    }
}

impl FromStr for DealId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.trim().strip_prefix("d-").filter(|it| it.len() == 8);
        let plain = digits.filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = plain.and_then(|it| u32::from_str_radix(it, 16).ok());
        number.map(Self).ok_or_else(|| InvalidId::new(text, "deal id", "it looks like d-1f2e3d4c"))
    }
}

/// Licences that the publisher activated by a registered deal: Partner Center has no API for them,
/// so they are entered by hand. They carry no end by themselves: the contract's end switches
/// nothing off.
///
/// Source: `visuals-and-isv.md` section 4.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Its number here.
    pub id: DealId,
    /// The customer's tenant.
    pub tenant: TenantId,
    /// The plan.
    pub service_id: ServiceId,
    /// How many licences, in all.
    pub licences: u64,
    /// The contract's first day.
    pub starts: Option<Date>,
    /// The contract's last day.
    pub ends: Option<Date>,
    /// What the publisher knows it by, such as the deal's number in Partner Center.
    pub reference: Option<Arc<str>>,
    /// When it was entered.
    pub entered: Timestamp,
}

impl Deal {
    /// Whether its contract has begun by that day.
    pub fn has_begun(&self, day: Date) -> bool {
        self.starts.is_none_or(|it| it <= day)
    }

    /// Whether its contract is over by that day. Nothing ends the licences by itself.
    pub fn is_over(&self, day: Date) -> bool {
        self.ends.is_some_and(|it| it < day)
    }

    /// A deal that was entered or removed by an operator.
    pub fn change(
        at: Timestamp,
        cause: Cause,
        before: Option<&Self>,
        after: Option<&Self>,
    ) -> Option<Change> {
        let it = after.or(before)?;
        let words = |it: &Self| {
            let day = |what: &str, it: Option<Date>| {
                it.map(|it| format!(", {what} {it}")).unwrap_or_default()
            };
            let (starts, ends) = (day("starts", it.starts), day("ends", it.ends));
            let reference = it.reference.as_deref().map(|it| format!(", {it}"));
            let reference = reference.unwrap_or_default();
            let (licences, service_id) = (it.licences, &it.service_id);
            Fact::Words(format!("{licences} of {service_id}{starts}{ends}{reference}").into())
        };
        Some(Change {
            at,
            cause,
            entity: Entity::Deal,
            id: it.id.to_string().into(),
            tenant: Some(it.tenant),
            user: None,
            before: before.map(words),
            after: after.map(words),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deals_number_reads_back() {
        for id in [DealId(0), DealId(u32::MAX), DealId(0x1f2e_3d4c)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "d-", "1f2e3d4c", "d-1f2e3d4", "d-1f2e3d4cc", "d-+f2e3d4c"] {
            assert!(wrong.parse::<DealId>().is_err(), "{wrong}");
        }
    }
}
