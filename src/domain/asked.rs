//! A change of plan or of the number of seats that a customer asks for: what it asks, who would
//! lose what by it, and what became of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::product::words;
use super::{
    Action, Coverage, Feature, Subscription, SubscriptionId, TenantId, UnknownWord, UserId,
};

/// How long a confirmation lasts.
///
/// Source: issue 3; the customer has to ask again, for a change that was refused cannot be revived.
pub const CONFIRMED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

words!(
    /// What became of a change that a customer asked for.
    AskedState, "state of a change" {
        /// We said yes.
        Accepted = "accepted",
        /// We said no, by policy.
        Refused = "refused",
        /// We said no until an operator looks at it.
        Held = "held",
        /// An operator wants it: the next identical request is accepted.
        Confirmed = "confirmed",
        /// An operator does not want it.
        Dismissed = "dismissed",
        /// Microsoft made it all the same.
        Overruled = "overruled",
    }
);

impl AskedState {
    /// Whether Microsoft is told yes.
    pub const fn welcomes(self) -> bool {
        match self {
            Self::Accepted => true,
            Self::Refused | Self::Held | Self::Confirmed | Self::Dismissed | Self::Overruled => {
                false
            }
        }
    }

    /// Whether a change in this state may come to be in that one: an operator decides what is held
    /// and may think again; what has happened stays so.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Held | Self::Confirmed | Self::Dismissed, Self::Confirmed | Self::Overruled)
            | (Self::Held | Self::Confirmed, Self::Accepted | Self::Dismissed)
            | (Self::Refused, Self::Overruled) => true,
            (
                Self::Accepted
                | Self::Refused
                | Self::Held
                | Self::Confirmed
                | Self::Dismissed
                | Self::Overruled,
                _,
            ) => false,
        }
    }
}

/// A plan and the seats of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The plan, in lower case.
    pub plan: Arc<str>,
    /// Seats of a per-seat plan.
    pub quantity: Option<u64>,
}

impl Terms {
    /// What a subscription has.
    pub fn of(subscription: &Subscription) -> Self {
        Self { plan: Arc::clone(&subscription.plan), quantity: subscription.quantity }
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan {}", self.plan)?;
        match self.quantity {
            Some(1) => f.write_str(", 1 seat"),
            Some(seats) => write!(f, ", {seats} seats"),
            None => Ok(()),
        }
    }
}

/// A change that a customer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedChange {
    /// Microsoft's id of the operation.
    pub operation: Arc<str>,
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// The beneficiary's tenant.
    pub tenant: Option<TenantId>,
    /// What is to be changed: plan or quantity.
    pub action: Action,
    /// What the subscription had.
    pub before: Terms,
    /// What it would have.
    pub asks: Terms,
    /// When Microsoft's webhook came.
    pub at: Timestamp,
    /// Who would lose what.
    pub impact: Impact,
    /// What became of it.
    pub state: AskedState,
    /// Since when it is in that state.
    pub since: Timestamp,
}

impl AskedChange {
    /// Whether both ask for the same: of a change of plan the plan counts, of the quantity the
    /// number.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let same = match self.action {
            Action::ChangePlan => self.asks.plan == other.asks.plan,
            Action::ChangeQuantity => self.asks.quantity == other.asks.quantity,
            Action::Suspend
            | Action::Unsubscribe
            | Action::Reinstate
            | Action::Renew
            | Action::Subscribe
            | Action::Unrecognized(_) => false,
        };
        same && self.subscription == other.subscription && self.action == other.action
    }

    /// Whether a subscription has what is asked for.
    pub fn is_done_in(&self, subscription: &Subscription) -> bool {
        match self.action {
            Action::ChangePlan => self.asks.plan == subscription.plan,
            Action::ChangeQuantity => self.asks.quantity == subscription.quantity,
            Action::Suspend
            | Action::Unsubscribe
            | Action::Reinstate
            | Action::Renew
            | Action::Subscribe
            | Action::Unrecognized(_) => false,
        }
    }

    /// Until when the next identical request is accepted, if an operator confirmed this one.
    pub fn confirmed_until(&self) -> Option<Timestamp> {
        let confirmed = self.state == AskedState::Confirmed;
        confirmed.then(|| self.since.checked_add(CONFIRMED_FOR).unwrap_or(Timestamp::MAX))
    }

    /// The word for its state; a confirmation that has run out is `expired`.
    pub fn state_at(&self, now: Timestamp) -> &'static str {
        let expired = self.confirmed_until().is_some_and(|until| until <= now);
        if expired { "expired" } else { self.state.as_str() }
    }

    /// The change in another state.
    #[must_use]
    pub fn moved(&self, state: AskedState, since: Timestamp) -> Self {
        Self { state, since, ..self.clone() }
    }
}

