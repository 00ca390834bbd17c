//! The store above its engine: what is loaded is what was committed, whatever the power does.

mod arbitrary;
mod arbitrary_events;
mod arbitrary_licenses;
mod arbitrary_reports;
mod arbitrary_rights;
mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use self::memory::Memory;
use super::StoreError;
use super::engine::Engine;
use super::journal::{self, ChangeFilter, RunFilter};
use super::layout::Table;
use super::load::{self, Loaded};
use super::record::VALUE_MAX;
use super::usage::UsageFilter;
use super::writer::{Limits, Stamp, Writer};
use crate::domain::{
    Change, Commit, Delivery, DeliveryWrite, Document, Licence, Mirror, NoticeNumber, Run, RunId,
    SkuId, Tenant, TenantId, TenantUsers, TenantView, UsageWrite, UserId, UserLicences, UserWrites,
};

/// Small, so that many commits are staged.
const SMALL: Limits = Limits { whole: 6_000, stage_bytes: 1_500, stage_writes: 7 };

/// Everything that a store knows, in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    facts: BTreeMap<String, String>,
    changes: Vec<Change>,
    runs: BTreeMap<RunId, Run>,
    /// Events and remembered answers, by their keys.
    usage: BTreeMap<String, String>,
    /// Events on their way, by endpoint and number.
    outbox: BTreeMap<(String, NoticeNumber), String>,
}

/// The same, to be compared whatever the order of its changes.
type Unordered = (
    BTreeMap<String, String>,
    Vec<String>,
    BTreeMap<RunId, Run>,
    BTreeMap<String, String>,
    BTreeMap<(String, NoticeNumber), String>,
);

fn facts(mirror: &Mirror) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for it in mirror.subscriptions() {
        all.insert(format!("subscription {}", it.id), format!("{it:?} {:?}", mirror.life(it)));
    }
    for it in mirror.tenants() {
        let id = it.tenant.id;
        // Of whom nothing is left, a restart forgets that he was ever heard of.
        let blank = TenantView::unread(Tenant::heard_of(id, None));
        if format!("{it:?}") == format!("{blank:?}") {
            continue;
        }
        let (tenant, skus, directory) = (&it.tenant, &it.skus, &it.directory);
        all.insert(format!("tenant {id}"), format!("{tenant:?} {skus:?} {directory:?}"));
        all.insert(format!("consent {id}"), format!("{:?} {:?}", it.access, it.held));
        let (source, mappings) = (&it.rights_source, &it.mappings);
        all.insert(format!("learned {id}"), format!("{source:?} {mappings:?}"));
        for (user, rights) in it.rights.iter() {
            all.insert(format!("rights {id} {user}"), format!("{rights:?}"));
        }
        for (user, licences) in it.users.iter() {
            all.insert(format!("user {id} {user}"), format!("{licences:?}"));
        }
        all.insert(format!("feeds {id}"), format!("{:?} {}", it.groups.feeds, it.groups.left_out));
        for group in it.groups.groups.values() {
            let members: BTreeMap<_, _> =
                group.members.iter().map(|(user, it)| (user, format!("{it:?}"))).collect();
            let id = format!("group {id} {}", group.id);
            all.insert(id, format!("{group:?} {members:?}"));
        }
    }
    for (key, state) in mirror.sources() {
        all.insert(format!("source {key}"), format!("{state:?}"));
    }
    for (tenant, product, table) in mirror.all_uses() {
        all.insert(format!("uses {tenant} {product}"), format!("{:?}", table.daily(20_000)));
    }
    for (tenant, sku, series) in mirror.all_series() {
        all.insert(format!("series {tenant} {sku}"), format!("{series:?}"));
    }
    for (id, holders) in mirror.all_holders() {
        all.insert(format!("holders {id}"), format!("{holders:?}"));
    }
    for it in mirror.unread() {
        all.insert(format!("unread {}", it.key), format!("{it:?}"));
    }
    for (name, bytes) in mirror.documents() {
        all.insert(format!("document {name}"), format!("{bytes:?}"));
    }
    for (tenant, lines) in mirror.reported() {
        all.insert(format!("reported {tenant}"), format!("{lines:?}"));
    }
    for it in mirror.deals() {
        all.insert(format!("deal {}", it.id), format!("{it:?}"));
    }
    for (tenant, it) in mirror.all_unfinished() {
        all.insert(format!("unfinished {tenant}"), format!("{it:?}"));
    }
    for it in mirror.all_asked() {
        all.insert(format!("asked {}", it.operation), format!("{it:?}"));
    }
    for it in mirror.graph_subscriptions().all() {
        let (key, state) = (format!("{} of {}", it.watched.as_str(), it.tenant), it.client_state);
        let called = mirror.graph_subscriptions().called(&it.id).is_some();
        all.insert(format!("graph {key}"), format!("{it:?} {} {called}", state.text()));
    }
    licenses(mirror, &mut all);
    all
}

