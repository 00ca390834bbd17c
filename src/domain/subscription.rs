//! A purchase in the commercial marketplace, where it stands, and who sits on its seats.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{ServiceId, SubscriptionId, TenantId, UserId};

/// Where a subscription stands.
///
/// Source: SaaS fulfillment v2, `saasSubscriptionStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionStatus {
    /// Bought, not activated, not billed.
    PendingFulfillmentStart,
    /// Live and billed.
    Subscribed,
    /// Payment failed; can be reinstated for 30 days.
    Suspended,
    /// Ended for good: a new purchase has a new id.
    Unsubscribed,
    /// A word that Microsoft added later; kept as it is.
    Unrecognized(Arc<str>),
}

impl SubscriptionStatus {
    /// The word, whatever its case and the spaces around it.
    pub fn from_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "pendingfulfillmentstart" => Self::PendingFulfillmentStart,
            "subscribed" => Self::Subscribed,
            "suspended" => Self::Suspended,
            "unsubscribed" => Self::Unsubscribed,
            _ => Self::Unrecognized(word.trim().into()),
        }
    }

    /// Microsoft's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::PendingFulfillmentStart => "PendingFulfillmentStart",
            Self::Subscribed => "Subscribed",
            Self::Suspended => "Suspended",
            Self::Unsubscribed => "Unsubscribed",
            Self::Unrecognized(word) => word,
        }
    }
}

/// The beneficiary or the purchaser. E-mail addresses stay in the raw record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Party {
    /// As Microsoft says it: may be the tenant of all personal accounts, so never a key.
    pub tenant: Option<Uuid>,
    /// The user's object id.
    pub user: Option<UserId>,
}

impl Party {
    /// The tenant that something may be keyed on.
    pub fn tenant_id(&self) -> Option<TenantId> {
        self.tenant.and_then(TenantId::from_uuid)
    }
}

/// A marketplace SaaS subscription.
///
/// Source: SaaS fulfillment v2, subscription object (`marketplace-saas.md` section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `id`.
    pub id: SubscriptionId,
    /// `publisherId`, in lower case.
    pub publisher: Arc<str>,
    /// `offerId`, in lower case.
    pub offer: Arc<str>,
    /// `planId`, in lower case.
    pub plan: Arc<str>,
    /// `name`: chosen by the buyer, free text.
    pub name: Arc<str>,
    /// `saasSubscriptionStatus`.
    pub status: SubscriptionStatus,
    /// Seats of a per-seat plan; `None` for a flat rate, and sometimes after a cancellation.
    pub quantity: Option<u64>,
    /// Who uses it.
    pub beneficiary: Party,
    /// Who paid; grants nothing.
    pub purchaser: Party,
    /// `term.startDate`.
    pub term_start: Option<Timestamp>,
    /// `term.endDate`: the start of the last valid day, so the term ends a day later.
    pub term_end: Option<Timestamp>,
    /// `term.termUnit`, such as `P1M`; an open set.
    pub term_unit: Option<Arc<str>>,
    /// `autoRenew`.
    pub auto_renew: Option<bool>,
    /// `isFreeTrial`; absent is false.
    pub free_trial: bool,
    /// `allowedCustomerOperations`; a CSP purchase has only `Read`.
    pub allowed_operations: Vec<Arc<str>>,
    /// `created`.
    pub created: Option<Timestamp>,
    /// When we first saw it as it is now.
    pub observed_at: Timestamp,
}

impl Subscription {
    /// Whether two readings say the same, whenever they were made.
    pub fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { observed_at: self.observed_at, ..other.clone() }
    }

    /// Whether it is one of the plan of this Service ID; previews carry the offer's id with a suffix.
    ///
    /// Source: `marketplace-saas.md` section 2.
    pub fn is_of(&self, plan: &ServiceId) -> bool {
        let offer = self.offer.as_ref();
        let live = offer.strip_suffix("-preview").unwrap_or(offer);
        let is = |it: &str| it.eq_ignore_ascii_case(plan.offer());
        (is(offer) || is(live)) && self.plan.eq_ignore_ascii_case(plan.plan())
    }

    /// For tests: one of which nothing is known but that it is live.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            id: SubscriptionId::from_uuid(uuid::Uuid::from_u128(7)),
            publisher: "p".into(),
            offer: "o".into(),
            plan: "team".into(),
            name: "n".into(),
            status: SubscriptionStatus::Subscribed,
            quantity: None,
            beneficiary: Party::default(),
            purchaser: Party::default(),
            term_start: None,
            term_end: None,
            term_unit: None,
            auto_renew: None,
            free_trial: false,
            allowed_operations: Vec::new(),
            created: None,
            observed_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The first moment after the term: the end date is its last valid day.
    ///
    /// Source: `marketplace-saas.md` section 5.3.
    pub fn term_over(&self) -> Option<Timestamp> {
        self.term_end?.checked_add(SignedDuration::from_hours(24)).ok()
    }
}

/// A user who sits on a seat of a subscription with `coverage = "seats"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldSeat {
    /// Since when.
    pub taken_at: Timestamp,
    /// When he last asked; kept to within [`Holders::touch_every`].
    pub last_used: Timestamp,
}

/// Who sits on the seats of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Holders {
    seats: BTreeMap<(TenantId, UserId), HeldSeat>,
}

impl Holders {
    /// How much newer a use must be before it is worth a write: a tenth of the time after which a seat
    /// is free again, so that nobody loses one that he uses; 12 hours at most.
    pub fn touch_every(release_after: SignedDuration) -> SignedDuration {
        (release_after / 10).min(SignedDuration::from_hours(12))
    }

