//! Somebody is signed in: he sees his purchase and activates it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::access::{self, Addresses};
use super::purchase::{ASK_AGAIN, Shown};
use super::seal::{Purchase, Session, Ticket};
use super::{Answer, Visit, words};
use crate::domain::{
    Cause, Plan, Product, PurchaseToken, Subscription, SubscriptionId, has_passed,
};
use crate::http::disk;
use crate::http::limits::HANDLER;
use crate::http::public::body;
use crate::http::public::page::field;
use crate::sync::orders::{Activated, OrderError};

/// Activations that are remembered; who comes when there are more is not kept from asking twice,
/// which does no harm.
const REMEMBERED_MAX: usize = 10_000;

/// Which subscriptions' activation was asked for, and when: a second click asks no second time.
#[derive(Default)]
pub(super) struct Activations(Mutex<HashMap<Uuid, Timestamp>>);

impl Activations {
    /// Whether it is to be asked for now: it is from then on as if it had been.
    fn begin(&self, id: Uuid, now: Timestamp) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &Timestamp| !has_passed(ASK_AGAIN, *at, now);
        if asked.get(&id).is_some_and(recent) {
            return false;
        }
        if asked.len() >= REMEMBERED_MAX {
            asked.retain(|_, at| recent(at));
        }
        if asked.len() < REMEMBERED_MAX {
            asked.insert(id, now);
        }
        true
    }

    /// It was not taken.
    fn failed(&self, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn when(&self, id: Uuid) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}

/// What an operator does about a refusal of our app.
///
/// Source: `marketplace-saas.md` sections 2.1 and 11 (traps 37 and 41).
const REGISTRATION: &str = "Microsoft refuses our app (403). Check that the offer's technical \
    configuration in Partner Center, of the preview too, names [publisher] tenant and [identity] \
    client_id, and that the marketplace API has a service principal in that tenant: az ad sp \
    create --id 20e940b3-4c77-4b0b-9a53-9e16a1b010a7. Then run `entitled sync subscriptions`.";

/// Microsoft was asked and took too long to answer.
#[derive(Debug, thiserror::Error)]
#[error("Microsoft took longer than {} s", HANDLER.as_secs())]
struct Slow;