/// What a commit does to the changes that customers asked for.
#[derive(Clone, Debug)]
pub enum AskedWrite {
    /// It is asked for; one that is known already stays as it is.
    New(Arc<AskedChange>),
    /// This came of it, if that can still be ([`AskedState::may_become`]).
    Move {
        /// Which.
        operation: Arc<str>,
        /// What.
        to: AskedState,
        /// When.
        at: Timestamp,
    },
    /// It is long over.
    Forget(Arc<str>),
}

impl AskedWrite {
    /// Which change it is about.
    pub fn operation(&self) -> &Arc<str> {
        match self {
            Self::New(it) => &it.operation,
            Self::Move { operation, .. } | Self::Forget(operation) => operation,
        }
    }
}

/// Who would no longer be covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Losers {
    /// Nobody.
    Nobody,
    /// Users who hold a seat.
    Users {
        /// So many.
        count: u64,
        /// Some of them, at most [`Impact::LISTED`], those first who used theirs longest ago.
        some: Vec<UserId>,
    },
    /// All of the tenant but the first so many to ask.
    AllBut(u64),
    /// All of the tenant.
    Everyone,
}

/// Who would lose what by a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// Whether the plan that is asked for is in the catalog.
    pub plan_known: bool,
    /// Who would no longer be covered.
    pub losers: Losers,
    /// What those who stay would lose, each as `product: feature`.
    pub features_lost: Vec<Feature>,
    /// What they would win.
    pub features_won: Vec<Feature>,
    /// Whom the present plan covers; `None` if it is in no catalog, or Microsoft assigns its seats.
    pub coverage_before: Option<Coverage>,
    /// Whom the plan that is asked for covers.
    pub coverage_after: Option<Coverage>,
}

impl Impact {
    /// How many users are named.
    pub const LISTED: usize = 20;

    /// How many users would lose their seat, as far as that can be counted.
    pub const fn users_losing(&self) -> Option<u64> {
        match &self.losers {
            Losers::Nobody => Some(0),
            Losers::Users { count, .. } => Some(*count),
            Losers::AllBut(_) | Losers::Everyone => None,
        }
    }

    /// The users that are named.
    pub const fn users(&self) -> &[UserId] {
        match &self.losers {
            Losers::Users { some, .. } => some.as_slice(),
            Losers::Nobody | Losers::AllBut(_) | Losers::Everyone => &[],
        }
    }

    /// The same with the ids of users, for the journal.
    pub fn with_users(&self) -> String {
        let users: Vec<String> = self.users().iter().map(ToString::to_string).collect();
        match users.as_slice() {
            [] => self.to_string(),
            users => format!("{self} ({})", users.join(", ")),
        }
    }
}

