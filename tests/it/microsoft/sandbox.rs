//! Our clients against the stand-in: two readings of the same documents, neither knowing the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use entitled::domain::{SubscriptionStatus, TenantId, UserId, Via};
use entitled::microsoft::{
    Clock, Credential, DeltaFrom, ErrorKind, Hosts, Meter, Microsoft, MicrosoftError, PageEnd,
    Read, Secret, Settings, Sleep, UserRow,
};
use entitled::sandbox::story::{
    self, ANA, BI_USERS, CONTOSO, DAN, FINANCE, LITWARE, SYNOPTIC_PLAN, SYNOPTIC_SKU, WOODGROVE,
};
use entitled::sandbox::{Faults, Options, Sandbox, Seat};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// A running stand-in, our clients, and one clock for both that only waiting moves.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) microsoft: Microsoft,
    pub(super) meter: Meter,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Stage {
    async fn new(options: Options, secret: &str) -> Self {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let millis = Arc::new(AtomicI64::new(start.as_millisecond()));
        let (read, moved) = (Arc::clone(&millis), millis);
        let clock: Clock =
            Arc::new(move || Timestamp::from_millisecond(read.load(SeqCst)).unwrap());
        let sleep: Sleep = Arc::new(move |wait: Duration| {
            moved.fetch_add(i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap(), SeqCst);
            Box::pin(async {})
        });
        let (sandbox, serving) = Sandbox::bind(options, Arc::clone(&clock)).await.unwrap();
        let at = |path: &str| format!("{}{path}", sandbox.base()).parse().unwrap();
        let settings = Settings {
            hosts: Hosts {
                login: at("/login"),
                marketplace: at("/marketplace"),
                graph: at("/graph"),
                partner_center: at("/partner_center"),
                report_hosts: Vec::new(),
            },
            tenant: of(story::PUBLISHER_TENANT),
            client_id: story::CLIENT_ID.to_string(),
            credential: Credential::Secret(Secret::new(secret)),
            identity_endpoint: None,
        };
        let microsoft = Microsoft::new(settings, clock, sleep).unwrap();
        let serving = tokio::spawn(serving);
        Self { sandbox, microsoft, meter: Meter::new(), serving }
    }

    pub(super) async fn story() -> Self {
        Self::new(Options::default(), story::CLIENT_SECRET).await
    }

    /// A whole delta sequence, begun anew as often as its errors ask for.
    async fn delta(&self, tenant: Uuid, cursor: Option<&str>) -> (Vec<UserRow>, Arc<str>) {
        let (mut rows, mut from, mut next) = (Vec::new(), cursor, None);
        loop {
            let start = from.map_or(DeltaFrom::Start, DeltaFrom::Cursor);
            let at = next.as_ref().map_or(start, DeltaFrom::Next);
            match self.microsoft.graph().delta_page(&self.meter, of(tenant), at).await {
                Ok(page) => {
                    rows.extend(page.rows.into_iter().map(understood));
                    match page.end {
                        PageEnd::Next(link) => next = Some(link),
                        PageEnd::Delta(cursor) => return (rows, cursor),
                    }
                }
                Err(error) => {
                    begin_again(&error);
                    from = from.filter(|_| error.kind() != ErrorKind::Resync);
                    rows.clear();
                    next = None;
                }
            }
        }
    }

    /// A whole sweep.
    async fn sweep(&self, tenant: Uuid) -> Vec<UserRow> {
        let (mut rows, mut next) = (Vec::new(), None);
        loop {
            let graph = self.microsoft.graph();
            match graph.users_page(&self.meter, of(tenant), next.as_ref()).await {
                Ok(page) => {
                    rows.extend(page.records.into_iter().map(understood));
                    next = page.next;
                    if next.is_none() {
                        return rows;
                    }
                }
                Err(error) => {
                    begin_again(&error);
                    rows.clear();
                    next = None;
                }
            }
        }
    }

    fn truth(&self, tenant: Uuid) -> Vec<Seat> {
        self.sandbox.with_world(|world| world.seats(tenant))
    }
}

fn of(tenant: Uuid) -> TenantId {
    TenantId::from_uuid(tenant).unwrap()
}

fn understood<T>(record: Read<T>) -> T {
    match record {
        Read::Understood(it, _) => it,
        Read::Odd { why, raw } => panic!("{why}: {raw}"),
    }
}

/// Only these may end a sequence in a world whose only trouble passes.
fn begin_again(error: &MicrosoftError) {
    let kinds = [
        ErrorKind::Transient,
        ErrorKind::Throttled,
        ErrorKind::Unreadable,
        ErrorKind::RestartSequence,
        ErrorKind::Resync,
    ];
    assert!(kinds.contains(&error.kind()), "{error}");
}

type Assigned = BTreeMap<(Uuid, Uuid), Vec<Uuid>>;
type Paths = BTreeSet<(Uuid, Uuid, Option<Uuid>)>;

