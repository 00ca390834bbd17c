//! A purchase: what a landing page's token stands for, which plans there are, and the activation.

use std::sync::Arc;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Marketplace;
use super::call::{Call, refusal};
use super::parse;
use crate::domain::{PurchaseToken, Subscription, SubscriptionId};
use crate::microsoft::Meter;
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::Answer;
use crate::microsoft::json::{self, Read};

const RESOLVE: &str = "POST /api/saas/subscriptions/resolve";
const ACTIVATE: &str = "POST /api/saas/subscriptions/{id}/activate";
const PLANS: &str = "GET /api/saas/subscriptions/{id}/listAvailablePlans";

/// What a purchase token stands for.
///
/// Source: marketplace-saas.md section 6.1.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The subscription.
    pub id: SubscriptionId,
    /// `subscriptionName`: chosen by the buyer, free text.
    pub name: Arc<str>,
    /// `offerId`, in lower case.
    pub offer: Arc<str>,
    /// `planId`, in lower case.
    pub plan: Arc<str>,
    /// Seats of a per-seat plan.
    pub quantity: Option<u64>,
    /// The subscription as this answer has it, if it does. Term dates were missing from it for
    /// weeks once: read the subscription itself.
    pub subscription: Option<Read<Subscription>>,
}

/// A plan that a customer may move to.
///
/// Source: marketplace-saas.md section 5.5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts, as Microsoft tells them"
)]
pub struct AvailablePlan {
    /// `planId`, in lower case.
    pub plan: Arc<str>,
    /// `displayName`.
    pub name: Arc<str>,
    /// Offered to some tenants only.
    pub private: bool,
    /// `None` for a flat rate.
    pub min_quantity: Option<u64>,
    /// `None` for a flat rate.
    pub max_quantity: Option<u64>,
    /// Sold by the seat.
    pub per_seat: bool,
    /// Begins with a free trial.
    pub free_trial: bool,
    /// No longer sold; what is sold goes on.
    pub stop_sell: bool,
    /// What it costs, for each term it can be bought for.
    pub terms: Vec<BillingTerm>,
    /// The private offers it was bought by; told only when the plans are asked for by the
    /// purchased one.
    pub private_offers: Vec<Uuid>,
}

/// One price of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingTerm {
    /// `P1M` and so on; an open set.
    pub unit: Arc<str>,
    /// Three letters.
    pub currency: Arc<str>,
    /// In that currency, as Microsoft wrote the number.
    pub price: Arc<str>,
}

#[derive(Deserialize)]
struct Plans<'a> {
    #[serde(borrow, default)]
    plans: Option<Vec<&'a RawValue>>,
}

impl Marketplace {
    /// What the buyer's token stands for, whatever the state of the subscription.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the token is no longer good; otherwise as
    /// [`Self::subscription`].
    ///
    /// Source: marketplace-saas.md sections 4 and 6.1.
    pub async fn resolve(
        &self,
        meter: &Meter,
        token: &PurchaseToken,
    ) -> Result<Resolved, MicrosoftError> {
        const GONE: &str = "the purchase token is expired or not genuine: open the subscription \
            in the Azure portal or the Microsoft 365 admin center and choose to configure or \
            manage the account again";
        let url = self.base.join(&format!("/api/saas/subscriptions/resolve?{}", super::VERSION))?;
        let call = Call::idempotent(RESOLVE, Method::POST, url).no_body();
        let call = call.secret("x-ms-marketplace-token", token.expose()).speaks(&[400, 404]);
        let read = |answer: &Answer| {
            if !answer.status.is_success() {
                return Err(refusal(RESOLVE, answer, ErrorKind::NotFound, GONE));
            }
            self.read_resolved(answer)
        };
        self.call(meter, &call, read).await
    }