fn licenses(mirror: &Mirror, all: &mut BTreeMap<String, String>) {
    let book = mirror.licenses();
    for it in book.all() {
        let found = it.key_hash.and_then(|hash| book.license_by_key(&hash)).is_some();
        let bound: Vec<_> = book.activations_of(it.id).map(|it| it.id).collect();
        all.insert(format!("license {}", it.id), format!("{it:?} {found} {bound:?}"));
    }
    for it in book.activations() {
        let of_tenant = it.tenant.map(|it| book.activations_of_tenant(it).collect::<Vec<_>>());
        all.insert(format!("activation {}", it.id), format!("{it:?} {of_tenant:?}"));
    }
    for (id, users) in book.all_users() {
        all.insert(format!("license users {id}"), format!("{users:?}"));
    }
    for (id, it) in book.all_sightings() {
        all.insert(format!("sightings {id}"), format!("{it:?}"));
    }
}

/// What everything is after a commit, worked out without a store.
fn model(before: &(Mirror, Content), commit: &Commit) -> (Mirror, Content) {
    let (mirror, content) = before;
    let mirror = mirror.applied(commit);
    let mut changes = content.changes.clone();
    let mut new = commit.changes.clone();
    new.sort_by_key(|it| it.tenant);
    changes.extend(new);
    changes.sort_by_key(|it| it.at);
    let mut runs = content.runs.clone();
    runs.extend(commit.runs.iter().map(|it| (it.id, it.clone())));
    let facts = facts(&mirror);
    let (usage, outbox) = (content.usage.clone(), content.outbox.clone());
    let mut next = Content { facts, changes, runs, usage, outbox };
    next.count(commit);
    (mirror, next)
}

impl Content {
    /// Takes over what is beside the mirror.
    fn count(&mut self, commit: &Commit) {
        for write in &commit.usage {
            match write {
                UsageWrite::Put(it) => {
                    self.usage.insert(it.id.to_string(), format!("{it:?}"));
                }
                UsageWrite::Forget(id) => drop(self.usage.remove(&id.to_string())),
                UsageWrite::Remember(it) => {
                    let kept = format!("{:?} {}", it.body, it.at);
                    self.usage.insert(format!("answer {:?}", it.key), kept);
                }
                UsageWrite::ForgetAnswer(key) => {
                    drop(self.usage.remove(&format!("answer {key:?}")));
                }
            }
        }
        for write in &commit.outbox {
            match write {
                DeliveryWrite::Put(it) => {
                    self.outbox.insert((it.endpoint.to_string(), it.number), format!("{it:?}"));
                }
                DeliveryWrite::Forget(number, endpoint) => {
                    drop(self.outbox.remove(&(endpoint.to_string(), *number)));
                }
            }
        }
    }
}

