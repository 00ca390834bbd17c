//! Microsoft is down, refuses us, or nobody has set us up: the page says so, and nothing is lost.

use std::io::Write;
use std::sync::{Arc, Mutex};

use entitled::config::Config;
use entitled::sandbox::{Options, story};
use tracing_subscriber::fmt::MakeWriter;
use wiremock::matchers::{any, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Browser, World, activations, buy, link, seats};

async fn adjusted(adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> World {
    World::adjusted(Options::default(), "", Box::new(adjust)).await
}

#[tokio::test]
async fn microsoft_being_down_loses_nothing_at_any_step() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let away = "Microsoft does not answer at the moment";
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, bought)).await;
    let back = jo.authorized(&sent, story::JO, |_| {}).await;

    world.microsoft(|it| it.outage(true));
    let page = jo.get(&back).await.shows(503, away);
    assert_eq!(page.header("retry-after"), "60");
    world.microsoft(|it| it.outage(false));
    // The same address works, as does the button of the page.
    let again = jo.clone().step("/marketplace/landing/account").await;
    assert_eq!(again.status, 303);
    let entered = jo.step(&back).await;
    assert_eq!(entered.header("location"), "/marketplace/landing/purchase");

    world.microsoft(|it| it.outage(true));
    jo.get("/marketplace/landing/purchase").await.shows(503, away);
    world.microsoft(|it| it.outage(false));
    let form = jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");

    world.microsoft(|it| it.outage(true));
    jo.press(&form).await.shows(503, away);
    world.microsoft(|it| it.outage(false));
    assert_eq!(activations(&world), 0);
    let form = jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");
    jo.press(&form).await.shows(200, "Activating Viz Suite");
}

#[tokio::test]
async fn an_app_that_microsoft_refuses_is_the_operators_trouble() {
    let marketplace = MockServer::start().await;
    let text = "The token is invalid, expired or missing, or belongs to another application";
    Mock::given(path_regex("resolve$"))
        .respond_with(ResponseTemplate::new(403).set_body_json(text))
        .mount(&marketplace)
        .await;
    let to = marketplace.uri().parse().unwrap();
    let world = adjusted(move |it: &mut Config| it.microsoft.marketplace = Clone::clone(&to)).await;
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, buy(&world, seats())), story::JO).await;
    let page = page.shows(503, "This page does not work at the moment");
    for remedy in ["20e940b3-4c77-4b0b-9a53-9e16a1b010a7", "Partner Center", "preview"] {
        assert!(page.html.contains(remedy), "{remedy}: {}", page.html);
    }
}

/// A marketplace that takes the activation and does not say so, or refuses it.
#[tokio::test]
async fn an_activation_that_microsoft_refuses_says_so() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let form = Browser::new(&world).arrive(&link(&world, bought), story::JO).await;
    assert!(form.html.contains("<form"));
    let record = world.sandbox.base();
    let record: serde_json::Value = {
        let token = world.microsoft(|it| it.landing_token(bought)).unwrap();
        assert!(!token.is_empty() && !record.is_empty());
        let raw = entitled::domain::SubscriptionId::from_uuid(bought);
        let raw = world.daemon.store.raw_subscription(raw).unwrap().unwrap();
        serde_json::from_str(&raw).unwrap()
    };
    let marketplace = MockServer::start().await;
    let refused = ResponseTemplate::new(400)
        .set_body_json(serde_json::json!({"code": "BadRequest", "message": "no"}));
    Mock::given(path_regex("activate$")).respond_with(refused).mount(&marketplace).await;
    let plans = ResponseTemplate::new(200).set_body_json(serde_json::json!({"plans": []}));
    Mock::given(path_regex("listAvailablePlans")).respond_with(plans).mount(&marketplace).await;
    let resolved = serde_json::json!({
        "id": bought, "subscriptionName": "x", "offerId": "viz-suite", "planId": "team",
        "quantity": 3, "subscription": record,
    });
    let resolved = ResponseTemplate::new(200).set_body_json(resolved);
    Mock::given(path_regex("resolve$")).respond_with(resolved).mount(&marketplace).await;
    let one = ResponseTemplate::new(200).set_body_json(record);
    Mock::given(any()).respond_with(one).mount(&marketplace).await;
    let to = marketplace.uri().parse().unwrap();
    let world = adjusted(move |it: &mut Config| it.microsoft.marketplace = Clone::clone(&to)).await;
    let mut jo = Browser::new(&world);
    let form = jo.arrive("/marketplace/landing?token=any", story::JO).await;
    let form = form.shows(200, "Activate Viz Suite");
    jo.press(&form).await.shows(409, "Microsoft did not accept the activation");
    // It may be tried again at once.
    jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");
}

#[tokio::test]
async fn what_the_operator_has_to_set_up_is_named() {
    let missing = |world: World, words: &'static str| async move {
        let page = Browser::new(&world).get("/marketplace/landing?token=abc").await;
        let page = page.shows(503, "This page does not work at the moment");
        assert!(page.html.contains(words), "{words}: {}", page.html);
    };
    missing(adjusted(|it| it.listen.public_url = None).await, "public_url").await;
    let other = Some(story::LANDING_CLIENT_ID.to_string());
    let world = adjusted(move |it| it.landing.client_id = Clone::clone(&other)).await;
    missing(world, "secret_file").await;
    let world = adjusted(|it| {
        it.identity.credential = entitled::config::Credential::ManagedIdentity { client_id: None };
    });
    missing(world.await, "managed identity").await;
}

#[tokio::test]
async fn another_app_with_its_own_secret_signs_people_in() {
    let with = |secret: &'static str| {
        adjusted(move |it| {
            it.landing.client_id = Some(story::LANDING_CLIENT_ID.to_string());
            it.landing.secret = Some(entitled::config::Secret::new(secret));
            it.landing.publisher = Some("Viz & Maker".to_owned());
            it.landing.support = Some("mailto:help@vizmaker.example".parse().unwrap());
        })
    };
    let world = with(story::LANDING_SECRET).await;
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, buy(&world, seats())), story::JO).await;
    let page = page.shows(200, "Activate Viz Suite");
    for words in ["<header>Viz &amp; Maker</header>", "href=\"mailto:help@vizmaker.example\""] {
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
    let world = with(story::EXPIRED_SECRET).await;
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, buy(&world, seats())), story::JO).await;
    let page = page.shows(503, "This page does not work at the moment");
    assert!(page.html.contains("[landing]"), "{}", page.html);
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_token_code_address_or_name_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("entitled=trace,hyper=trace,reqwest=trace")
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let bought = buy(&world, seats());
    let address = link(&world, bought);
    let mut jo = Browser::new(&world);
    let sent = jo.step(&address).await;
    let back = jo.authorized(&sent, story::JO, |_| {}).await;
    let form = jo.get(&back).await.shows(200, "Activate Viz Suite");
    jo.press(&form).await;
    Browser::new(&world).arrive(&link(&world, bought), story::ANA).await;
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("A buyer sees his purchase"), "{log}");
    let token = address.split_once('=').unwrap().1;
    let decoded = token.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let code = back.split_once("code=").unwrap().1.split('&').next().unwrap();
    let ours: String = log.lines().filter(|it| it.contains(" entitled::")).collect();
    let cookie = jo.cookies.values().next().unwrap();
    for secret in [token, &decoded, code, cookie, "buyer@customer.example", "jo@", "Jo "] {
        assert!(!ours.contains(secret), "{secret} in {ours}");
    }
}