    fn read_resolved(&self, answer: &Answer) -> Result<Resolved, MicrosoftError> {
        #[derive(Deserialize)]
        struct Inner<'a> {
            #[serde(borrow, default)]
            subscription: Option<&'a RawValue>,
        }
        let value: Value = json::body(RESOLVE, answer)?;
        let inner: Inner<'_> = json::body(RESOLVE, answer)?;
        let odd = |why: String| {
            let what = format!("what the purchase token stands for cannot be understood: {why}");
            MicrosoftError::new(ErrorKind::Unreadable, what)
        };
        let now = self.pace.now();
        let record = inner.subscription.filter(|it| it.get() != "null");
        Ok(Resolved {
            id: json::id(&value, "id").map_err(odd)?,
            name: value.get("subscriptionName").and_then(Value::as_str).unwrap_or_default().into(),
            offer: json::lower(&value, "offerId"),
            plan: json::lower(&value, "planId"),
            quantity: json::count(&value, "quantity").map_err(odd)?,
            subscription: record.map(|raw| Read::of(raw, |it| parse::subscription(it, now))),
        })
    }

    /// Asks to start the billing. It is carried out some minutes later: read the subscription
    /// until it is no longer pending.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rejected`] when it is suspended or already active, [`ErrorKind::NotFound`]
    /// when it has ended or never was; otherwise as [`Self::subscription`]. After any of them read
    /// the subscription: `Subscribed` is success.
    ///
    /// Source: marketplace-saas.md section 6.2.
    pub async fn activate(
        &self,
        meter: &Meter,
        id: SubscriptionId,
        plan: &str,
        quantity: Option<u64>,
    ) -> Result<(), MicrosoftError> {
        // Newer documents want no body, older ones this: it does for both.
        let mut body = json!({ "planId": plan });
        if let (Some(quantity), Some(fields)) = (quantity, body.as_object_mut()) {
            fields.insert("quantity".to_owned(), quantity.into());
        }
        let call = Call::idempotent(ACTIVATE, Method::POST, self.at(id, "/activate")?);
        let call = call.body(&body).speaks(&[400, 404]);
        let read = |answer: &Answer| match answer.status.as_u16() {
            400 => Err(refusal(
                ACTIVATE,
                answer,
                ErrorKind::Rejected,
                "the subscription cannot be activated: it is suspended, active already, or has \
                 another plan or quantity; read it",
            )),
            404 => {
                let what = "the subscription has ended, or there is none of this id";
                Err(refusal(ACTIVATE, answer, ErrorKind::NotFound, what))
            }
            _ => Ok(()),
        };
        self.call(meter, &call, read).await
    }

    /// The plans that this customer may move to; only this one when `plan` is given. The present
    /// plan may be missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Consent`] also when the subscription has ended, [`ErrorKind::NotFound`] when
    /// there is none of this id; otherwise as [`Self::subscription`].
    ///
    /// Source: marketplace-saas.md section 6.5.
    pub async fn plans(
        &self,
        meter: &Meter,
        id: SubscriptionId,
        plan: Option<&str>,
    ) -> Result<Vec<Read<AvailablePlan>>, MicrosoftError> {
        let mut url = self.at(id, "/listAvailablePlans")?;
        if let Some(plan) = plan {
            url.query_pairs_mut().append_pair("planId", plan);
        }
        let read = |answer: &Answer| {
            if json::text(PLANS, answer)?.is_empty() {
                return Ok(Vec::new());
            }
            let plans = json::body::<Plans<'_>>(PLANS, answer)?.plans.unwrap_or_default();
            Ok(plans.into_iter().map(|raw| Read::of(raw, available)).collect())
        };
        match self.call(meter, &Call::get(PLANS, url), read).await {
            Err(error) if error.kind() == ErrorKind::Consent => {
                let what = format!("if the subscription has ended, it has no plans; else {error}");
                Err(MicrosoftError::new(ErrorKind::Consent, what))
            }
            told => told,
        }
    }
}

fn available(value: &Value) -> Result<AvailablePlan, String> {
    let plan = json::lower(value, "planId");
    if plan.is_empty() {
        return Err("it has no `planId`".into());
    }
    let parts = value.get("planComponents").unwrap_or(&Value::Null);
    let terms = json::list(parts, "recurrentBillingTerms")?.unwrap_or_default();
    let offers = json::list(value, "sourceOffers")?.unwrap_or_default();
    let yes = |key| json::flag(value, key).unwrap_or(false);
    let text = |value: &Value, key| json::word(value, key).unwrap_or_default().into();
    Ok(AvailablePlan {
        name: text(value, "displayName"),
        private: yes("isPrivate"),
        min_quantity: json::count(value, "minQuantity")?,
        max_quantity: json::count(value, "maxQuantity")?,
        per_seat: yes("isPricePerSeat"),
        free_trial: yes("hasFreeTrials"),
        stop_sell: yes("isStopSell"),
        terms: terms
            .iter()
            .map(|it| BillingTerm {
                unit: text(it, "termUnit"),
                currency: text(it, "currency"),
                price: it.get("price").map(Value::to_string).unwrap_or_default().into(),
            })
            .collect(),
        private_offers: offers
            .iter()
            .filter_map(|it| Uuid::try_parse(json::word(it, "externalId")?).ok())
            .collect(),
        plan,
    })
}
