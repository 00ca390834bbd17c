//! Graph's change notifications: Microsoft tells us that a user or a group changed.
//!
//! A notification is a nudge and nothing more. It names an object and says nothing of licences; it
//! may be forged, late, twice or never. So it starts a look-up of that user, or a run over that
//! tenant, and whatever they find is read from Microsoft. Without any notification the mirror comes
//! to the same, only later: nobody tells us of those that were lost.
//!
//! | file | subject |
//! |---|---|
//! | [`body`] | what a delivery says. Pure |
//! | [`nudges`] | many notifications of a tenant are few look-ups, or one run. Pure |
//! | [`due`] | which subscriptions to make, to renew, to make anew. Pure |
//! | [`work`] | the task that does it |
//!
//! Source: graph-licensing.md section 6.

mod body;
mod due;
mod nudges;
mod work;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use self::body::{Event, Told, What};
use self::nudges::Nudges;
use crate::domain::{GraphSubscription, GroupId, Mirror, TenantId, UserId, Watched};

pub use self::work::worker;

/// Where Graph finds us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// For changes.
    pub notifications: Arc<str>,
    /// For what becomes of the subscriptions themselves.
    pub lifecycle: Arc<str>,
}

impl Address {
    /// Below what the outside calls us.
    pub fn below(public_url: &Url) -> Self {
        let base = public_url.as_str().trim_end_matches('/');
        Self {
            notifications: format!("{base}/graph/notifications").into(),
            lifecycle: format!("{base}/graph/lifecycle").into(),
        }
    }
}

/// Tenants of whose licensed groups a notification told, until the groups are read: a run that it
/// starts would pass them over otherwise, for they are read at a rarer hour than users. Cheap to
/// clone: all clones are one.
#[derive(Clone, Debug, Default)]
pub struct GroupsTold(Arc<Mutex<BTreeSet<TenantId>>>);

impl GroupsTold {
    fn note(&self, tenant: TenantId) {
        self.tenants().insert(tenant);
    }

