//! Version 1: changes that customers asked for.

use serde::{Deserialize, Serialize};

use super::v1_base::{IdV1, TimeV1, id, tenant_option, text, uuid, word};
use crate::domain::{Action, AskedChange, Coverage, Impact, Losers, SubscriptionId, Terms, UserId};
use crate::store::StoreError;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TermsV1 {
    plan: String,
    quantity: Option<u64>,
}

impl From<&Terms> for TermsV1 {
    fn from(it: &Terms) -> Self {
        Self { plan: text(&it.plan), quantity: it.quantity }
    }
}

impl From<TermsV1> for Terms {
    fn from(it: TermsV1) -> Self {
        Self { plan: it.plan.into(), quantity: it.quantity }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum LosersV1 {
    Nobody,
    Users { count: u64, some: Vec<IdV1> },
    AllBut(u64),
    Everyone,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ImpactV1 {
    plan_known: bool,
    losers: LosersV1,
    features_lost: Vec<String>,
    features_won: Vec<String>,
    coverage_before: Option<String>,
    coverage_after: Option<String>,
}

impl From<&Impact> for ImpactV1 {
    fn from(it: &Impact) -> Self {
        let coverage = |it: Option<Coverage>| it.map(|it| it.as_str().to_owned());
        Self {
            plan_known: it.plan_known,
            losers: match &it.losers {
                Losers::Nobody => LosersV1::Nobody,
                Losers::Users { count, some } => {
                    let some = some.iter().map(|it| id(it.as_uuid())).collect();
                    LosersV1::Users { count: *count, some }
                }
                Losers::AllBut(seats) => LosersV1::AllBut(*seats),
                Losers::Everyone => LosersV1::Everyone,
            },
            features_lost: it.features_lost.iter().map(text).collect(),
            features_won: it.features_won.iter().map(text).collect(),
            coverage_before: coverage(it.coverage_before),
            coverage_after: coverage(it.coverage_after),
        }
    }
}

impl TryFrom<ImpactV1> for Impact {
    type Error = StoreError;

    fn try_from(it: ImpactV1) -> Result<Self, StoreError> {
        let coverage = |it: Option<String>| it.map(|it| word::<Coverage>(&it)).transpose();
        let user = |it| UserId::from_uuid(uuid(it));
        Ok(Self {
            plan_known: it.plan_known,
            losers: match it.losers {
                LosersV1::Nobody => Losers::Nobody,
                LosersV1::Users { count, some } => {
                    Losers::Users { count, some: some.into_iter().map(user).collect() }
                }
                LosersV1::AllBut(seats) => Losers::AllBut(seats),
                LosersV1::Everyone => Losers::Everyone,
            },
            features_lost: it.features_lost.into_iter().map(Into::into).collect(),
            features_won: it.features_won.into_iter().map(Into::into).collect(),
            coverage_before: coverage(it.coverage_before)?,
            coverage_after: coverage(it.coverage_after)?,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct AskedV1 {
    operation: String,
    subscription: IdV1,
    tenant: Option<IdV1>,
    /// Microsoft's word.
    action: String,
    before: TermsV1,
    asks: TermsV1,
    at: TimeV1,
    impact: ImpactV1,
    state: String,
    since: TimeV1,
}

impl From<&AskedChange> for AskedV1 {
    fn from(it: &AskedChange) -> Self {
        Self {
            operation: text(&it.operation),
            subscription: id(it.subscription.as_uuid()),
            tenant: it.tenant.map(|it| id(it.as_uuid())),
            action: it.action.as_str().to_owned(),
            before: (&it.before).into(),
            asks: (&it.asks).into(),
            at: it.at.into(),
            impact: (&it.impact).into(),
            state: it.state.as_str().to_owned(),
            since: it.since.into(),
        }
    }
}

impl TryFrom<AskedV1> for AskedChange {
    type Error = StoreError;

    fn try_from(it: AskedV1) -> Result<Self, StoreError> {
        Ok(Self {
            operation: it.operation.into(),
            subscription: SubscriptionId::from_uuid(uuid(it.subscription)),
            tenant: tenant_option(it.tenant)?,
            action: Action::from_word(&it.action),
            before: it.before.into(),
            asks: it.asks.into(),
            at: it.at.try_into()?,
            impact: it.impact.try_into()?,
            state: word(&it.state)?,
            since: it.since.try_into()?,
        })
    }
}