/// What rows say, applied one after the other.
fn applied(rows: &[UserRow]) -> (Assigned, Paths) {
    let (mut assigned, mut paths) = (Assigned::new(), Paths::new());
    for row in rows {
        let user = row.id.as_uuid();
        if row.assigned.is_some() || row.removed.is_some() {
            assigned.retain(|(it, _), _| *it != user);
        }
        if row.states.is_some() || row.removed.is_some() {
            paths.retain(|(it, _, _)| *it != user);
        }
        for licence in row.assigned.iter().flatten() {
            let mut plans: Vec<Uuid> =
                licence.disabled_plans.iter().map(|it| it.as_uuid()).collect();
            plans.sort_unstable();
            assigned.insert((user, licence.sku.as_uuid()), plans);
        }
        for (sku, path) in row.states.iter().flatten() {
            let group = match path.via {
                Via::Direct => None,
                Via::Group(group) => Some(group.as_uuid()),
            };
            paths.insert((user, sku.as_uuid(), group));
        }
    }
    (assigned, paths)
}

/// The same from the world itself.
fn held(seats: &[Seat]) -> (Assigned, Paths) {
    let mut assigned = Assigned::new();
    for seat in seats.iter().filter(|it| it.held) {
        let mut plans = seat.disabled_plans.clone();
        plans.sort_unstable();
        assigned.insert((seat.user, seat.sku), plans);
    }
    let path =
        |seat: &Seat| seat.paths.iter().map(|it| (seat.user, seat.sku, *it)).collect::<Vec<_>>();
    (assigned, seats.iter().flat_map(path).collect())
}