    /// Whether this tenant's groups were told of since this was asked last.
    pub(in crate::sync) fn take(&self, tenant: TenantId) -> bool {
        self.tenants().remove(&tenant)
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeSet<TenantId>> {
        // What is lost with it the schedule makes good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where notifications arrive. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub struct Notifications(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// `None`: nothing is subscribed to.
    address: Option<Address>,
    nudges: Mutex<Nudges>,
    groups_told: GroupsTold,
    /// Subscriptions of which Graph says that they need care.
    cared_for: Mutex<BTreeSet<(TenantId, Watched)>>,
    more: Notify,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    received: Family<OutcomeLabel, Counter>,
    kept: Family<OutcomeLabel, Counter>,
    subscriptions: Gauge,
    failing: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Notifications {
    /// For subscriptions to this address; `None` makes none. Whose groups were told of is noted
    /// there.
    pub fn new(address: Option<Address>, groups_told: GroupsTold) -> Self {
        Self(Arc::new(Shared { address, groups_told, ..Shared::default() }))
    }

    /// Takes a delivery in; returns at once. `None`: it is no delivery.
    ///
    /// What names no subscription of ours, or does not know its `clientState`, is counted and has no
    /// effect.
    pub fn receive(
        &self,
        mirror: &Mirror,
        bytes: &[u8],
        at: Timestamp,
        now: Instant,
    ) -> Option<()> {
        for told in body::read(bytes)? {
            let outcome = match genuine(mirror, &told) {
                Some(subscription) => self.take(mirror, subscription, &told.what, (at, now)),
                None => "unknown",
            };
            self.0.figures.received.get_or_create(&OutcomeLabel { outcome }).inc();
        }
        self.0.more.notify_one();
        Some(())
    }

    /// What it asks for is done later. The word says what it was.
    fn take(
        &self,
        mirror: &Mirror,
        subscription: &GraphSubscription,
        what: &What,
        (at, now): (Timestamp, Instant),
    ) -> &'static str {
        let (tenant, watched) = (subscription.tenant, subscription.watched);
        match (what, watched) {
            (What::Changed(Some(id)), Watched::Users) => {
                self.nudges().user(tenant, UserId::from_uuid(*id), at, now);
                "user"
            }
            (What::Changed(Some(id)), Watched::Groups) => {
                let group = GroupId::from_uuid(*id);
                let licensed =
                    mirror.tenant(tenant).is_some_and(|it| it.groups.groups.contains_key(&group));
                if !licensed {
                    return "other_group";
                }
                self.0.groups_told.note(tenant);
                self.nudges().tenant(tenant, now);
                "group"
            }
            (What::Changed(None), _) => {
                self.nudges().tenant(tenant, now);
                "unnamed"
            }
            (What::Lifecycle(Event::Reauthorize), _) => {
                self.cared_for().insert((tenant, watched));
                "reauthorization_required"
            }
            (What::Lifecycle(Event::Removed), _) => {
                self.cared_for().insert((tenant, watched));
                self.nudges().tenant(tenant, now);
                "subscription_removed"
            }
            (What::Lifecycle(Event::Missed), _) => {
                self.nudges().tenant(tenant, now);
                "missed"
            }
            (What::Lifecycle(Event::Unrecognized), _) => "unrecognized",
        }
    }

    /// Whether Graph is to tell of changes, of how many tenants' users or groups it does, and how many
    /// it does not take and are tried again.
    pub fn figures(&self) -> (bool, i64, i64) {
        let it = &self.0.figures;
        (self.0.address.is_some(), it.subscriptions.get(), it.failing.get())
    }

    fn nudges(&self) -> MutexGuard<'_, Nudges> {
        // Every step leaves it whole, and what is lost with it the schedule makes good.
        self.0.nudges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cared_for(&self) -> MutexGuard<'_, BTreeSet<(TenantId, Watched)>> {
        self.0.cared_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, outcome: &'static str) {
        self.0.figures.kept.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Registers the figures under `entitled_…`.
    pub fn register(&self, registry: &mut Registry) {
        let it = &self.0.figures;
        let help = "Change notifications from Graph, by what they told; unknown: of no subscription \
                    of ours, or with a wrong clientState";
        registry.register("notifications", help, it.received.clone());
        let help = "Subscriptions to change notifications that were made, renewed, made anew, ended, \
                    forgotten, or could not be had (failed)";
        registry.register("graph_subscriptions_kept", help, it.kept.clone());
        let help = "Subscriptions to change notifications";
        registry.register("graph_subscriptions", help, it.subscriptions.clone());
        let help =
            "Subscriptions to change notifications that could not be had and are tried again";
        registry.register("graph_subscriptions_failing", help, it.failing.clone());
    }
}

/// The subscription that a notification is of, if it proves that it comes from whom we subscribed
/// with.
fn genuine<'a>(mirror: &'a Mirror, told: &Told) -> Option<&'a GraphSubscription> {
    let it = mirror.graph_subscriptions().called(&told.subscription)?;
    let tenant = told.tenant.is_none_or(|tenant| tenant == it.tenant);
    (it.client_state.is(&told.client_state) && tenant).then_some(it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClientState, Cloud, Commit, Consent, GraphSubscriptionWrite, Tenant};
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(n)).unwrap()
    }

    fn subscription(watched: Watched) -> GraphSubscription {
        GraphSubscription {
            tenant: tenant(1),
            watched,
            id: watched.as_str().into(),
            client_state: ClientState::new([7; 32]),
            url: "https://x.example/graph/notifications".into(),
            renewed: Timestamp::UNIX_EPOCH,
            expires: Timestamp::MAX,
        }
    }

    fn mirror() -> Mirror {
        let put = |it| GraphSubscriptionWrite::Put(Arc::new(subscription(it)));
        let (consent, cloud) = (Consent::Granted, Cloud::Public);
        Mirror::default().applied(&Commit {
            tenants: vec![Tenant { id: tenant(1), name: None, consent, cloud }],
            graph_subscriptions: Watched::ALL.map(put).to_vec(),
            ..Commit::default()
        })
    }

    /// What of these fields, put over a good notification, is taken in as what.
    fn outcome(fields: Value) -> (String, bool) {
        let mut told = json!({
            "subscriptionId": "users", "clientState": ClientState::new([7; 32]).text(),
            "changeType": "updated", "tenantId": tenant(1).to_string(),
            "resourceData": { "id": Uuid::from_u128(5).to_string() },
        });
        let Value::Object(fields) = fields else { panic!() };
        told.as_object_mut().unwrap().extend(fields);
        let it = Notifications::default();
        let body = json!({ "value": [told] }).to_string();
        let at = Timestamp::UNIX_EPOCH;
        it.receive(&mirror(), body.as_bytes(), at, Instant::now()).unwrap();
        let mut registry = Registry::default();
        it.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find(|it| it.starts_with("notifications_total")).unwrap();
        let word = line.split('"').nth(1).unwrap().to_owned();
        (word, it.nudges().first_due().is_some())
    }

    #[test]
    fn a_forged_notification_is_counted_and_has_no_effect() {
        for forged in [
            json!({ "clientState": "guessed" }),
            json!({ "clientState": null }),
            json!({ "subscriptionId": "another" }),
            json!({ "tenantId": tenant(2).to_string() }),
        ] {
            assert_eq!(outcome(forged.clone()), ("unknown".to_owned(), false), "{forged}");
        }
    }

    #[test]
    fn a_genuine_one_starts_what_it_is_about() {
        let is =
            |fields, word: &str, nudges| assert_eq!(outcome(fields), (word.to_owned(), nudges));
        is(json!({}), "user", true);
        is(json!({ "changeType": "deleted" }), "user", true);
        is(json!({ "resourceData": null }), "unnamed", true);
        is(
            json!({ "resourceData": null, "resource": "Users/11111111-2222-4333-8444-555566667777" }),
            "user",
            true,
        );
        is(json!({ "subscriptionId": "groups" }), "other_group", false);
        is(json!({ "lifecycleEvent": "missed" }), "missed", true);
        is(json!({ "lifecycleEvent": "subscriptionRemoved" }), "subscription_removed", true);
        is(
            json!({ "lifecycleEvent": "reauthorizationRequired" }),
            "reauthorization_required",
            false,
        );
        is(json!({ "lifecycleEvent": "somethingNew" }), "unrecognized", false);
    }
}