/// In words, with counts and without ids.
impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.losers {
            Losers::Nobody => f.write_str("nobody loses access")?,
            Losers::Users { count: 1, .. } => f.write_str("1 user loses a seat")?,
            Losers::Users { count, .. } => write!(f, "{count} users lose their seats")?,
            Losers::AllBut(seats) => write!(f, "all but {seats} users lose access")?,
            Losers::Everyone => f.write_str("everyone loses access")?,
        }
        if !self.plan_known {
            f.write_str("; the plan is not in the catalog")?;
        }
        if let (Some(before), Some(after)) = (self.coverage_before, self.coverage_after)
            && before != after
        {
            write!(f, "; coverage {before} becomes {after}")?;
        }
        for (what, features) in [("lost", &self.features_lost), ("won", &self.features_won)] {
            if !features.is_empty() {
                write!(f, "; {what}: {}", features.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn impact() -> Impact {
        Impact {
            plan_known: true,
            losers: Losers::Nobody,
            features_lost: Vec::new(),
            features_won: Vec::new(),
            coverage_before: Some(Coverage::Tenant),
            coverage_after: Some(Coverage::Tenant),
        }
    }

    fn asked(action: Action, plan: &str, quantity: u64, state: AskedState) -> AskedChange {
        AskedChange {
            operation: "o".into(),
            subscription: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            tenant: None,
            action,
            before: Terms { plan: "team".into(), quantity: Some(5) },
            asks: Terms { plan: plan.into(), quantity: Some(quantity) },
            at: Timestamp::UNIX_EPOCH,
            impact: impact(),
            state,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_has_happened_stays_so_and_an_operator_may_think_again() {
        use AskedState as S;
        let allowed = [
            (S::Refused, S::Overruled),
            (S::Held, S::Accepted),
            (S::Held, S::Confirmed),
            (S::Held, S::Dismissed),
            (S::Held, S::Overruled),
            (S::Confirmed, S::Accepted),
            (S::Confirmed, S::Confirmed),
            (S::Confirmed, S::Dismissed),
            (S::Confirmed, S::Overruled),
            (S::Dismissed, S::Confirmed),
            (S::Dismissed, S::Overruled),
        ];
        for from in S::ALL {
            for to in S::ALL {
                let may = allowed.contains(&(*from, *to));
                assert_eq!(from.may_become(*to), may, "{from} → {to}");
            }
        }
    }

    #[test]
    fn of_a_change_of_plan_the_plan_counts_and_of_the_quantity_the_number() {
        let held = |action, plan, quantity| asked(action, plan, quantity, AskedState::Held);
        let check = |one: AskedChange, other: AskedChange, same| {
            assert_eq!(one.asks_the_same(&other), same, "{one:?} {other:?}");
        };
        let (plan, quantity) = (Action::ChangePlan, Action::ChangeQuantity);
        check(held(plan.clone(), "a", 1), held(plan.clone(), "a", 5), true);
        check(held(plan.clone(), "a", 5), held(plan.clone(), "b", 5), false);
        check(held(quantity.clone(), "a", 3), held(quantity.clone(), "b", 3), true);
        check(held(quantity.clone(), "a", 3), held(quantity.clone(), "a", 4), false);
        check(held(plan, "a", 3), held(quantity.clone(), "a", 3), false);
        let elsewhere = SubscriptionId::from_uuid(Uuid::from_u128(2));
        let other = AskedChange { subscription: elsewhere, ..held(quantity.clone(), "a", 3) };
        check(held(quantity, "a", 3), other, false);
    }

    #[test]
    fn a_confirmation_lasts_seven_days() {
        let it = asked(Action::ChangePlan, "a", 1, AskedState::Confirmed);
        let after = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        assert_eq!(it.confirmed_until(), Some(after(168)));
        assert_eq!((it.state_at(after(167)), it.state_at(after(168))), ("confirmed", "expired"));
        let held = it.moved(AskedState::Held, after(0));
        assert_eq!((held.confirmed_until(), held.state_at(after(999))), (None, "held"));
    }

    #[test]
    fn an_impact_reads_as_a_sentence_and_counts_only_say_how_many() {
        let check = |change: &dyn Fn(&mut Impact), words: &str| {
            let mut it = impact();
            change(&mut it);
            assert_eq!(it.to_string(), words);
        };
        check(&|_| {}, "nobody loses access");
        let user = UserId::from_uuid(Uuid::from_u128(7));
        let two = Losers::Users { count: 2, some: vec![user] };
        check(&|it| it.losers = two.clone(), "2 users lose their seats");
        check(
            &|it| {
                it.losers = Losers::Everyone;
                it.plan_known = false;
                it.coverage_after = None;
                it.features_lost = vec!["s: maps".into(), "s: storage".into()];
            },
            "everyone loses access; the plan is not in the catalog; lost: s: maps, s: storage",
        );
        check(
            &|it| {
                it.losers = Losers::AllBut(3);
                it.coverage_after = Some(Coverage::Seats);
                it.features_won = vec!["s: maps".into()];
            },
            "all but 3 users lose access; coverage tenant becomes seats; won: s: maps",
        );
        let named = Impact { losers: two, ..impact() };
        assert_eq!(named.with_users(), format!("2 users lose their seats ({user})"));
        assert_eq!((named.users_losing(), named.users()), (Some(2), &[user][..]));
    }
}
