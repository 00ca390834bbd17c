//! Metrics about the data, read from the mirror when somebody asks and never kept up to date by
//! hand. Absolute times, so that an alert can be written on them; no tenant is named.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::figures::{self, PlanSeats};
use super::{licenses, life};
use crate::decision::LicenseFigures;
use crate::domain::{Catalog, MappingState, Mirror, Policy, Source, SourceKey, SourceState};
use crate::store::Store;
use crate::sync::keys::Clock;

/// Reads the facts.
pub(super) struct Facts {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) policy: Policy,
    pub(super) clock: Clock,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mirror = self.store.mirror();
        rights(&mirror, &self.catalog, &mut encoder)?;
        usage_rights(&mirror, &self.policy, &mut encoder)?;
        sources(&mirror, &mut encoder)?;
        let now = (self.clock)();
        life::encode(&mirror, now, &mut encoder)?;
        licenses::encode(&LicenseFigures::of(&mirror, &self.policy, now), &mut encoder)?;
        self.disk(&mut encoder)
    }
}

impl Facts {
    fn disk(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = self.store.report();
        let sizes = [
            ("store_disk", "Size of the store's files", report.disk_bytes),
            ("store_live", "Size of the records that count", report.live_bytes),
            ("store_free", "Free space on the store's disk", report.free_bytes.unwrap_or(0)),
        ];
        for (name, help, bytes) in sizes {
            gauge(encoder, name, help, Some(&Unit::Bytes), [(NO_LABELS, clipped(bytes))])?;
        }
        let writable = i64::from(report.refused.is_none());
        let help = "1 while the store takes writes";
        gauge(encoder, "store_writable", help, None, [(NO_LABELS, writable)])
    }
}

fn rights(
    mirror: &Mirror,
    catalog: &Catalog,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let subscriptions = figures::subscriptions_by_status(mirror);
    let labelled = subscriptions.iter().map(|(status, count)| ([("status", *status)], *count));
    gauge(encoder, "subscriptions", "Marketplace subscriptions", None, labelled)?;

    let foreign = super::unsold::count(mirror, catalog);
    let help = "Live marketplace subscriptions whose offer and plan no product has: no right";
    gauge(encoder, "subscriptions_without_product", help, None, [(NO_LABELS, foreign)])?;

    let mut consents: BTreeMap<&str, i64> = BTreeMap::new();
    for view in mirror.tenants() {
        *consents.entry(view.tenant.consent.as_str()).or_default() += 1;
    }
    let labelled = consents.iter().map(|(consent, count)| ([("consent", *consent)], *count));
    gauge(encoder, "tenants", "Tenants known, by consent", None, labelled)?;

    let mut missing: BTreeMap<&str, i64> = BTreeMap::new();
    for permission in mirror.tenants().flat_map(|it| it.access.missing()) {
        *missing.entry(permission.as_str()).or_default() += 1;
    }
    let labelled =
        missing.iter().map(|(permission, count)| ([("permission", *permission)], *count));
    let help = "Tenants that did not give our app a permission";
    gauge(encoder, "tenants_without_permission", help, None, labelled)?;

    let users = mirror.tenants().map(|it| it.users.licensed()).sum::<usize>();
    let users = i64::try_from(users).unwrap_or(i64::MAX);
    let help = "Users who hold, or are meant to hold, any licence of ours";
    gauge(encoder, "licensed_users", help, None, [(NO_LABELS, users)])?;

    let seats: Vec<PlanSeats> = figures::seats_by_plan(mirror, catalog);
    let labelled = |count: fn(&PlanSeats) -> u64| {
        let each = move |it: &PlanSeats| ([("plan", it.plan.clone())], clipped(count(it)));
        seats.iter().map(each).collect::<Vec<_>>()
    };
    let help = "Microsoft-managed licences that tenants bought and may assign";
    gauge(encoder, "seats_bought", help, None, labelled(|it| it.bought))?;
    let help = "Microsoft-managed licences assigned to users";
    gauge(encoder, "seats_assigned", help, None, labelled(|it| it.assigned))?;

    let taken: usize = mirror.all_holders().map(|(_, it)| it.iter().count()).sum();
    let taken = i64::try_from(taken).unwrap_or(i64::MAX);
    let help = "Users on seats of SaaS subscriptions, seats that are free again included";
    gauge(encoder, "held_seats", help, None, [(NO_LABELS, taken)])
}