fn content(engine: &dyn Engine, loaded: &Loaded) -> Content {
    let mirror = &loaded.mirror;
    let changes = journal::changes(engine, &loaded.heads, &ChangeFilter::default()).unwrap();
    let runs = journal::runs(engine, &RunFilter::default()).unwrap();
    let runs = runs.into_iter().map(|it| (it.id, it)).collect();
    let events = loaded.usage.find(&UsageFilter::default());
    let events = events.iter().map(|it| (it.id.to_string(), format!("{it:?}")));
    let answers = loaded.usage.answers();
    let answers =
        answers.map(|(key, (body, at))| (format!("answer {key:?}"), format!("{body:?} {at}")));
    let usage = events.chain(answers).collect();
    let delivery = |it: &Arc<Delivery>| ((it.endpoint.to_string(), it.number), format!("{it:?}"));
    let outbox = loaded.outbox.all().map(delivery).collect();
    Content { facts: facts(mirror), changes, runs, usage, outbox }
}

fn writer(engine: &Arc<Memory>, loaded: Loaded) -> Writer {
    Writer {
        engine: Arc::clone(engine) as Arc<dyn Engine>,
        mirror: Arc::new(loaded.mirror),
        manifest: loaded.manifest.unwrap_or_default(),
        odd: loaded.odd,
        stamp: Stamp::new(Timestamp::UNIX_EPOCH),
        limits: SMALL,
        unsettled: false,
    }
}

/// Opens what is in an engine, as the store does.
fn opened(engine: &Arc<Memory>) -> Writer {
    let loaded = load::load(&**engine, SMALL).unwrap();
    let mut writer = writer(engine, loaded);
    writer.write_manifest(1).unwrap();
    writer
}

fn write(writer: &mut Writer, commit: &Commit) -> Result<(), StoreError> {
    let mut group = writer.group();
    group.add(commit.clone());
    writer.write(group, 1, |_| Ok(()))?;
    writer.settle()
}

fn reloaded(engine: &Arc<Memory>) -> Content {
    let loaded = load::load(&**engine, SMALL).unwrap();
    content(&**engine, &loaded)
}

/// Changes that have one moment come back in an order of their own.
fn unordered(mut it: Content) -> Unordered {
    let mut changes: Vec<String> = it.changes.drain(..).map(|it| format!("{it:?}")).collect();
    changes.sort();
    (it.facts, changes, it.runs, it.usage, it.outbox)
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn what_is_loaded_is_what_was_committed(
        commits in prop::collection::vec(arbitrary::commit(), 1..6),
    ) {
        let engine = Arc::new(Memory::default());
        let mut writer = opened(&engine);
        let mut expected = (Mirror::default(), Content::default());
        for commit in &commits {
            write(&mut writer, commit).unwrap();
            expected = model(&expected, commit);
            prop_assert_eq!(facts(&writer.mirror), expected.1.facts.clone());
        }
        prop_assert_eq!(unordered(reloaded(&engine)), unordered(expected.1));
        for table in Table::ALL {
            let longest = engine.table(table).values().map(Vec::len).max().unwrap_or(0);
            prop_assert!(longest <= VALUE_MAX + 1, "{} bytes in {}", longest, table.name());
        }
        prop_assert!(engine.table(Table::Stage).is_empty());
    }

    #[test]
    fn after_a_power_cut_a_commit_is_whole_or_not_there(
        commits in prop::collection::vec(arbitrary::commit(), 1..5),
        cuts in prop::collection::vec((0_usize..40, any::<prop::sample::Index>()), 5),
    ) {
        let mut engine = Arc::new(Memory::default());
        opened(&engine);
        let mut before = (Mirror::default(), Content::default());
        for (commit, (operations, spared)) in commits.iter().zip(&cuts) {
            let mut writer = opened(&engine);
            engine.fail_after(*operations);
            let mut group = writer.group();
            group.add(commit.clone());
            let acknowledged = writer.write(group, 1, |_| Ok(())).is_ok();
            // It may also go while a commit that was acknowledged is put in place.
            if acknowledged {
                drop(writer.settle());
            }
            let spared = spared.index(engine.unsynced() + 1);
            engine = Arc::new(engine.cut(spared));
            let after = model(&before, commit);
            let found = unordered(reloaded(&engine));
            if found == unordered(after.1.clone()) {
                before = after;
            } else {
                prop_assert!(!acknowledged, "an acknowledged commit is gone");
                prop_assert_eq!(found, unordered(before.1.clone()));
            }
        }
    }

    #[test]
    fn one_changed_or_lost_value_is_always_found_out(
        commit in arbitrary::commit(),
        nth in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
        lose in any::<bool>(),
        table in prop::sample::select(&Table::COUNTED[..]),
    ) {
        let engine = Arc::new(Memory::default());
        write(&mut opened(&engine), &commit).unwrap();
        let values = engine.table(table).len();
        prop_assume!(values > 0);
        let nth = nth.index(values);
        if lose {
            engine.lose(table, nth);
        } else {
            engine.tamper(table, nth, |value| {
                let bit = bit.index(value.len() * 8);
                value[bit / 8] ^= 1 << (bit % 8);
            });
        }
        let found = load::load(&*engine, SMALL).err();
        prop_assert!(matches!(found, Some(StoreError::Damaged { .. })), "{:?}", found);
    }

    #[test]
    fn a_run_and_a_change_read_back_as_they_were(
        run in arbitrary::run(),
        changes in prop::collection::vec(arbitrary::change(), 1..40),
    ) {
        let engine = Arc::new(Memory::default());
        let commit = Commit { runs: vec![run.clone()], changes, ..Commit::default() };
        write(&mut opened(&engine), &commit).unwrap();
        let found = reloaded(&engine);
        prop_assert_eq!(&found.runs[&run.id], &run);
        let expected = model(&(Mirror::default(), Content::default()), &commit).1;
        prop_assert_eq!(unordered(found), unordered(expected));
    }
}

