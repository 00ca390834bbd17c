//! A customer's administrator consents, takes it back, or lives in another cloud.

use entitled::domain::{Cloud, Consent, Grant, Outcome, Permission, TenantId, TenantView};
use entitled::sandbox::{Faults, NewUser, story};
use entitled::store::ChangeFilter;
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

use crate::cli::with;
use crate::world::World;

const LITWARE: Uuid = story::LITWARE.tenant;
const CONTOSO: Uuid = story::CONTOSO.tenant;

fn tenant(id: Uuid) -> TenantId {
    id.to_string().parse().unwrap()
}

fn view(world: &World, id: Uuid) -> Arc<TenantView> {
    Arc::clone(world.mirror().tenant(tenant(id)).unwrap())
}

/// A world whose daemon knows of Litware, by its subscription.
async fn known() -> World {
    let world = World::new().await;
    world.until("Litware is known", |it| it.mirror().tenant(tenant(LITWARE)).is_some()).await;
    world
}

/// The link that an operator sends to a tenant's administrator.
async fn link(world: &World, id: Uuid) -> String {
    let line = format!("tenants consent-url {id}");
    with(&world.config_path(), &line).await.ok().out.trim().to_owned()
}

/// Where the browser is sent by Microsoft when the administrator follows the link.
async fn follow(world: &World, link: &str) -> String {
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let answer = browser.build().unwrap().get(link).send().await.unwrap();
    assert_eq!(answer.status(), 302, "{link}");
    let to = answer.headers()["location"].to_str().unwrap().to_owned();
    let path = to.strip_prefix("https://lic.vizmaker.example").unwrap();
    format!("http://{}{path}", world.daemon.public)
}

struct Page {
    status: u16,
    html: String,
    policy: String,
}

async fn open(address: &str) -> Page {
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = browser.get(address).send().await.unwrap();
    let status = answer.status().as_u16();
    let policy = answer.headers().get("content-security-policy");
    let policy = policy.map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    Page { status, html: answer.text().await.unwrap(), policy }
}