impl Visit<'_> {
    /// What was bought, as Microsoft has it now.
    pub(super) async fn purchase(&self) -> Result<Answer, Answer> {
        let mut session = self.session()?;
        let resolving = matches!(session.purchase, Purchase::Token(_));
        let subscription = match timeout(HANDLER, self.look(&mut session)).await {
            Ok(looked) => looked?,
            Err(_elapsed) => return Err(self.away().because(Slow)),
        };
        let (id, addresses) = (subscription.id, self.addresses(subscription.id).await);
        if !access::may(&session.person, &subscription, &addresses) {
            info!(subscription.id = %id, "Somebody of another organization came with a purchase");
            return Err(words::not_yours(&session.person, self.path()).into());
        }
        if resolving {
            let status = subscription.status.as_str();
            info!(subscription.id = %id, subscription.status = status, "A buyer sees his purchase");
        }
        let mirror = self.public.store.snapshot();
        let own = session.asked.and_then(|it| Timestamp::from_second(it).ok());
        let shown = Shown {
            subscription: &subscription,
            addresses: &addresses,
            person: &session.person,
            mirror: &mirror,
            known: self.in_catalog(&subscription),
            plan_name: session.plan.as_deref(),
            path: self.path(),
            form: &session.form,
            asked: self.landing.activations.when(id.as_uuid()).or(own),
            has_support: self.has_support(),
            now: self.now,
        };
        let page = shown.page();
        Ok(Answer::from(page).keeping(Ticket::Signed(session)))
    }

    /// The subscription, and from then on a session that does not need the token.
    async fn look(&self, session: &mut Session) -> Result<Subscription, Answer> {
        let orders = &self.landing.orders;
        match &session.purchase {
            Purchase::Token(token) => {
                let token = PurchaseToken::new(token.clone()).ok_or_else(words::expired)?;
                let purchase = match orders.resolve(&token).await {
                    Ok(purchase) => purchase,
                    Err(error) => return Err(self.failed(error)?),
                };
                let plan = purchase.plan.map(|it| it.name.to_string());
                session.plan = plan.filter(|it| !it.is_empty());
                session.purchase = Purchase::Known(purchase.subscription.id.as_uuid());
                Ok(purchase.subscription)
            }
            Purchase::Known(id) => match orders.look(SubscriptionId::from_uuid(*id)).await {
                Ok(subscription) => Ok(subscription),
                Err(error) => Err(self.failed(error)?),
            },
        }
    }

    /// The form was sent.
    pub(super) async fn activate(&self, body: Body, bytes_max: usize) -> Result<Answer, Answer> {
        let bytes = body::read(body, &self.headers, bytes_max).await;
        let bytes = bytes.map_err(|_broken| words::malformed())?;
        let session = self.session()?;
        let sent = field(&String::from_utf8_lossy(&bytes), "form").unwrap_or_default();
        let fits = bool::from(sent.as_bytes().ct_eq(session.form.as_bytes()));
        let site = self.headers.get("sec-fetch-site").and_then(|it| it.to_str().ok());
        if !fits || site.is_some_and(|it| !["same-origin", "none"].contains(&it)) {
            self.wrong()?;
            return Err(words::other_form().button(&self.page_of("purchase"), "Back").into());
        }
        let back = Answer::to(self.page_of("purchase"));
        // The form is on a page that was shown with a resolved purchase only.
        let Purchase::Known(id) = session.purchase else { return Ok(back) };
        let id = SubscriptionId::from_uuid(id);
        let mirror = self.public.store.snapshot();
        let Some(subscription) = mirror.subscription(id) else { return Ok(back) };
        if !access::may(&session.person, subscription, &self.addresses(id).await) {
            return Err(words::not_yours(&session.person, self.path()).into());
        }
        let asked = Session { asked: Some(self.now.as_second()), ..session };
        let back = back.keeping(Ticket::Signed(asked));
        if !self.landing.activations.begin(id.as_uuid(), self.now) {
            return Ok(back);
        }
        let order = self.landing.orders.activate(id, Cause::Activation);
        match timeout(HANDLER, order).await {
            Ok(Ok(Activated::Accepted(_) | Activated::Already(_))) => Ok(back),
            // The order goes on without us, or it may have been taken: the page shows what comes.
            Err(_elapsed) => Ok(back),
            Ok(Err(
                error @ (OrderError::Busy(_)
                | OrderError::Unsure { .. }
                | OrderError::PerhapsActivated(_)),
            )) => {
                warn!(error = &error as &dyn std::error::Error, "An activation is not certain");
                Ok(back)
            }
            Ok(Err(error)) => {
                self.landing.activations.failed(id.as_uuid());
                Err(self.not_activated(error)?)
            }
        }
    }

    fn not_activated(&self, error: OrderError) -> Result<Answer, Answer> {
        // Something else came first: the page says what.
        if matches!(error, OrderError::Ended(_) | OrderError::Suspended(_)) {
            return Ok(Answer::to(self.page_of("purchase")));
        }
        if matches!(error, OrderError::Rejected(_) | OrderError::Locked(_)) {
            warn!(error = &error as &dyn std::error::Error, "Microsoft refuses an activation");
            let page = words::refused(self.has_support());
            return Ok(page.button(&self.page_of("purchase"), "Back to the purchase").into());
        }
        self.failed(error)
    }

    /// The page for what Microsoft, or our own store, would not do.
    fn failed(&self, failed: OrderError) -> Result<Answer, Answer> {
        const UNUSABLE: &str = "What Microsoft tells of this purchase cannot be used; the daemon's \
            log says why.";
        let error = &failed as &dyn std::error::Error;
        if matches!(failed, OrderError::Expired) {
            self.wrong()?;
            info!("A buyer came with a purchase token that Microsoft does not know (any more)");
            Ok(words::expired().into())
        } else if matches!(failed, OrderError::Registration(_)) {
            error!(error, remedy = REGISTRATION, "A buyer's purchase cannot be looked up");
            Ok(words::trouble(REGISTRATION, self.has_support()).into())
        } else if failed.is_transient() {
            Ok(self.away().because(failed))
        } else {
            error!(error, "A buyer's purchase cannot be shown");
            Ok(words::trouble(UNUSABLE, self.has_support()).into())
        }
    }

    fn away(&self) -> Answer {
        words::away(&self.page_of("purchase"), self.has_support()).into()
    }

    async fn addresses(&self, id: SubscriptionId) -> Addresses {
        let looked = disk::look(&self.public.store, move |it| it.raw_subscription(id)).await;
        match looked.unwrap_or(Ok(None)) {
            Ok(record) => record.map(|it| Addresses::read(&it)).unwrap_or_default(),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "A record cannot be read");
                Addresses::default()
            }
        }
    }

    /// Product and plan of the catalog; an offer's preview counts as the offer.
    fn in_catalog(&self, it: &Subscription) -> Option<(&Product, &Plan)> {
        let live = it.offer.strip_suffix("-preview").unwrap_or(&it.offer);
        let is = |plan: &&Plan| {
            let (offer, name) = (plan.service_id.offer(), plan.service_id.plan());
            [live, &*it.offer].contains(&offer) && name == &*it.plan
        };
        let mut products = self.public.catalog.products();
        products.find_map(|product| Some((&**product, product.plans.iter().find(is)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_is_asked_for_once_until_it_failed_or_is_long_gone() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (activations, id) = (Activations::default(), Uuid::from_u128(1));
        assert!(activations.begin(id, at(0)));
        assert!(!activations.begin(id, at(1)));
        assert!(activations.begin(Uuid::from_u128(2), at(1)), "another is another");
        activations.failed(id);
        assert!(activations.begin(id, at(2)));
        assert!(!activations.begin(id, at(1_801)));
        assert!(activations.begin(id, at(1_802)), "it may be asked for again");
        assert_eq!(activations.when(id), Some(at(1_802)));
        assert!(activations.begin(id, at(900)), "the clock was set back");
    }
}