#[test]
fn an_old_value_in_the_place_of_a_new_one_is_found_out() {
    let engine = Arc::new(Memory::default());
    let mut writer = opened(&engine);
    let document = |byte| Commit {
        documents: vec![Document { name: "a".into(), bytes: vec![byte] }],
        ..Commit::default()
    };
    write(&mut writer, &document(1)).unwrap();
    let old = engine.table(Table::Facts).into_values().next().unwrap();
    write(&mut writer, &document(2)).unwrap();
    engine.tamper(Table::Facts, 0, |value| *value = old);
    let found = load::load(&*engine, SMALL).err();
    assert!(matches!(found, Some(StoreError::Damaged { .. })), "{found:?}");
}

#[test]
fn a_record_of_a_newer_version_is_refused_and_not_called_damage() {
    let engine = Arc::new(Memory::default());
    write(
        &mut opened(&engine),
        &Commit {
            documents: vec![Document { name: "a".into(), bytes: vec![1] }],
            ..Commit::default()
        },
    )
    .unwrap();
    let key = engine.table(Table::Facts).into_keys().next().unwrap();
    engine.tamper(Table::Facts, 0, |value| {
        // As a newer program would have sealed it.
        value[1] = 2;
        let body = value.len() - 4;
        let start = crc32c::crc32c_append(crc32c::crc32c(&[Table::Facts.number()]), &key);
        let checksum = crc32c::crc32c_append(start, &value[..body]);
        value[body..].copy_from_slice(&checksum.to_be_bytes());
    });
    let found = load::load(&*engine, SMALL).err();
    assert!(matches!(found, Some(StoreError::Newer { found: 2, known: 1 })), "{found:?}");
}

#[test]
fn a_large_commit_never_leaves_much_unsynced() {
    let engine = Arc::new(Memory::default());
    let mut writer = opened(&engine);
    writer.limits = Limits::default();
    let held = UserLicences::new([Licence {
        sku: SkuId::from_uuid(Uuid::from_u128(1)),
        assigned: true,
        disabled_plans: Vec::new(),
        paths: Vec::new(),
    }]);
    let users = (0..20_000_u128).map(|n| (UserId::from_uuid(Uuid::from_u128(n)), held.clone()));
    let tenant = TenantId::from_uuid(Uuid::from_u128(1)).unwrap();
    let users =
        TenantUsers { tenant, writes: UserWrites::Replace(crate::domain::UserTable::new(users)) };
    let commit = Commit { users: vec![users], ..Commit::default() };
    write(&mut writer, &commit).unwrap();
    assert!(engine.unsynced_max() < 80 << 10, "{} bytes", engine.unsynced_max());
}
