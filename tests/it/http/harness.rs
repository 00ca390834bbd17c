//! A daemon's listeners without the rest of the daemon: a store with facts in it, a pretend Entra,
//! a clock that the test sets.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use entitled::config::{Caller, Permission, Secret, Tls};
use entitled::domain::{
    CapabilityStatus, Catalog, Channel, Cloud, Commit, Consent, Coverage, Features, HybridMode,
    Licence, Outcome, Party, Path, PathState, Plan, Policy, Product, RawRecord, Sku, SkuId,
    SourceKey, SourceState, Subscription, Tenant, TenantId, TenantUsers, Units, UserId,
    UserLicences, UserTable, UserWrites, Via,
};
use entitled::http::ops::{OpsSettings, OpsState, registry, serve_ops};
use entitled::http::public::{PublicSettings, PublicState, serve_public};
use entitled::http::tls::acceptor;
use entitled::http::{Limits, Metrics, Rate, Rates};
use entitled::store::{Guard, Store, StoreOptions};
use entitled::sync::keys::EntraKeys;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::samples;
use crate::tokens::{ANA, CONTOSO, Draft, PretendEntra, Version, now, rules};

pub(crate) const PRODUCT: &str = "synoptic-panel";
/// A product whose licenses are shown by id and licensee.
pub(crate) const MAP: &str = "field-map";
pub(crate) const SHOP: &str = "ent_c2hvcC1zaG9wLXNob3Atc2hvcC1zaG9wLXNob3Atc2g";
pub(crate) const PRINTER: &str = "ent_cHJpbnRlci1wcmludGVyLXByaW50ZXItcHJpbnRlci0";
pub(crate) const SELLER: &str = "ent_c2VsbGVyLXNlbGxlci1zZWxsZXItc2VsbGVyLXNlbGw";
/// Has a subscription with two seats.
pub(crate) const WINGTIP: &str = "55555555-eeee-4eee-8eee-555555555555";
/// In Contoso without any licence.
pub(crate) const DAN: &str = "66666666-cccc-4ccc-8ccc-666666666666";
/// A tenant that nobody ever heard of.
pub(crate) const NOBODY: &str = "77777777-eeee-4eee-8eee-777777777777";

pub(crate) struct World {
    pub(crate) public: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) store: Store,
    pub(crate) entra: PretendEntra,
    pub(crate) client: reqwest::Client,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
    clock: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) rates: Rates,
    pub(crate) entra: PretendEntra,
    pub(crate) tls: Option<Tls>,
}

