//! The numbers behind the status page, gathered at once so that they belong together.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::permissions::Permits;
use super::reports::ReportFigures;
use super::webhooks::WebhookFigures;
use super::{Ops, life};
use crate::decision::{LicenseFigures, State};
use crate::domain::{
    CapabilityStatus, Catalog, Change, Deadline, Freshness, Mirror, Run, Source, SourceKey,
    SourceState, SubscriptionId,
};
use crate::http::metrics::{SignatureLabel, StateLabel};
use crate::notify::{EndpointStatus, NotifyHandle};
use crate::store::{ChangeFilter, RunFilter, StoreError, StoreReport};
use crate::sync::{TaskStatus, reads_directory, seats};

/// Runs and changes looked at for the charts.
const LOOKED_AT: usize = 5_000;

/// How far back the charts go.
pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Everything the page shows.
pub(super) struct Figures {
    pub(super) now: Timestamp,
    pub(super) started: Timestamp,
    pub(super) sources: Vec<Scope>,
    pub(super) runs: Vec<Run>,
    pub(super) changes: Vec<Change>,
    pub(super) subscriptions: BTreeMap<&'static str, i64>,
    pub(super) deadlines: Vec<(Deadline, SubscriptionId)>,
    pub(super) seats: Vec<PlanSeats>,
    pub(super) licenses: LicenseFigures,
    pub(super) tenants: BTreeMap<&'static str, u64>,
    pub(super) permits: Permits,
    pub(super) licensed_users: usize,
    pub(super) held_seats: usize,
    pub(super) decisions: Vec<(State, u64)>,
    pub(super) answers_kept: u64,
    pub(super) answers_signed: u64,
    pub(super) store: StoreReport,
    pub(super) entra_keys: bool,
    pub(super) endpoints: Vec<EndpointStatus>,
    pub(super) webhooks: WebhookFigures,
    pub(super) by_tenant: seats::Figures,
    pub(super) reports: ReportFigures,
}

/// One source for one scope, and how fresh it is.
pub(super) struct Scope {
    /// What the tenant is called; its id if it has no name.
    pub(super) name: String,
    pub(super) state: SourceState,
    pub(super) consent: Option<&'static str>,
    pub(super) limits: Freshness,
    pub(super) task: Option<TaskStatus>,
}

/// How fresh a scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fresh {
    /// Never completely read.
    Never,
    /// Older than it is trusted.
    Distrusted,
    /// Older than its `max_age`.
    Stale,
    /// As fresh as it should be.
    Good,
}

impl Scope {
    /// How long ago the last complete read began.
    pub(super) fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.state.last_complete.map(|at| now.duration_since(at).max(SignedDuration::ZERO))
    }

    pub(super) fn fresh(&self, now: Timestamp) -> Fresh {
        match self.age(now) {
            None => Fresh::Never,
            Some(age) if age > self.limits.trust_for => Fresh::Distrusted,
            Some(age) if age > self.limits.max_age => Fresh::Stale,
            Some(_) => Fresh::Good,
        }
    }
}

/// Microsoft-managed licences of one plan, over all tenants.
pub(super) struct PlanSeats {
    /// The Service ID.
    pub(super) plan: String,
    /// Bought and assignable.
    pub(super) bought: u64,
    /// Assigned to users.
    pub(super) assigned: u64,
    /// Assigned, by what the SKU's status makes of them.
    pub(super) by_state: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Blocking: reads the sync log and the journal from disk.
    pub(super) fn gather(ops: &Ops) -> Result<Self, StoreError> {
        let (now, mirror) = ((ops.clock)(), ops.store.mirror());
        let since = now.checked_sub(DAY).ok();
        let runs = RunFilter { since, limit: LOOKED_AT, ..RunFilter::default() };
        let changes = ChangeFilter { since, limit: LOOKED_AT, ..ChangeFilter::default() };
        let mut tenants = BTreeMap::new();
        for view in mirror.tenants() {
            *tenants.entry(view.tenant.consent.as_str()).or_default() += 1_u64;
        }
        let decided = |state: State| {
            let label = StateLabel { state: state.as_str() };
            (state, ops.metrics.decisions.get_or_create(&label).get())
        };
        let answers =
            |signature| ops.metrics.answers.get_or_create(&SignatureLabel { signature }).get();
        let by_tenant = ops.seats.as_ref().map(seats::Seats::latest).unwrap_or_default();
        Ok(Self {
            now,
            started: ops.started,
            sources: scopes(&mirror, ops),
            runs: ops.store.runs(&runs)?,
            changes: ops.store.changes(&changes)?,
            subscriptions: subscriptions_by_status(&mirror),
            deadlines: life::all(&mirror, now),
            seats: seats_by_plan(&mirror, &ops.catalog),
            licenses: LicenseFigures::of(&mirror, &ops.policy, now),
            permits: Permits::of(&mirror),
            tenants,
            licensed_users: mirror.tenants().map(|it| it.users.licensed()).sum(),
            held_seats: mirror.all_holders().map(|(_, it)| it.iter().count()).sum(),
            decisions: State::ALL.iter().copied().map(decided).collect(),
            answers_kept: answers("kept"),
            answers_signed: answers("new"),
            store: ops.store.report(),
            entra_keys: ops.entra.is_known(),
            endpoints: ops.notify.as_ref().map(NotifyHandle::status).unwrap_or_default(),
            webhooks: WebhookFigures::gather(ops),
            reports: ReportFigures::gather(&mirror, &ops.catalog, &by_tenant, now),
            by_tenant,
        })
    }
}