impl Page {
    #[track_caller]
    fn shows(self, status: u16, words: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.html);
        assert!(self.html.contains(words), "{words}: {}", self.html);
        for wanted in ["<html lang=\"en\">", "<main>", "<h1>"] {
            assert!(self.html.contains(wanted), "{wanted}: {}", self.html);
        }
        assert!(self.policy.contains("default-src 'none'"), "{}", self.policy);
        assert!(!self.html.contains("<script"), "{}", self.html);
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_follows_the_link_and_the_tenant_is_read_at_once() {
    let world = World::new().await;
    world.sync().await;
    let before = view(&world, LITWARE);
    assert_eq!(before.tenant.consent, Consent::Missing);
    assert_eq!(before.access.missing().count(), Permission::ALL.len());
    let back = follow(&world, &link(&world, LITWARE).await).await;
    let page = open(&back).await.shows(200, "Thank you");
    assert!(page.html.contains("Litware") && page.html.contains("We can see which users"));
    assert!(!page.html.contains("What was not given"), "{}", page.html);
    // The page asked for it: nobody waits for the hour to pass.
    let mut revisions = world.daemon.store.revisions();
    while view(&world, LITWARE).tenant.consent != Consent::Granted {
        revisions.changed().await.unwrap();
    }
    let after = view(&world, LITWARE);
    assert!(after.access.all().all(|(_, grant)| grant == Grant::Granted), "{}", after.access);
    // To open it again does no harm.
    open(&back).await.shows(200, "Thank you");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_read_also_if_nobody_waits_for_the_page() {
    let world = World::new().await;
    world.sync().await;
    let back = follow(&world, &link(&world, LITWARE).await).await;
    world.microsoft(|it| it.set_faults("slow=5s".parse().unwrap()));
    let before = world.sandbox.requests().len();
    let waiting = tokio::spawn(async move { open(&back).await });
    world.until("Microsoft is asked", |it| it.sandbox.requests().len() > before).await;
    assert_eq!(view(&world, LITWARE).tenant.consent, Consent::Missing);
    waiting.abort();
    world.microsoft(|it| it.set_faults(Faults::default()));
    world.until("Litware is read", |it| view(it, LITWARE).tenant.consent == Consent::Granted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_the_address_is_believed() {
    let world = World::new().await;
    world.sync().await;
    let asked = |world: &World| world.sandbox.requests().len();
    let address = link(&world, LITWARE).await;
    let state = address.split_once("&state=").unwrap().1.to_owned();
    let at = |query: &str| format!("http://{}/marketplace/consent{query}", world.daemon.public);
    let before = asked(&world);
    for query in ["", "?admin_consent=True", "?state=x"] {
        open(&at(query)).await.shows(400, "This link is incomplete");
    }
    let forged = format!("?admin_consent=True&tenant={LITWARE}&state={}", state.to_uppercase());
    open(&at(&forged)).await.shows(400, "This link is incomplete");
    let other = format!("?admin_consent=True&tenant={CONTOSO}&state={state}");
    let page = open(&at(&other)).await.shows(403, "Another organization has consented");
    assert!(page.html.contains("/v2.0/adminconsent?"), "a way to try again: {}", page.html);
    let evil = "error=access_denied&error_description=AADSTS65004:+mia@customer.example+<script>";
    let page = open(&at(&format!("?{evil}&state={state}"))).await;
    let page = page.shows(403, "has not consented");
    assert!(page.html.contains("AADSTS65004") && !page.html.contains("mia@"), "{}", page.html);
    assert_eq!(asked(&world), before, "Microsoft was not asked for any of them");
    // What the address says is not what is so: the tenant has not let us in.
    let lie = format!("?admin_consent=True&tenant={LITWARE}&state={state}");
    open(&at(&lie)).await.shows(202, "waiting for Microsoft");
    world.advance(SignedDuration::from_hours(30 * 24));
    open(&at(&lie)).await.shows(400, "This link has expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_who_consents_in_the_portal_comes_without_our_link() {
    let world = World::new().await;
    world.sync().await;
    let at = |tenant: Uuid| {
        let query = format!("admin_consent=True&tenant={tenant}");
        format!("http://{}/marketplace/consent?{query}", world.daemon.public)
    };
    open(&at(LITWARE)).await.shows(202, "waiting for Microsoft");
    assert_ne!(view(&world, LITWARE).tenant.consent, Consent::Granted, "a lie changes nothing");
    let roles = story::ROLES.iter().map(ToString::to_string).collect();
    world.microsoft(|it| it.consent(LITWARE, Some(roles))).unwrap();
    let page = open(&at(LITWARE)).await.shows(200, "Thank you");
    // Whoever can write a tenant's id can open this page.
    assert!(!page.html.contains("Litware") && !page.html.contains("We can"), "{}", page.html);
    world.until("Litware is read", |it| view(it, LITWARE).tenant.consent == Consent::Granted).await;
    open(&at(LITWARE)).await.shows(429, "");
    let stranger = Uuid::from_u128(0xdead);
    open(&at(stranger)).await.shows(400, "This link is incomplete");
    let declined = format!("{}&error=access_denied", at(LITWARE));
    open(&declined).await.shows(400, "This link is incomplete");
    let named = |it: &str| it.contains(&stranger.to_string());
    assert!(!world.sandbox.requests().iter().any(|it| named(&it.target)), "nobody was asked");
    assert!(world.mirror().tenant(tenant(stranger)).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_consent_comes_back_with_a_way_to_try_again() {
    let world = known().await;
    let declined = format!("{}&decline=1", link(&world, LITWARE).await);
    let page = open(&follow(&world, &declined).await).await.shows(403, "has not consented");
    assert!(page.html.contains("Try again"), "{}", page.html);
    assert_ne!(view(&world, LITWARE).tenant.consent, Consent::Granted);
}

/// What `tenants show` says of a permission.
fn said<'a>(row: &'a Value, permission: &str) -> &'a Value {
    let all = row["permissions"].as_array().unwrap();
    all.iter().find(|it| it["permission"] == permission).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_with_what_works_without_it() {
    let world = World::new().await;
    world.sync().await;
    let check = async |roles: &[&str], consent: &str, missing: &[&str], words: &str| {
        let roles = roles.iter().map(ToString::to_string).collect();
        world.microsoft(|it| it.consent(CONTOSO, Some(roles))).unwrap();
        world.advance(SignedDuration::from_hours(2));
        world.sync_tenant(CONTOSO).await;
        let line = format!("tenants show {CONTOSO} --json");
        let row = with(&world.config_path(), &line).await.ok().rows().remove(0);
        assert_eq!(row["consent"], consent, "{row}");
        let all = row["permissions"].as_array().unwrap();
        let lacks = all.iter().filter(|it| it["state"] == "missing");
        let lacks: Vec<_> = lacks.map(|it| it["permission"].as_str().unwrap()).collect();
        assert_eq!(lacks, missing, "{row}");
        for permission in missing {
            assert!(said(&row, permission)["without"].is_string(), "{row}");
        }
        assert!(row.to_string().contains(words), "{words}: {row}");
    };
    let (user, sku) = ("User.Read.All", "LicenseAssignment.Read.All");
    let (organization, group) = ("Organization.Read.All", "Group.Read.All");
    check(&[user, sku, organization], "granted", &[group], "a group shows by its id").await;
    check(&[user, organization], "granted", &[sku, group], "everything works").await;
    check(&[user, sku], "granted", &[organization, group], "the tenant's name stays").await;
    check(&[sku, organization], "revoked", &[user, group], "nobody's licence can be seen").await;
    check(&[user], "revoked", &[sku, organization, group], "told to be of one of our").await;
    check(&["Directory.Read.All"], "granted", &[], "see which users hold").await;
    let journal = world.daemon.store.changes(&ChangeFilter::default()).unwrap();
    let told = journal.iter().filter_map(|it| it.after.as_ref());
    let told = told.filter(|it| format!("{it:?}").contains("User.Read.All missing"));
    assert_eq!(told.count(), 1, "it is journaled when it goes");
    let shown = with(&world.config_path(), &format!("tenants show {LITWARE}")).await.ok().out;
    assert!(shown.contains("consent-url") && shown.contains("missing"), "{shown}");
}

/// The whole ladder: what a tenant that takes its consent back still gets, hour by hour.
async fn ladder(policy: &str, steps: &[(i64, &str, &str)]) {
    let world = World::with(entitled::sandbox::Options::default(), policy).await;
    world.sync().await;
    let stranger = world.microsoft(|it| it.add_user(CONTOSO, NewUser::default())).unwrap();
    let stranger = story::Person { user: stranger, ..story::ANA };
    world.microsoft(|it| it.consent(CONTOSO, None)).unwrap();
    let mut now = 0;
    for (hours, held, nothing) in steps {
        world.advance(SignedDuration::from_hours(hours - now));
        now = *hours;
        if now > 1 {
            assert_eq!(world.sync_tenant(CONTOSO).await.outcome, Outcome::Failed);
            assert_eq!(view(&world, CONTOSO).tenant.consent, Consent::Revoked, "{hours} h");
        }
        let answers = world.answer(story::ANA, "synoptic-panel").await;
        assert_eq!(answers, *held, "{policy} after {hours} h");
        assert_eq!(world.answer(stranger, "synoptic-panel").await, *nothing, "after {hours} h");
    }
    let all = Some(story::ROLES.iter().map(ToString::to_string).collect());
    world.microsoft(|it| it.consent(CONTOSO, all)).unwrap();
    world.sync_tenant(CONTOSO).await;
    assert_eq!(view(&world, CONTOSO).tenant.consent, Consent::Granted);
    assert_eq!(world.answer(story::ANA, "synoptic-panel").await, steps[0].1);
    assert_eq!(world.answer(stranger, "synoptic-panel").await, steps[0].2);
}

#[tokio::test]
async fn who_takes_the_consent_back_keeps_what_is_known_until_it_is_too_old() {
    let (yes, no) = ("active seat_direct", "unlicensed not_licensed");
    let unknown = "unknown no_consent stale";
    ladder(
        "[policy]\non_stale = \"deny\"\n",
        &[
            (0, yes, no),
            (2, "active seat_direct stale", unknown),
            (71, "active seat_direct stale", unknown),
            (73, "unknown stale stale", unknown),
            (24 * 200, "unknown stale stale", unknown),
        ],
    )
    .await;
    ladder(
        "",
        &[
            (0, yes, no),
            (71, "active seat_direct stale", unknown),
            (73, "grace stale stale", unknown),
            (24 * 34, "unknown no_consent stale", unknown),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_a_government_cloud_is_recognized_and_answered_by_rule_6() {
    let world = known().await;
    world.microsoft(|it| it.nationalize(LITWARE, 90_002)).unwrap();
    world.advance(SignedDuration::from_hours(2));
    let run = world.sync_tenant(LITWARE).await;
    assert!(run.error.as_deref().unwrap_or_default().contains("government cloud"), "{run:?}");
    let it = view(&world, LITWARE);
    assert_eq!(it.tenant.cloud, Cloud::National);
    let kai = story::Person { tenant: LITWARE, ..story::KAI };
    assert_eq!(world.answer(kai, "synoptic-panel").await, "unlicensed host_unsupported");
    let line = format!("tenants show {LITWARE} --json");
    let row = with(&world.config_path(), &line).await.ok().rows().remove(0);
    assert_eq!(row["cloud"], "national");
}
