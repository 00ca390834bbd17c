//! Commits with anything in them.

mod grouped;
mod unread;
mod watched;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::{arbitrary_events, arbitrary_licenses, arbitrary_reports, arbitrary_rights};
use crate::domain::{
    Access, Action, AskedChange, AskedState, AskedWrite, CapabilityStatus, Cause, Change, Cloud,
    Commit, Consent, Coverage, Document, Entity, Fact, Grant, GroupId, HeldBack, HeldSeat, Holders,
    Impact, Licence, Life, Losers, OddRecord, Outcome, Packed, Party, Path, PathState, Permission,
    ReadWrite, Run, RunId, Said, Sequence, ServicePlan, ServicePlanId, Sku, SkuId, Source,
    SourceKey, SourceState, Subscription, SubscriptionId, SubscriptionStatus, Tenant, TenantId,
    TenantUsers, Terms, Trigger, Undocumented, Unfinished, Units, UserId, UserLicences, UserTable,
    UserWrites, Via,
};

pub(super) fn text() -> BoxedStrategy<Arc<str>> {
    prop_oneof!["\\PC{0,12}", "[a-z]{0,60}"].prop_map(Arc::from).boxed()
}

pub(super) fn time() -> BoxedStrategy<Timestamp> {
    (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_000)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
        .boxed()
}

pub(super) fn some_time() -> BoxedStrategy<Option<Timestamp>> {
    option::of(time()).boxed()
}

/// Few ids, so that commits meet.
pub(super) fn uuid() -> BoxedStrategy<Uuid> {
    prop_oneof![(1_u128..6).prop_map(Uuid::from_u128), any::<u128>().prop_map(Uuid::from_u128)]
        .boxed()
}

pub(super) fn tenant_id() -> BoxedStrategy<TenantId> {
    (1_u128..4).prop_map(|it| TenantId::from_uuid(Uuid::from_u128(it)).unwrap()).boxed()
}

pub(super) fn user_id() -> BoxedStrategy<UserId> {
    (0_u128..200).prop_map(|it| UserId::from_uuid(Uuid::from_u128(it))).boxed()
}

pub(super) fn subscription_id() -> BoxedStrategy<SubscriptionId> {
    uuid().prop_map(SubscriptionId::from_uuid).boxed()
}

fn party() -> BoxedStrategy<Party> {
    (option::of(uuid()), option::of(user_id()))
        .prop_map(|(tenant, user)| Party { tenant, user })
        .boxed()
}

pub(super) fn subscription() -> BoxedStrategy<Subscription> {
    let status = prop_oneof![
        Just(SubscriptionStatus::PendingFulfillmentStart),
        Just(SubscriptionStatus::Subscribed),
        Just(SubscriptionStatus::Suspended),
        Just(SubscriptionStatus::Unsubscribed),
        text().prop_map(SubscriptionStatus::Unrecognized),
    ];
    let names = (text(), text(), text(), text());
    let term = (some_time(), some_time(), option::of(text()));
    let rest = (option::of(any::<bool>()), any::<bool>(), vec(text(), 0..3), some_time(), time());
    (subscription_id(), names, status, option::of(any::<u64>()), (party(), party()), term, rest)
        .prop_map(|(id, (publisher, offer, plan, name), status, quantity, parties, term, rest)| {
            Subscription {
                id,
                publisher,
                offer,
                plan,
                name,
                status,
                quantity,
                beneficiary: parties.0,
                purchaser: parties.1,
                term_start: term.0,
                term_end: term.1,
                term_unit: term.2,
                auto_renew: rest.0,
                free_trial: rest.1,
                allowed_operations: rest.2,
                created: rest.3,
                observed_at: rest.4,
            }
        })
        .boxed()
}

fn tenant() -> BoxedStrategy<Tenant> {
    (tenant_id(), option::of(text()), select(Consent::ALL), select(Cloud::ALL))
        .prop_map(|(id, name, consent, cloud)| Tenant { id, name, consent, cloud })
        .boxed()
}

fn access() -> BoxedStrategy<Access> {
    (vec((select(Permission::ALL), select(Grant::ALL)), 0..4), option::of(time()))
        .prop_map(|(grants, since)| {
            let access =
                grants.into_iter().fold(Access::default(), |it, (one, grant)| it.with(one, grant));
            access.since(since)
        })
        .boxed()
}

fn held() -> BoxedStrategy<Option<HeldBack>> {
    let sku = || uuid().prop_map(SkuId::from_uuid);
    let users = vec((sku(), vec(user_id(), 0..400).prop_map(Arc::from)), 0..3);
    let held = (any::<u64>().prop_map(RunId), time(), any::<u64>(), users, vec(sku(), 0..2))
        .prop_map(|(run, at, total, users, skus)| HeldBack {
            run,
            at,
            total,
            users: users.into_iter().collect(),
            skus,
        });
    option::of(held).boxed()
}

