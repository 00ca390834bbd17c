//! Microsoft is down, refuses us, or nobody has set us up: the page says so, and nothing is lost.

use std::io::Write;
use std::sync::{Arc, Mutex};

use entitled::config::Config;
use entitled::sandbox::{Options, Stumble, story};
use jiff::SignedDuration;
use tracing_subscriber::fmt::MakeWriter;

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
    let world = World::new().await;
    let bought = buy(&world, seats());
    let text = "\"The token is invalid, expired or missing, or belongs to another application\"";
    // Twice: a refused token is renewed once.
    world.microsoft(|it| it.stumble(Stumble::new("POST", "resolve", 403, 2).saying(text)));
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, bought), story::JO).await;
    let page = page.shows(503, "This page does not work at the moment");
    for remedy in ["20e940b3-4c77-4b0b-9a53-9e16a1b010a7", "Partner Center", "preview"] {
        assert!(page.html.contains(remedy), "{remedy}: {}", page.html);
    }
    // Once it is mended the same visit goes on.
    jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");
}

#[tokio::test]
async fn an_activation_that_microsoft_refuses_says_so_and_may_be_tried_again() {
    let world = World::new().await;
    let mut jo = Browser::new(&world);
    let form = jo.arrive(&link(&world, buy(&world, seats())), story::JO).await;
    world.microsoft(|it| it.stumble(Stumble::new("POST", "activate", 400, 1)));
    let page = jo.press(&form).await.shows(409, "Microsoft did not accept the activation");
    assert!(page.html.contains("not billed"), "{}", page.html);
    let form = jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");
    jo.press(&form).await.shows(200, "Activating Viz Suite");
}

#[tokio::test]
async fn an_activation_whose_answer_was_lost_is_followed_and_not_asked_for_again() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let form = jo.arrive(&link(&world, bought), story::JO).await;
    world.microsoft(|it| it.stumble(Stumble::new("POST", "activate", 0, 9).but_done()));
    jo.press(&form).await;
    let asked = activations(&world);
    world.advance(SignedDuration::from_mins(2));
    jo.press(&form).await.shows(200, "Viz Suite is active");
    assert_eq!(activations(&world), asked);
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
