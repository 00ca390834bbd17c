//! Whoever guesses activation keys, license ids and licensees, from one address and from many: how far
//! he gets, and that nothing tells him how near he was.

use std::time::Instant;

use entitled::domain::{ActivationKey, Commit, Fact, License, LicenseId};
use entitled::http::Rates;
use entitled::store::ChangeFilter;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::activations::{built, license};
use super::harness::*;
use crate::tokens::{ANA, CONTOSO, Draft, FABRIKAM, Version, now};

/// Tries from one address before it is the next one's turn: fewer than stop it.
const EACH: usize = 9;
const ADDRESSES: usize = 60;
const LICENSEE: &str = "Contoso (ana@contoso.example)";

fn key(seed: u8) -> ActivationKey {
    ActivationKey::from_random([seed; ActivationKey::RANDOM])
}

fn id(seed: u8) -> LicenseId {
    LicenseId::from_random([seed; LicenseId::RANDOM])
}

/// Wrong guesses are limited as they are in service.
async fn world(licenses: impl FnOnce(&World) -> Vec<License>) -> World {
    let mut setup = Setup::default();
    setup.rates.wrong = Rates::default().wrong;
    let world = World::with(setup).await;
    let licenses = licenses(&world);
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    world
}

fn token(tenant: &str) -> String {
    Draft::good(Version::V2)
        .claim("tid", tenant)
        .claim("iss", Version::V2.issuer(tenant))
        .claim("oid", ANA)
        .signed()
}

/// A good license, a revoked one, and one of another product: seeds 1, 2 and 3.
fn of_each_kind(it: &World) -> Vec<License> {
    let revoked = License { revoked_at: Some(now()), ..license(2, PRODUCT, &it.store) };
    vec![license(1, PRODUCT, &it.store), revoked, license(3, "other", &it.store)]
}

/// The good license is bound to Contoso; somebody of Fabrikam's, to whom all three are wrong.
async fn bound_elsewhere(world: &World) -> Guesser<'_> {
    let contoso = Guesser { world, token: Some(token(CONTOSO)) };
    assert_eq!(contoso.pastes(0, &key(1).expose()).await.0, 201);
    Guesser { world, token: Some(token(FABRIKAM)) }
}

/// Somebody behind the proxy on this machine.
struct Guesser<'a> {
    world: &'a World,
    token: Option<String>,
}

impl Guesser<'_> {
    async fn sends(&self, from: usize, path: &str, body: &Value) -> (u16, HeaderMap, String) {
        let address = format!("198.51.{}.{}", from / 250, from % 250);
        let mut request = self.world.client.post(self.world.url(path)).body(body.to_string());
        request = request.header("X-Forwarded-For", address);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.unwrap())
    }

    async fn pastes(&self, from: usize, key: &str) -> (u16, HeaderMap, String) {
        let body = json!({ "product": PRODUCT, "key": key });
        self.sends(from, "/v1/activations", &body).await
    }

    async fn shows(&self, from: usize, id: &str, licensee: &str) -> (u16, HeaderMap, String) {
        self.shows_for(PRODUCT, from, id, licensee).await
    }

    async fn shows_for(
        &self,
        product: &str,
        from: usize,
        id: &str,
        licensee: &str,
    ) -> (u16, HeaderMap, String) {
        let license = json!({ "id": id, "licensee": licensee });
        let body = json!({ "product": product, "host": "web", "license": license });
        self.sends(from, "/v1/entitlements", &body).await
    }
}

/// So many may be judged in this time, where `burst` are allowed and as many again each minute.
fn allowed(burst: f64, began: Instant) -> f64 {
    burst + 1.0 + burst * began.elapsed().as_secs_f64() / 60.0
}

fn count(judged: usize) -> f64 {
    f64::from(u32::try_from(judged).unwrap())
}