fn sku() -> BoxedStrategy<Sku> {
    let status = prop_oneof![
        Just(CapabilityStatus::Enabled),
        Just(CapabilityStatus::Warning),
        Just(CapabilityStatus::Suspended),
        Just(CapabilityStatus::LockedOut),
        Just(CapabilityStatus::Deleted),
        text().prop_map(CapabilityStatus::Unrecognized),
    ];
    let plan = (uuid(), text())
        .prop_map(|(id, name)| ServicePlan { id: ServicePlanId::from_uuid(id), name });
    let missing = option::of(any::<u64>().prop_map(RunId));
    (uuid(), text(), status, vec(plan, 0..4), any::<[u32; 5]>(), some_time(), missing)
        .prop_map(
            |(id, part_number, status, service_plans, units, next_lifecycle, missing_since)| Sku {
                id: SkuId::from_uuid(id),
                part_number,
                status,
                service_plans,
                units: Units {
                    enabled: units[0],
                    warning: units[1],
                    suspended: units[2],
                    locked_out: units[3],
                    consumed: units[4],
                },
                next_lifecycle,
                missing_since,
            },
        )
        .boxed()
}

fn plans() -> BoxedStrategy<Vec<ServicePlanId>> {
    vec(uuid().prop_map(ServicePlanId::from_uuid), 0..3).boxed()
}

fn path() -> BoxedStrategy<Path> {
    let group = uuid().prop_map(|it| Via::Group(GroupId::from_uuid(it)));
    let state = prop_oneof![
        Just(PathState::Active),
        Just(PathState::ActiveWithError),
        Just(PathState::Disabled),
        Just(PathState::Error),
        text().prop_map(PathState::Unrecognized),
    ];
    (prop_oneof![Just(Via::Direct), group], state, option::of(text()), plans())
        .prop_map(|(via, state, error, disabled_plans)| Path { via, state, error, disabled_plans })
        .boxed()
}

/// The same in the table of users, with the mark of what could not be read.
fn mirrored() -> BoxedStrategy<UserLicences> {
    let marked = |(it, unread)| UserLicences { unread, ..it };
    (licences(), any::<bool>()).prop_map(marked).boxed()
}

pub(super) fn licences() -> BoxedStrategy<UserLicences> {
    let licence = (uuid(), any::<bool>(), plans(), vec(path(), 0..3)).prop_map(
        |(sku, assigned, disabled_plans, paths)| Licence {
            sku: SkuId::from_uuid(sku),
            assigned,
            disabled_plans,
            paths,
        },
    );
    (vec(licence, 0..3), option::of(any::<u64>().prop_map(RunId)))
        .prop_map(|(licences, missing_since)| UserLicences {
            licences,
            missing_since,
            unread: false,
        })
        .boxed()
}

fn source_key() -> BoxedStrategy<SourceKey> {
    let tenant = tenant_id().prop_map(SourceKey::directory);
    let reports = SourceKey { source: Source::Reports, tenant: None };
    prop_oneof![Just(SourceKey::SUBSCRIPTIONS), Just(reports), tenant].boxed()
}

fn source_state() -> BoxedStrategy<SourceState> {
    let texts = (option::of(text()), option::of(text()), option::of(select(Outcome::ALL)));
    let times = (some_time(), some_time(), some_time(), some_time());
    (texts, times, any::<u32>(), any::<u64>(), any::<u32>())
        .prop_map(|((cursor, last_error, last_outcome), times, failures, catalog, held_back)| {
            SourceState {
                cursor,
                cursor_issued: times.0,
                last_complete: times.1,
                last_full: times.2,
                last_run: times.3,
                last_outcome,
                last_error,
                failures,
                catalog,
                held_back,
            }
        })
        .boxed()
}

pub(super) fn held_seat() -> BoxedStrategy<HeldSeat> {
    (time(), time()).prop_map(|(taken_at, last_used)| HeldSeat { taken_at, last_used }).boxed()
}

fn holders() -> BoxedStrategy<Holders> {
    vec(((tenant_id(), user_id()), held_seat()), 0..6).prop_map(Holders::new).boxed()
}