/// What stands beside the directory: rights that it does not show, and names that wait for a word.
fn usage_rights(
    mirror: &Mirror,
    policy: &Policy,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let clipped = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    let users = clipped(mirror.tenants().map(|it| it.rights.holders()).sum());
    let help = "Users with usage rights that their directory does not show";
    gauge(encoder, "usage_rights", help, None, [(NO_LABELS, users)])?;
    let braked = mirror.tenants().map(|it| it.rights_held(policy.remove_limit).len()).sum();
    let help =
        "Users whose usage rights the brake holds until anybody in the tenant is seen with any";
    gauge(encoder, "usage_rights_held", help, None, [(NO_LABELS, clipped(braked))])?;
    let refused = mirror.tenants().filter(|it| it.rights_source.refused.is_some()).count();
    let help = "Tenants whose usage rights may not be read";
    gauge(encoder, "usage_rights_refused", help, None, [(NO_LABELS, clipped(refused))])?;
    let of = |state: MappingState| {
        let all = mirror.tenants().flat_map(|it| it.mappings.iter());
        clipped(all.filter(|it| it.state == state).count())
    };
    let labelled = MappingState::ALL.iter().map(|it| ([("state", it.as_str())], of(*it)));
    let help = "What plans are called in tenants, by what operators said of it";
    gauge(encoder, "mappings", help, None, labelled)
}

/// Of a source that is read tenant by tenant the worst tenant speaks.
fn sources(mirror: &Mirror, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let directories: Vec<&SourceState> = mirror
        .tenants()
        .filter(|it| it.directory.last_run.is_some())
        .map(|it| &it.directory)
        .collect();
    let subscriptions: Vec<&SourceState> =
        mirror.source(SourceKey::SUBSCRIPTIONS).into_iter().collect();
    let all = [(Source::Subscriptions, subscriptions), (Source::Directory, directories)];
    let label = |source: Source| [("source", source.as_str())];
    let last = all.iter().filter_map(|(source, states)| {
        let oldest = states.iter().filter_map(|it| it.last_complete).min()?;
        Some((label(*source), oldest.as_second()))
    });
    let help = "When the last complete read began; of the directories the oldest";
    let name = "source_last_success_timestamp";
    gauge(encoder, name, help, Some(&Unit::Seconds), last)?;
    let failing = all.iter().map(|(source, states)| {
        let failing = states.iter().filter(|it| it.failures > 0).count();
        (label(*source), i64::try_from(failing).unwrap_or(i64::MAX))
    });
    gauge(encoder, "source_failing", "Scopes whose last run failed", None, failing)?;
    let braked = all.iter().map(|(source, states)| {
        let rights: i64 = states.iter().map(|it| i64::from(it.held_back)).sum();
        (label(*source), rights)
    });
    let help = "Rights that the brake holds until a second complete read misses them too";
    gauge(encoder, "source_held_back", help, None, braked)
}

pub(super) const NO_LABELS: [(&str, &str); 0] = [];

pub(super) fn gauge<K, V, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl IntoIterator<Item = ([(K, V); N], i64)>,
) -> Result<(), fmt::Error>
where
    [(K, V); N]: prometheus_client::encoding::EncodeLabelSet,
{
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in values {
        let gauge = ConstGauge::new(value);
        if N == 0 {
            gauge.encode(metric)?;
            return Ok(());
        }
        gauge.encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

pub(super) fn clipped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