    /// These holders.
    pub fn new(seats: impl IntoIterator<Item = ((TenantId, UserId), HeldSeat)>) -> Self {
        Self { seats: seats.into_iter().collect() }
    }

    /// All of them, those whose seat is free again included.
    pub fn iter(&self) -> impl Iterator<Item = (TenantId, UserId, HeldSeat)> {
        self.seats.iter().map(|((tenant, user), seat)| (*tenant, *user, *seat))
    }

    /// The seat of this user, whether or not it still counts.
    pub fn seat(&self, tenant: TenantId, user: UserId) -> Option<HeldSeat> {
        self.seats.get(&(tenant, user)).copied()
    }

    /// Whether the user holds one of the `quantity` seats: those who took theirs first do, when
    /// the quantity has shrunk below their number.
    pub fn holds(
        &self,
        tenant: TenantId,
        user: UserId,
        quantity: u64,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> bool {
        let Some(own) = self.seat(tenant, user) else { return false };
        let live = |it: &HeldSeat| now.duration_since(it.last_used) <= release_after;
        if u64::try_from(self.seats.len()).is_ok_and(|all| all <= quantity) {
            return live(&own); // nobody is too many
        }
        let rank = |key: &(TenantId, UserId), seat: &HeldSeat| (seat.taken_at, *key);
        let mine = rank(&(tenant, user), &own);
        let before =
            |(key, seat): &(&(TenantId, UserId), &HeldSeat)| live(seat) && rank(key, seat) < mine;
        let ahead = self.seats.iter().filter(before).count();
        live(&own) && u64::try_from(ahead).is_ok_and(|ahead| ahead < quantity)
    }

    /// Those who would no longer hold one of the `quantity` seats, though they hold one of `before`:
    /// who took theirs last. Those come first who used theirs longest ago.
    pub fn beyond(
        &self,
        before: Option<u64>,
        quantity: u64,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> Vec<(TenantId, UserId)> {
        let live = |it: &HeldSeat| now.duration_since(it.last_used) <= release_after;
        let mut sitting: Vec<_> = self.seats.iter().filter(|(_, seat)| live(seat)).collect();
        sitting.sort_by_key(|(key, seat)| (seat.taken_at, **key));
        let first = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        sitting.truncate(before.map_or(usize::MAX, first));
        let mut losing = sitting.split_off(first(quantity).min(sitting.len()));
        losing.sort_by_key(|(key, seat)| (seat.last_used, **key));
        losing.into_iter().map(|(key, _)| *key).collect()
    }

    /// Whether one of the `quantity` seats is free.
    pub fn has_free(&self, quantity: u64, release_after: SignedDuration, now: Timestamp) -> bool {
        let few = u64::try_from(self.seats.len()).is_ok_and(|all| all < quantity);
        few || self.in_use(release_after, now) < quantity
    }

    /// How many seats are in use.
    pub fn in_use(&self, release_after: SignedDuration, now: Timestamp) -> u64 {
        let live = |it: &&HeldSeat| now.duration_since(it.last_used) <= release_after;
        self.seats.values().filter(live).count().try_into().unwrap_or(u64::MAX)
    }

    /// The holders after this user sat down or asked again, and without those whose seat is free
    /// again.
    #[must_use]
    pub fn with(
        &self,
        tenant: TenantId,
        user: UserId,
        release_after: SignedDuration,
        now: Timestamp,
    ) -> Self {
        let live = |it: &HeldSeat| now.duration_since(it.last_used) <= release_after;
        let mut seats = self.seats.clone();
        seats.retain(|_, seat| live(seat));
        let seat =
            seats.entry((tenant, user)).or_insert(HeldSeat { taken_at: now, last_used: now });
        seat.last_used = now;
        Self { seats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_in_use_is_noted_well_before_it_would_be_free() {
        let check = |release_after: &str, every: &str| {
            let [release_after, every] =
                [release_after, every].map(|it| it.parse::<SignedDuration>().unwrap());
            assert_eq!(Holders::touch_every(release_after), every);
            assert!(crate::domain::LicenseUsers::touch_every(release_after) <= release_after / 10);
        };
        check("PT1H", "PT6M");
        check("PT100H", "PT10H");
        check("PT720H", "PT12H");
    }

    #[test]
    fn who_would_lose_a_seat_is_who_would_not_hold_one() {
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
        let number = |it: u128| UserId::from_uuid(Uuid::from_u128(it));
        // Taken in the order of their numbers, used in another one; the ninth was long away.
        let used = [60, 50, 70, 40, 65, 55, 45, 66, 1];
        let seats = (1_u128..).zip(used).map(|(it, used)| {
            let taken_at = at(i64::try_from(it).unwrap());
            ((tenant, number(it)), HeldSeat { taken_at, last_used: at(used) })
        });
        let holders = Holders::new(seats);
        let (release_after, now) = (SignedDuration::from_hours(48), at(72));
        for before in [Some(8), Some(6), Some(3), None] {
            for quantity in 0..10 {
                let holds = |it: u128, quantity: u64| {
                    holders.holds(tenant, number(it), quantity, release_after, now)
                };
                let had = |it: &u128| holds(*it, before.unwrap_or(u64::MAX));
                let loses = |it: &u128| had(it) && !holds(*it, quantity);
                let mut expected: Vec<u128> = (1..10).filter(loses).collect();
                expected.sort_by_key(|it| used[usize::try_from(*it).unwrap() - 1]);
                let expected: Vec<_> =
                    expected.into_iter().map(|it| (tenant, number(it))).collect();
                let found = holders.beyond(before, quantity, release_after, now);
                assert_eq!(found, expected, "{before:?} → {quantity}");
            }
        }
    }
}