impl Default for Setup {
    /// Limits as they are, and rates that no test reaches by accident.
    fn default() -> Self {
        let often = Rate { burst: NonZeroU32::new(100_000).unwrap(), per: Duration::from_secs(1) };
        let rates = Rates {
            address: often,
            tenant: often,
            caller: often,
            wrong: often,
            ..Rates::default()
        };
        let limits = Limits::default();
        Self { limits, rates, entra: PretendEntra::with(&["org-1"]), tls: None }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { guard: Guard::Off, ..StoreOptions::new(folder.path()) };
        let store = Store::open(options, now()).unwrap().0;
        store.commit(facts()).await.unwrap();
        let clock = Arc::new(AtomicI64::new(now().as_second()));
        let at = Arc::clone(&clock);
        let time: entitled::sync::Clock =
            Arc::new(move || Timestamp::from_second(at.load(Ordering::SeqCst)).unwrap());
        let fetch = setup.entra.fetch();
        let entra = Arc::new(EntraKeys::new(store.clone(), fetch, Arc::clone(&time)));
        let day = jiff::SignedDuration::from_hours(24);
        let watch = entitled::sync::inbox::Watch::new(store.clone(), Arc::clone(&time), day);
        let (catalog, metrics) = (Arc::new(catalog()), Metrics::default());
        let public = PublicState::new(PublicSettings {
            store: store.clone(),
            catalog: Arc::clone(&catalog),
            policy: Policy::default(),
            messages: Arc::default(),
            callers: callers(),
            rules: rules(),
            webhooks: webhook_rules(),
            watch: watch.clone(),
            entra: Arc::clone(&entra),
            lookups: entitled::sync::lookups::Lookups::default(),
            notifications: entitled::sync::notifications::Notifications::default(),
            issuer: "https://lic.example.test".to_owned(),
            landing: None,
            consent: None,
            rates: setup.rates,
            seats: None,
            metrics: metrics.clone(),
            clock: Arc::clone(&time),
        });
        let ops = OpsState::new(OpsSettings {
            store: store.clone(),
            catalog,
            policy: Policy::default(),
            notify: None,
            seats: None,
            entra: Arc::clone(&entra),
            watch,
            metrics,
            registry: registry(),
            activities: Arc::new(|| Arc::new(Vec::new())),
            clock: time,
        });
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (public_listener, ops_listener) = (bind().await.unwrap(), bind().await.unwrap());
        let addresses = (public_listener.local_addr().unwrap(), ops_listener.local_addr().unwrap());
        let stop = cancel.clone();
        let tls = setup.tls.map(|files| acceptor(&files).unwrap());
        tasks.spawn(serve_public(public_listener, public, tls, setup.limits, stop));
        tasks.spawn(serve_ops(ops_listener, ops, setup.limits, cancel.clone()));
        let stop = cancel.clone();
        tasks.spawn(async move { entra.run(stop).await });
        Self {
            public: addresses.0,
            ops: addresses.1,
            store,
            entra: setup.entra,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            cancel,
            tasks,
            clock,
            _folder: folder,
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// Asks as a server with the shop's key.
    pub(crate) async fn ask(&self, body: Value) -> (u16, Value) {
        self.post("/v1/entitlements", Some(SHOP), body.to_string()).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        credential: Option<&str>,
        body: String,
    ) -> (u16, Value) {
        let mut request = self.client.post(self.url(path)).body(body);
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn ops_get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://{}{path}", self.ops)).send().await.unwrap()
    }
}

/// A user's token of Contoso, valid now.
pub(crate) fn token_of(user: &str) -> String {
    Draft::good(Version::V2).claim("oid", user).signed()
}

pub(crate) fn question(tenant: &str, user: &str) -> Value {
    json!({ "product": PRODUCT, "host": "web", "tenant": tenant, "user": user })
}

fn webhook_rules() -> entitled::tokens::WebhookRules {
    entitled::tokens::WebhookRules::new(
        crate::tokens::LOGIN,
        crate::tokens::STS,
        CONTOSO.parse().unwrap(),
        crate::tokens::CLIENT_ID,
    )
}

fn callers() -> Vec<Caller> {
    let caller = |name: &str, key: &str, may: &[Permission]| Caller {
        name: name.to_owned(),
        key: Secret::new(key),
        may: may.to_vec(),
    };
    vec![
        caller("web-shop", SHOP, &[Permission::Query]),
        caller("printer", PRINTER, &[Permission::Usage]),
        caller("seller", SELLER, &[Permission::Licenses]),
    ]
}

fn catalog() -> Catalog {
    let plan = |service_id: &str, channel, coverage| Plan {
        service_id: service_id.parse().unwrap(),
        channel,
        coverage,
        features: Features::from(["maps".into()]),
        sku_ids: Vec::new(),
        service_plan_ids: Vec::new(),
        release_after: SignedDuration::from_hours(30 * 24),
    };
    let panel = Product {
        id: PRODUCT.parse().unwrap(),
        name: "Synoptic Panel".into(),
        hybrid: HybridMode::Entra,
        features: [(Channel::Appsource, Features::from(["maps".into()]))].into(),
        plans: vec![
            plan("vizmaker.synoptic.team", Channel::Appsource, Coverage::Tenant),
            plan("vizmaker.suite.seats", Channel::Saas, Coverage::Seats),
        ],
    };
    let map = Product {
        id: MAP.parse().unwrap(),
        name: "Field Map".into(),
        hybrid: HybridMode::Licensee,
        features: [].into(),
        plans: vec![plan("vizmaker.map.team", Channel::Appsource, Coverage::Tenant)],
    };
    Catalog::new([panel, map])
}

fn sku_id() -> SkuId {
    SkuId::from_uuid(Uuid::from_u128(0xface))
}

/// Contoso, where Ana has a licence; Wingtip, with two seats for whoever asks first.
fn facts() -> Commit {
    let contoso: TenantId = CONTOSO.parse().unwrap();
    let ana: UserId = ANA.parse().unwrap();
    let read = SourceState {
        last_complete: Some(now()),
        last_full: Some(now()),
        last_run: Some(now()),
        last_outcome: Some(Outcome::Complete),
        ..SourceState::default()
    };
    let tenant = |id: TenantId, name: &str| Tenant {
        id,
        name: Some(name.into()),
        consent: Consent::Granted,
        cloud: Cloud::Public,
    };
    let path = Path {
        via: Via::Direct,
        state: PathState::Active,
        error: None,
        disabled_plans: Vec::new(),
    };
    let licence =
        Licence { sku: sku_id(), assigned: true, disabled_plans: Vec::new(), paths: vec![path] };
    let wingtip: TenantId = WINGTIP.parse().unwrap();
    Commit {
        subscriptions: vec![(subscription(wingtip), RawRecord::from("{}"))],
        tenants: vec![tenant(contoso, "Contoso <b>"), tenant(wingtip, "Wingtip")],
        skus: vec![(contoso, vec![sku()])],
        users: vec![TenantUsers {
            tenant: contoso,
            writes: UserWrites::Replace(UserTable::new([(ana, UserLicences::new([licence]))])),
        }],
        sources: vec![
            (SourceKey::SUBSCRIPTIONS, read.clone()),
            (SourceKey::directory(contoso), read.clone()),
            (SourceKey::directory(wingtip), read),
        ],
        ..Commit::default()
    }
}

fn sku() -> Sku {
    Sku {
        id: sku_id(),
        part_number: "vizmaker.synoptic.team".into(),
        status: CapabilityStatus::Enabled,
        service_plans: Vec::new(),
        units: Units { enabled: 5, consumed: 1, ..Units::default() },
        next_lifecycle: None,
        missing_since: None,
    }
}

fn subscription(tenant: TenantId) -> Subscription {
    let party = Party { tenant: Some(tenant.as_uuid()), user: None };
    Subscription {
        offer: "suite".into(),
        plan: "seats".into(),
        name: "Wingtip's".into(),
        quantity: Some(2),
        beneficiary: party,
        purchaser: party,
        observed_at: now(),
        ..samples::subscription(0x5ea7)
    }
}