#[tokio::test]
async fn from_one_address_ten_guesses_a_minute_are_judged_whatever_is_guessed() {
    let world = world(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let nobody = Guesser { world: &world, token: None };
    let (began, mut judged) = (Instant::now(), 0);
    for seed in 0..60 {
        // Twenty ids in turn: no id's own limit is near.
        let licensee = format!("Contoso {seed}");
        let (status, ..) = nobody.shows(1, id(2 + seed % 20).as_str(), &licensee).await;
        judged += usize::from(status == 200);
        assert!(status == 200 || status == 429, "{status}");
    }
    assert!(count(judged) >= 10.0 && count(judged) <= allowed(10.0, began), "{judged}");

    let fabrikam = Guesser { world: &world, token: Some(token(FABRIKAM)) };
    let (began, mut judged) = (Instant::now(), 0);
    for seed in 0..60 {
        let (status, headers, _) = fabrikam.pastes(2, &key(2 + seed % 20).expose()).await;
        judged += usize::from(status == 403);
        assert!(status == 403 || headers.contains_key("retry-after"), "{status}");
    }
    assert!(count(judged) >= 10.0 && count(judged) <= allowed(10.0, began), "{judged}");
    assert_eq!(fabrikam.pastes(2, &key(1).expose()).await.0, 429, "the right one neither");
    let contoso = Guesser { world: &world, token: Some(token(CONTOSO)) };
    assert_eq!(contoso.pastes(2, &key(1).expose()).await.0, 201, "a neighbour is not held up");
}

#[tokio::test]
async fn from_many_addresses_three_hundred_keys_a_minute_are_judged_of_one_tenant() {
    let world = world(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let fabrikam = Guesser { world: &world, token: Some(token(FABRIKAM)) };
    let (began, mut judged) = (Instant::now(), 0);
    for from in 0..ADDRESSES {
        for _ in 0..EACH {
            judged += usize::from(fabrikam.pastes(from, &key(9).expose()).await.0 == 403);
        }
    }
    assert!(count(judged) >= 300.0 && count(judged) <= allowed(300.0, began), "{judged}");
    let contoso = Guesser { world: &world, token: Some(token(CONTOSO)) };
    assert_eq!(contoso.pastes(0, &key(1).expose()).await.0, 201, "another tenant is not held up");
}

#[tokio::test]
async fn from_many_addresses_three_hundred_licensees_a_minute_are_judged_of_one_license() {
    let world = world(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let nobody = Guesser { world: &world, token: None };
    let (began, mut judged) = (Instant::now(), 0);
    for from in 0..ADDRESSES {
        for guess in 0..EACH {
            let licensee = format!("Contoso {from} {guess}");
            judged += usize::from(nobody.shows(from, id(1).as_str(), &licensee).await.0 == 200);
        }
    }
    assert!(count(judged) >= 300.0 && count(judged) <= allowed(300.0, began), "{judged}");
    let other = nobody.shows(ADDRESSES + 3, id(7).as_str(), LICENSEE).await;
    assert_eq!(other.0, 200, "another license is not held up");
}

/// What is said of who asks, and why.
fn reason(text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap();
    answer["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_signs_in_guesses_no_more_licensees_than_others() {
    let world = world(|it| vec![license(1, MAP, &it.store)]).await;
    // His tenant was never read: whatever he types, the reason is that, and not his guess.
    let stranger = Guesser { world: &world, token: Some(token(NOBODY)) };
    let (began, mut judged) = (Instant::now(), 0);
    for guess in 0..30 {
        let licensee = format!("Contoso {guess}");
        let (status, _, text) = stranger.shows_for(MAP, 1, id(1).as_str(), &licensee).await;
        if status == 200 {
            assert_eq!(reason(&text), "never_read");
            judged += 1;
        }
    }
    assert!(count(judged) >= 10.0 && count(judged) <= allowed(10.0, began), "{judged}");
    assert_eq!(stranger.shows_for(MAP, 1, id(1).as_str(), LICENSEE).await.0, 429);
    let (status, _, text) = stranger.shows_for(MAP, 2, id(1).as_str(), LICENSEE).await;
    assert_eq!((status, reason(&text).as_str()), (200, "license_active"), "from elsewhere");
}

#[tokio::test]
async fn a_report_that_was_mistyped_and_is_open_everywhere_shuts_out_nobody() {
    let mut setup = Setup::default();
    setup.rates.wrong = Rates::default().wrong;
    setup.rates.guesses_anywhere = setup.rates.guesses;
    let world = World::with(setup).await;
    let licenses = vec![license(1, MAP, &world.store)];
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    let nobody = Guesser { world: &world, token: None };
    for home in 100..130 {
        assert_eq!(nobody.shows_for(MAP, home, id(1).as_str(), "Contosso").await.0, 200);
    }
    for _ in 0..60 {
        let (status, _, text) = nobody.shows_for(MAP, 1, id(1).as_str(), "Contosso").await;
        assert_eq!((status, reason(&text).as_str()), (200, "license_not_recognized"));
        let (status, _, text) = nobody.shows_for(MAP, 1, "L-1", "Contosso").await;
        assert_eq!((status, reason(&text).as_str()), (200, "license_not_recognized"));
    }
    let (status, _, text) = nobody.shows_for(MAP, 1, id(1).as_str(), LICENSEE).await;
    assert_eq!((status, reason(&text).as_str()), (200, "license_active"));
    let broken = json!({ "product": MAP, "host": "web", "package": "eyJ.x.y" });
    for _ in 0..60 {
        assert_eq!(nobody.sends(1, "/v1/entitlements", &broken).await.0, 200);
    }
}

#[tokio::test]
async fn a_wrong_licensee_and_an_unknown_license_leave_at_the_same_moments() {
    let world = world(|it| vec![license(1, MAP, &it.store)]).await;
    let nobody = Guesser { world: &world, token: None };
    for (from, id, licensee) in [(1, id(1), "Contoso"), (2, id(9), LICENSEE), (3, id(1), "")] {
        let began = Instant::now();
        assert_eq!(nobody.shows_for(MAP, from, id.as_str(), licensee).await.0, 200);
        assert!(began.elapsed().as_millis() >= 10, "{id} {licensee}");
    }
}

/// The answer without what differs each time.
fn same_each_time(
    (status, mut headers, body): (u16, HeaderMap, String),
) -> (u16, HeaderMap, String) {
    for name in ["date", "x-request-id"] {
        headers.remove(name);
    }
    (status, headers, body)
}

#[tokio::test]
async fn wrong_and_foreign_keys_get_the_same_answer_byte_for_byte() {
    let world = world(of_each_kind).await;
    let fabrikam = bound_elsewhere(&world).await;
    let wrong = same_each_time(fabrikam.pastes(1, &key(9).expose()).await);
    let guesses = [&key(1).expose(), &key(2).expose(), &key(3).expose(), "EK1-", "ü"];
    for (from, guess) in (2..).zip(guesses) {
        assert_eq!(same_each_time(fabrikam.pastes(from, guess).await), wrong);
    }
    let nobody = Guesser { world: &world, token: None };
    let unknown = nobody.shows(20, id(9).as_str(), LICENSEE).await.2;
    let said = |text: &str| {
        let mut answer: Value = serde_json::from_str(text).unwrap();
        // They hold the moment.
        for name in ["token", "as_of", "valid_until"] {
            answer[name] = Value::Null;
        }
        answer
    };
    for (from, id, licensee) in [(21, id(1), "Contoso"), (22, id(3), LICENSEE), (23, id(1), "")] {
        let other = nobody.shows(from, id.as_str(), licensee).await.2;
        assert_eq!(said(&other), said(&unknown), "{id} {licensee}");
    }
    // Nor does a trail tell, of a product that takes keys alone, that all of it was right.
    let explained = async |from: usize, id: LicenseId| {
        let license = json!({ "id": id.as_str(), "licensee": LICENSEE });
        let body =
            json!({ "product": PRODUCT, "host": "web", "license": license, "explain": true });
        said(&nobody.sends(from, "/v1/entitlements", &body).await.2)
    };
    let unknown = explained(24, id(9)).await;
    assert!(unknown["trail"]["evidence"].is_array(), "{unknown}");
    assert_eq!(explained(25, id(1)).await, unknown);
}

#[tokio::test]
async fn a_package_shown_from_many_addresses_is_noted_once_and_comes_up_where_people_look() {
    let world = world(|it| vec![license(1, PRODUCT, &it.store)]).await;
    let sold = world.store.mirror().licenses().license(id(1)).unwrap().as_ref().clone();
    let package = built(&world, &sold);
    let nobody = Guesser { world: &world, token: None };
    let body = json!({ "product": PRODUCT, "host": "web", "package": package });
    for from in 0..30 {
        for _ in 0..2 {
            let (status, _, text) = nobody.sends(from, "/v1/entitlements", &body).await;
            assert_eq!(status, 200, "{text}");
        }
    }
    written(&world).await;
    // Sold for ten users: up to twenty addresses are no wonder.
    let filter = ChangeFilter { license: Some(id(1).as_str().into()), ..ChangeFilter::default() };
    let notes: Vec<_> = world.store.changes(&filter).unwrap();
    let notes: Vec<_> = notes.iter().filter_map(|it| it.after.as_ref()).collect();
    let note = Fact::Words("used from 21 addresses within 7 days".into());
    assert_eq!(notes, [&note]);
    let metrics = world.ops_get("/metrics").await.text().await.unwrap();
    for line in ["entitled_licenses{kind=\"user\",state=\"active\"} 1", "entitled_licenses_odd 1"] {
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
    assert!(!metrics.contains(id(1).as_str()), "no license is named");
    let page = world.ops_get("/").await.text().await.unwrap();
    assert!(page.contains("used from 30 addresses within 7 days"), "{page}");
    assert!(!page.contains("198.51"), "addresses are kept by pseudonyms alone");
    let seen = std::sync::Arc::clone(world.store.mirror().licenses().sightings(id(1)).unwrap());
    assert!(seen.iter().all(|(_, text, _)| text.len() == 16 && !text.contains('.')));
}

#[tokio::test]
async fn a_license_shown_in_more_tenants_than_it_was_sold_for_comes_up_where_people_look() {
    let world = world(|it| vec![license(1, MAP, &it.store)]).await;
    for (from, tenant) in (1..).zip([CONTOSO, CONTOSO, FABRIKAM]) {
        let page = world.ops_get("/").await.text().await.unwrap();
        assert!(!page.contains("used from"), "{from}");
        let somebody = Guesser { world: &world, token: Some(token(tenant)) };
        assert_eq!(somebody.shows_for(MAP, from, id(1).as_str(), LICENSEE).await.0, 200);
        written(&world).await;
    }
    let page = world.ops_get("/").await.text().await.unwrap();
    assert!(page.contains("used from 2 tenants within 7 days"), "{page}");
    let seen = std::sync::Arc::clone(world.store.mirror().licenses().sightings(id(1)).unwrap());
    let pseudonym = |text: &str| text.len() == 16 && !FABRIKAM.starts_with(&text[..8]);
    assert!(seen.iter().all(|(_, text, _)| pseudonym(text)), "kept by pseudonyms alone");
    let filter = ChangeFilter { license: Some(id(1).as_str().into()), ..ChangeFilter::default() };
    let notes = world.store.changes(&filter).unwrap();
    let note = Fact::Words("used from 2 tenants within 7 days".into());
    assert_eq!(notes.iter().filter(|it| it.after.as_ref() == Some(&note)).count(), 1);
}

/// Waits for what was queued before.
async fn written(world: &World) {
    world.store.commit(Commit::default()).await.unwrap();
}

/// Mean and variance.
fn moments(all: &[f64]) -> (f64, f64) {
    let n = count(all.len());
    let mean = all.iter().sum::<f64>() / n;
    (mean, all.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Welch's t of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let ((ma, va), (mb, vb)) = (moments(a), moments(b));
    (ma - mb) / (va / count(a.len()) + vb / count(b.len())).sqrt()
}

/// A name, and what is sent.
type Try = (&'static str, &'static str, Value);

/// Prints how long each kind of refusal takes, against the last; the kinds take turns in an order that
/// changes.
async fn measure(guesser: &Guesser<'_>, tries: &[Try], status: u16) {
    let rounds: usize = std::env::var("GUESSES").ok().and_then(|it| it.parse().ok()).unwrap_or(8);
    let mut took = vec![Vec::new(); tries.len()];
    for round in 0..rounds {
        for turn in 0..tries.len() {
            let which = (turn + round) % tries.len();
            let (_, path, body) = &tries[which];
            let began = Instant::now();
            assert_eq!(guesser.sends(1, path, body).await.0, status);
            took[which].push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    // What the machine did meanwhile: the slowest tenth of each is left out.
    for all in &mut took {
        all.sort_by(f64::total_cmp);
        all.truncate(all.len() - all.len() / 10);
    }
    let last = took.last().unwrap();
    for ((name, ..), it) in tries.iter().zip(&took) {
        let (mean, t) = (moments(it).0, welch(it, last));
        println!("{name}: {mean:.2} µs of {}, Welch's t against the last {t:.2}", it.len());
    }
}

async fn measuring(licenses: impl FnOnce(&World) -> Vec<License>) -> World {
    let mut setup = Setup::default();
    let often = setup.rates.address;
    (setup.rates.guesses, setup.rates.guesses_anywhere) = (often, often);
    let world = World::with(setup).await;
    let licenses = licenses(&world);
    world.store.commit(Commit { licenses, ..Commit::default() }).await.unwrap();
    world
}

/// Run by hand: `GUESSES=1500 cargo nextest run --run-ignored only -E 'test(/how_long_wrong/)'
/// --no-capture`.
#[tokio::test]
#[ignore = "measures; run by hand"]
async fn how_long_wrong_and_foreign_keys_take() {
    let world = measuring(of_each_kind).await;
    let fabrikam = bound_elsewhere(&world).await;
    let keys = [("bound elsewhere", 1), ("revoked", 2), ("of another product", 3), ("wrong", 9)];
    let tries = keys.map(|(name, seed)| {
        (name, "/v1/activations", json!({ "product": PRODUCT, "key": key(seed).expose() }))
    });
    measure(&fabrikam, &tries, 403).await;
}

/// Run by hand, as the one before.
#[tokio::test]
#[ignore = "measures; run by hand"]
async fn how_long_wrong_licensees_and_unknown_licenses_take() {
    let world =
        measuring(|it| vec![license(1, MAP, &it.store), license(3, "other", &it.store)]).await;
    let nobody = Guesser { world: &world, token: None };
    let kinds = [
        ("wrong licensee", 1, "Fabrikam (ana@fabrikam.example)"),
        ("of another product", 3, LICENSEE),
        ("unknown", 9, LICENSEE),
    ];
    let tries = kinds.map(|(name, seed, licensee)| {
        let license = json!({ "id": id(seed).as_str(), "licensee": licensee });
        (name, "/v1/entitlements", json!({ "product": MAP, "host": "web", "license": license }))
    });
    measure(&nobody, &tries, 200).await;
}