#[tokio::test]
async fn the_storys_subscriptions_are_all_understood() {
    let stage = Stage::story().await;
    let (mut next, mut all) = (None, Vec::new());
    loop {
        let marketplace = stage.microsoft.marketplace();
        let page = marketplace.list_page(&stage.meter, next.as_ref()).await.unwrap();
        all.extend(page.records.into_iter().map(understood));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let of = |tenant: Uuid| all.iter().find(|it| it.beneficiary.tenant == Some(tenant)).unwrap();
    assert_eq!(of(story::RELECLOUD.tenant).status, SubscriptionStatus::Suspended);
    assert_eq!(of(story::LAMNA.tenant).status, SubscriptionStatus::PendingFulfillmentStart);
    assert_eq!(of(story::LUCERNE.tenant).status, SubscriptionStatus::Unsubscribed);
    assert!(of(story::GRAPHIC.tenant).free_trial);
    assert_eq!(of(story::WINGTIP.tenant).quantity, Some(3));
    assert_eq!(of(story::PROSEWARE.tenant).quantity, None);
    assert_eq!(of(story::PERSONAL_TENANT).beneficiary.tenant_id(), None);
    let coho = of(story::COHO.tenant);
    assert_eq!(coho.purchaser.tenant, Some(story::RESELLER_TENANT));
    let one = stage.microsoft.marketplace().subscription(&stage.meter, coho.id).await.unwrap();
    assert!(understood(one.unwrap()).says_the_same(coho));
}

#[tokio::test]
async fn contosos_directory_reads_the_same_by_every_way() {
    let stage = Stage::story().await;
    let (graph, tenant) = (stage.microsoft.graph(), of(CONTOSO.tenant));
    let organization = graph.organization(&stage.meter, tenant).await.unwrap();
    assert_eq!(organization.name.as_deref(), Some("Contoso"));
    let skus = graph.subscribed_skus(&stage.meter, tenant).await.unwrap();
    let skus: Vec<_> = skus.into_iter().map(understood).collect();
    let synoptic = skus.iter().find(|it| it.id.as_uuid() == SYNOPTIC_SKU).unwrap();
    assert!(synoptic.service_plans.iter().any(|it| it.id.as_uuid() == SYNOPTIC_PLAN));
    graph.lifecycles(&stage.meter, tenant).await.unwrap();
    let groups = graph.licensed_groups(&stage.meter, tenant, synoptic.id).await.unwrap();
    let groups: BTreeSet<Uuid> = groups.into_iter().map(|it| understood(it).id.as_uuid()).collect();
    assert_eq!(groups, [BI_USERS, FINANCE].into());

    let truth = held(&stage.truth(CONTOSO.tenant));
    let (rows, cursor) = stage.delta(CONTOSO.tenant, None).await;
    assert_eq!(applied(&rows), truth);
    assert_eq!(applied(&stage.sweep(CONTOSO.tenant).await), truth);
    let users: Vec<UserId> = rows.iter().map(|it| it.id).collect();
    let batch = graph.assignment_states(&stage.meter, tenant, &users).await.unwrap();
    let batch: Vec<UserRow> = batch.into_iter().map(|(_, row)| row.unwrap()).collect();
    assert_eq!(applied(&batch), truth);

    // A round later: what changed comes, and the paths by batch.
    stage.sandbox.with_world(|world| {
        world.unassign(CONTOSO.tenant, ANA.user, SYNOPTIC_SKU).unwrap();
        world.assign(CONTOSO.tenant, DAN.user, SYNOPTIC_SKU, &[]).unwrap();
    });
    let (changed, _) = stage.delta(CONTOSO.tenant, Some(&cursor)).await;
    let users: BTreeSet<UserId> = changed.iter().map(|it| it.id).collect();
    assert_eq!(users, [ANA.user, DAN.user].map(UserId::from_uuid).into());
    let users: Vec<UserId> = users.into_iter().collect();
    let paths = graph.assignment_states(&stage.meter, tenant, &users).await.unwrap();
    let mut all = rows;
    all.extend(changed);
    all.extend(paths.into_iter().map(|(_, row)| row.unwrap()));
    assert_eq!(applied(&all), held(&stage.truth(CONTOSO.tenant)));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let stage = Stage::story().await;
    let ask = async |stage: &Stage, tenant: Uuid| {
        stage.microsoft.graph().subscribed_skus(&stage.meter, of(tenant)).await.map(|it| it.len())
    };
    assert_eq!(ask(&stage, LITWARE.tenant).await.unwrap_err().kind(), ErrorKind::Consent);
    ask(&stage, WOODGROVE.tenant).await.unwrap();
    let take_away = |roles: Option<Vec<String>>| {
        stage.sandbox.with_world(|world| world.consent(WOODGROVE.tenant, roles).unwrap());
    };
    take_away(Some(vec!["User.Read.All".into()]));
    stage.sandbox.with_world(|world| world.advance_clock(jiff::SignedDuration::from_hours(2)));
    let error = ask(&stage, WOODGROVE.tenant).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    assert!(error.to_string().contains("LicenseAssignment.Read.All"), "{error}");
    take_away(Some(story::ROLES.map(str::to_owned).to_vec()));
    ask(&stage, WOODGROVE.tenant).await.unwrap();

    let nowhere = Uuid::from_u128(0xdead);
    assert_eq!(ask(&stage, nowhere).await.unwrap_err().kind(), ErrorKind::Consent);
    for (secret, words) in [("wrong", "instead of its value"), (story::EXPIRED_SECRET, "expired")] {
        let stage = Stage::new(Options::default(), secret).await;
        let error = ask(&stage, CONTOSO.tenant).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Credential);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn the_signing_keys_come_with_their_issuers() {
    let stage = Stage::story().await;
    let set: Value =
        serde_json::from_slice(&stage.microsoft.keys().fetch().await.unwrap()).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let issuers: Vec<&str> = keys.iter().filter_map(|it| it["issuer"].as_str()).collect();
    assert!(issuers.iter().any(|it| it.contains("{tenantid}")), "{issuers:?}");
    assert!(issuers.iter().any(|it| it.contains("9188040d")), "{issuers:?}");
}

#[tokio::test]
async fn a_directory_full_of_trouble_still_reads_complete() {
    let faults: Faults = "seed=11,page=90,graph.429=0.05,graph.429_without_retry_after=0.02,\
        graph.500=0.03,graph.503_html=0.03,graph.truncated=0.03,graph.empty_page=0.1,\
        graph.duplicates=0.1,graph.expired_page=0.01,token.503=0.2,batch.429=0.1,batch.503=0.05"
        .parse()
        .unwrap();
    let options = Options { tenants: 1, users: 1_200, faults, ..Options::default() };
    let stage = Stage::new(options, story::CLIENT_SECRET).await;
    let known: BTreeSet<Uuid> = story::CUSTOMERS.iter().map(|it| it.tenant).collect();
    let tenants = stage.sandbox.with_world(|world| world.tenants());
    let users = |tenant: &Uuid| stage.sandbox.with_world(|world| world.users(*tenant).len());
    let tenant = tenants.into_iter().filter(|it| !known.contains(it)).max_by_key(users).unwrap();

    let truth = held(&stage.truth(tenant));
    assert!(truth.0.len() > 100, "there is something to read");
    let (rows, cursor) = stage.delta(tenant, None).await;
    assert_eq!(applied(&rows), truth);
    assert_eq!(applied(&stage.sweep(tenant).await), truth);
    let users: Vec<UserId> = rows.iter().take(300).map(|it| it.id).collect();
    let graph = stage.microsoft.graph();
    let batch = graph.assignment_states(&stage.meter, of(tenant), &users).await.unwrap();
    assert!(batch.iter().map(|(id, _)| *id).eq(users), "in order, none left out");
    assert!(batch.iter().all(|(_, row)| row.is_ok()));

    let dead: Faults = "delta.410=1".parse().unwrap();
    stage.sandbox.with_world(|world| world.set_faults(dead));
    let from = DeltaFrom::Cursor(&cursor);
    let error = graph.delta_page(&stage.meter, of(tenant), from).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resync);
    assert!(stage.meter.throttled() > Duration::ZERO);
}