pub(super) fn run() -> BoxedStrategy<Run> {
    let words = (source_key(), select(Trigger::ALL), select(Outcome::ALL), any::<bool>());
    let span = (any::<i32>(), 0..1_000_000_000_i32);
    (0..50_u64, words, (time(), time()), any::<[u64; 6]>(), span, option::of(text()))
        .prop_map(|(id, (key, trigger, outcome, full), (started, ended), counts, span, error)| {
            Run {
                id: RunId(id),
                key,
                trigger,
                full,
                started,
                ended,
                outcome,
                seen: counts[0],
                added: counts[1],
                changed: counts[2],
                removed: counts[3],
                odd: counts[4],
                requests: counts[5],
                throttled: SignedDuration::new(span.0.into(), span.1),
                error,
            }
        })
        .boxed()
}

fn fact() -> BoxedStrategy<Fact> {
    prop_oneof![
        subscription().prop_map(|it| Fact::Subscription(Box::new(it))),
        licences().prop_map(|it| Fact::User(Box::new(it))),
        sku().prop_map(|it| Fact::Sku(Box::new(it))),
        tenant().prop_map(|it| Fact::Tenant(Box::new(it))),
        held_seat().prop_map(Fact::HeldSeat),
        text().prop_map(Fact::Words),
        super::arbitrary_licenses::license().prop_map(|it| Fact::License(Box::new(it))),
        super::arbitrary_licenses::activation().prop_map(|it| Fact::Activation(Box::new(it))),
        arbitrary_rights::rights().prop_map(|it| Fact::Rights(Box::new(it))),
    ]
    .boxed()
}

pub(super) fn change() -> BoxedStrategy<Change> {
    let cause = prop_oneof![
        any::<u64>().prop_map(|it| Cause::Run(RunId(it))),
        text().prop_map(Cause::Webhook),
        text().prop_map(Cause::Caller),
        Just(Cause::Command),
        any::<u32>().prop_map(Cause::Operator),
        Just(Cause::Activation),
    ];
    let whose = (option::of(tenant_id()), option::of(user_id()));
    let facts = (option::of(fact()), option::of(fact()));
    (time(), cause, select(Entity::ALL), text(), whose, facts)
        .prop_map(|(at, cause, entity, id, (tenant, user), (before, after))| Change {
            at,
            cause,
            entity,
            id,
            tenant,
            user,
            before,
            after,
        })
        .boxed()
}

fn odd() -> BoxedStrategy<OddRecord> {
    (time(), source_key(), text(), text())
        .prop_map(|(at, key, why, raw)| OddRecord { at, key, why, raw })
        .boxed()
}

fn document() -> BoxedStrategy<Document> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 3_900..9_000)];
    ("[a-c]{1,3}", bytes).prop_map(|(name, bytes)| Document { name: name.into(), bytes }).boxed()
}

fn tenant_users() -> BoxedStrategy<TenantUsers> {
    let patch = vec((user_id(), option::weighted(0.8, mirrored())), 0..12);
    let replace = vec((user_id(), mirrored()), 0..80);
    let writes = prop_oneof![
        3 => patch.prop_map(UserWrites::Patch),
        1 => replace.prop_map(|it| UserWrites::Replace(UserTable::new(it))),
    ];
    (tenant_id(), writes).prop_map(|(tenant, writes)| TenantUsers { tenant, writes }).boxed()
}

fn read() -> BoxedStrategy<ReadWrite> {
    let said = prop_oneof![
        mirrored().prop_map(|it| Said::Holds(Packed::of(&it))),
        Just(Said::Removed),
        Just(Said::Ask),
    ];
    let users = vec((user_id(), said), 0..40);
    let numbers = any::<[u64; 3]>();
    let laid =
        (tenant_id(), (time(), numbers, text(), vec(uuid(), 0..3), 1_u32..4), users, any::<bool>());
    let laid = laid.prop_map(|(tenant, (started, numbers, next, skus, parts), users, sweep)| {
        let [catalog, seen, odd] = numbers;
        let passed_over = skus.into_iter().map(SkuId::from_uuid).collect();
        let of = if sweep { Sequence::Sweep } else { Sequence::Enumeration };
        let read = Unfinished { of, started, catalog, next, seen, odd, passed_over, parts };
        ReadWrite::LaidDown { tenant, read: Arc::new(read), users }
    });
    let cleared = tenant_id().prop_map(|tenant| ReadWrite::Cleared { tenant, parts: 4 });
    prop_oneof![3 => laid, 1 => cleared].boxed()
}

fn life() -> BoxedStrategy<Life> {
    let undocumented = (time(), text(), text());
    let undocumented = undocumented.prop_map(|(at, from, to)| Undocumented { at, from, to });
    (time(), any::<bool>(), option::of(time()), option::of(time()), option::of(undocumented))
        .prop_map(|(since, entered, missing_since, purged_at, undocumented)| Life {
            since,
            entered,
            missing_since,
            purged_at,
            undocumented,
        })
        .boxed()
}