/// The list of subscriptions first, then tenants, the least fresh first.
fn scopes(mirror: &Mirror, ops: &Ops) -> Vec<Scope> {
    let (now, tasks) = ((ops.clock)(), (ops.activities)());
    let task = |key: SourceKey| tasks.iter().find(|it| it.key == key).cloned();
    let of_tenant = |view: &Arc<crate::domain::TenantView>| {
        let id = view.tenant.id;
        let name = view.tenant.name.as_deref().map_or_else(|| id.to_string(), str::to_owned);
        let key = SourceKey::directory(id);
        Scope {
            name,
            state: view.directory.clone(),
            consent: Some(view.tenant.consent.as_str()),
            limits: ops.policy.directory,
            task: task(key),
        }
    };
    let read = mirror.tenants().filter(|it| reads_directory(&ops.catalog, it));
    let mut scopes: Vec<Scope> = read.map(of_tenant).collect();
    scopes.sort_by_key(|it| (it.fresh(now), it.state.last_complete));
    let key = SourceKey::SUBSCRIPTIONS;
    let subscriptions = Scope {
        name: Source::Subscriptions.to_string(),
        state: mirror.source(key).cloned().unwrap_or_default(),
        consent: None,
        limits: ops.policy.subscriptions,
        task: task(key),
    };
    scopes.insert(0, subscriptions);
    if let Some(state) = mirror.source(SourceKey::REPORTS) {
        let report = Scope {
            name: Source::Reports.to_string(),
            state: state.clone(),
            consent: None,
            limits: ops.policy.reports,
            task: task(SourceKey::REPORTS),
        };
        scopes.insert(1, report);
    }
    scopes
}

/// Subscriptions by status. A word that Microsoft added later counts as `Unrecognized`: a label
/// must come from a closed set.
pub(super) fn subscriptions_by_status(mirror: &Mirror) -> BTreeMap<&'static str, i64> {
    use crate::domain::SubscriptionStatus as Status;
    let mut counts = BTreeMap::new();
    for subscription in mirror.subscriptions() {
        let word = match subscription.status {
            Status::PendingFulfillmentStart => "PendingFulfillmentStart",
            Status::Subscribed => "Subscribed",
            Status::Suspended => "Suspended",
            Status::Unsubscribed => "Unsubscribed",
            Status::Unrecognized(_) => "Unrecognized",
        };
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// Microsoft-managed licences by plan, from the counts of the tenants' SKUs.
pub(super) fn seats_by_plan(mirror: &Mirror, catalog: &Catalog) -> Vec<PlanSeats> {
    let plans = catalog.products().flat_map(|it| &it.plans);
    let managed = plans.filter(|it| it.channel.is_managed_per_user());
    let mut seats = Vec::new();
    for plan in managed {
        let (mut bought, mut assigned, mut by_state) = (0_u64, 0_u64, BTreeMap::new());
        let skus = mirror.tenants().flat_map(|it| it.skus.iter().map(move |sku| (it, sku)));
        for (_, sku) in skus.filter(|(view, sku)| view.sku_match(sku, plan).is_some()) {
            bought += u64::from(sku.units.bought());
            assigned += u64::from(sku.units.consumed);
            *by_state.entry(state_of(&sku.status)).or_default() += u64::from(sku.units.consumed);
        }
        seats.push(PlanSeats { plan: plan.service_id.to_string(), bought, assigned, by_state });
    }
    seats
}

/// Source: contract section 2, rule 3.
fn state_of(status: &CapabilityStatus) -> &'static str {
    match status {
        CapabilityStatus::Enabled => State::Active.as_str(),
        CapabilityStatus::Warning => State::Grace.as_str(),
        CapabilityStatus::Suspended | CapabilityStatus::LockedOut => State::Suspended.as_str(),
        CapabilityStatus::Deleted => State::Expired.as_str(),
        CapabilityStatus::Unrecognized(_) => State::Unknown.as_str(),
    }
}