fn asked() -> BoxedStrategy<AskedWrite> {
    let operation = || select(vec!["a", "b", "c"]).prop_map(Arc::<str>::from);
    let terms =
        || (text(), option::of(any::<u64>())).prop_map(|(plan, quantity)| Terms { plan, quantity });
    let losers = prop_oneof![
        Just(Losers::Nobody),
        (any::<u64>(), vec(user_id(), 0..3))
            .prop_map(|(count, some)| Losers::Users { count, some }),
        any::<u64>().prop_map(Losers::AllBut),
        Just(Losers::Everyone),
    ];
    let coverage = || option::of(select(Coverage::ALL));
    let features = || vec(text(), 0..3);
    let impact = (any::<bool>(), losers, features(), features(), coverage(), coverage()).prop_map(
        |(plan_known, losers, features_lost, features_won, before, after)| Impact {
            plan_known,
            losers,
            features_lost,
            features_won,
            coverage_before: before,
            coverage_after: after,
        },
    );
    let which = (operation(), subscription_id(), option::of(tenant_id()), any::<bool>());
    let new = (which, terms(), terms(), impact, (time(), time()), select(AskedState::ALL))
        .prop_map(
            |((operation, subscription, tenant, plan), before, asks, impact, times, state)| {
                let action = if plan { Action::ChangePlan } else { Action::ChangeQuantity };
                let (at, since) = times;
                AskedWrite::New(Arc::new(AskedChange {
                    operation,
                    subscription,
                    tenant,
                    action,
                    before,
                    asks,
                    at,
                    impact,
                    state,
                    since,
                }))
            },
        );
    let moved = (operation(), select(AskedState::ALL), time())
        .prop_map(|(operation, to, at)| AskedWrite::Move { operation, to, at });
    prop_oneof![new, moved, operation().prop_map(AskedWrite::Forget)].boxed()
}

/// A commit with a little of anything.
pub(super) fn commit() -> BoxedStrategy<Commit> {
    (unwatched(), watched::writes())
        .prop_map(|(commit, graph_subscriptions)| Commit { graph_subscriptions, ..commit })
        .boxed()
}

/// A commit with a little of anything but subscriptions to change notifications.
fn unwatched() -> BoxedStrategy<Commit> {
    let raw = "\\PC{0,30}".prop_map(Arc::from);
    let facts = (
        vec((subscription(), raw), 0..3),
        (vec(tenant(), 0..2), vec((tenant_id(), access()), 0..2), vec((tenant_id(), held()), 0..2)),
        vec((tenant_id(), vec(sku(), 0..3)), 0..2),
        vec(tenant_users(), 0..2),
        vec((source_key(), source_state()), 0..2),
    );
    let rest = (
        vec((subscription_id(), holders()), 0..2),
        vec(document(), 0..2),
        vec(odd(), 0..2),
        vec(change(), 0..6),
        vec(run(), 0..2),
        vec((subscription_id(), life()), 0..2),
        vec(unread::write(), 0..2),
        vec(asked(), 0..3),
        (
            vec(grouped::groups(), 0..2),
            vec(grouped::uses(), 0..3),
            vec(grouped::series(), 0..2),
            vec(read(), 0..2),
            arbitrary_rights::writes(),
            (arbitrary_events::usage(), arbitrary_events::outbox()),
        ),
    );
    let licenses = (
        vec(arbitrary_licenses::license(), 0..2),
        arbitrary_licenses::activations(),
        arbitrary_licenses::users(),
        arbitrary_licenses::sighted(),
        arbitrary_licenses::packaged(),
    );
    let reports = (vec(arbitrary_reports::reported(), 0..2), vec(arbitrary_reports::deal(), 0..2));
    (facts, rest, licenses, reports)
        .prop_map(|(facts, rest, licenses, reports)| Commit {
            subscriptions: facts.0,
            tenants: facts.1.0,
            access: facts.1.1,
            held: facts.1.2,
            skus: facts.2,
            users: facts.3,
            groups: rest.8.0,
            uses: rest.8.1,
            series: rest.8.2,
            sources: facts.4,
            holders: rest.0,
            documents: rest.1,
            odd: rest.2,
            usage: rest.8.5.0,
            outbox: rest.8.5.1,
            asked: rest.7,
            reported: reports.0,
            deals: reports.1,
            licenses: licenses.0,
            activations: licenses.1,
            license_users: licenses.2,
            sighted: licenses.3,
            packaged: licenses.4,
            changes: rest.3,
            runs: rest.4,
            lives: rest.5,
            unread: rest.6,
            reads: rest.8.3,
            rights: rest.8.4.0,
            rights_sources: rest.8.4.1,
            mappings: rest.8.4.2,
            ..Commit::default()
        })
        .boxed()
}
