//! The purchase landing page, from the link to the activation: whole daemon, sandbox, and a browser
//! that keeps cookies.

mod browser;
mod forged;
mod person;
mod trouble;
pub(crate) mod webdriver;

use entitled::domain::{SubscriptionId, SubscriptionStatus};
use entitled::sandbox::{Faults, Options, Purchase, story};
use jiff::SignedDuration;
use uuid::Uuid;

use self::person::{Browser, Page};
use crate::world::World;

/// Three seats for Jo's company, not activated.
fn seats() -> Purchase {
    Purchase {
        tenant: story::JO.tenant,
        user: story::JO.user,
        name: "Suite <for> \"Finance\"".to_owned(),
        plan: story::SUITE_TEAM.to_owned(),
        quantity: Some(3),
        auto_activate: false,
        reseller: None,
    }
}

fn buy(world: &World, purchase: Purchase) -> Uuid {
    world.microsoft(|it| it.buy(purchase)).unwrap()
}

/// The address behind "Configure account".
fn link(world: &World, subscription: Uuid) -> String {
    let token = world.microsoft(|it| it.landing_token(subscription)).unwrap();
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    format!("/marketplace/landing?token={token}")
}

/// How often Microsoft was asked to activate.
fn activations(world: &World) -> usize {
    let lines = world.sandbox.requests();
    lines.iter().filter(|it| it.method == "POST" && it.target.contains("/activate")).count()
}

fn status(world: &World, subscription: Uuid) -> SubscriptionStatus {
    let mirror = world.mirror();
    mirror.subscription(SubscriptionId::from_uuid(subscription)).unwrap().status.clone()
}

/// The subscription of the story that this tenant benefits from.
async fn of_story(world: &World, tenant: Uuid) -> Uuid {
    world.sync().await;
    let mirror = world.mirror();
    let it = mirror.subscriptions().find(|it| it.beneficiary.tenant == Some(tenant));
    it.unwrap().id.as_uuid()
}

#[tokio::test]
async fn a_buyer_goes_from_the_link_to_an_active_subscription() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, bought), story::JO).await.shows(200, "Activate Viz Suite");
    assert_eq!(page.path, "/marketplace/landing/purchase");
    for text in ["Team", "<dt>Seats</dt><dd>3</dd>", "1 month", "jo@", "buyer@customer.example"] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    assert!(page.html.contains("Suite &lt;for&gt; &quot;Finance&quot;"), "{}", page.html);
    assert_eq!(status(&world, bought), SubscriptionStatus::PendingFulfillmentStart);
    assert_eq!(activations(&world), 0, "nothing happens before the button is pressed");

    let page = jo.press(&page).await.shows(200, "Activating Viz Suite");
    assert!(page.html.contains("<meta http-equiv=\"refresh\" content=\"5\">"), "{}", page.html);
    assert!(!page.html.contains("<form"), "{}", page.html);
    world.advance(SignedDuration::from_mins(1));
    let page = jo.get("/marketplace/landing/purchase").await.shows(200, "Viz Suite is active");
    assert!(!page.html.contains("http-equiv"), "it looks no more: {}", page.html);
    assert!(page.html.contains("November 2026"), "the term: {}", page.html);
    assert_eq!(status(&world, bought), SubscriptionStatus::Subscribed);
    assert_eq!(activations(&world), 1);
}

#[tokio::test]
async fn the_pages_keep_to_themselves() {
    let world = World::new().await;
    let address = link(&world, buy(&world, seats()));
    let token = address.split_once('=').unwrap().1.to_owned();
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&address, story::JO).await;
    for answer in &jo.answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value, "{}", answer.path);
        }
        let location = answer.header("location");
        assert!(!location.contains(&token) && !location.contains("token="), "{location}");
        assert!(!answer.html.contains(&token));
        let cookie = answer.header("set-cookie");
        for word in ["__Secure-entitled_landing=", "HttpOnly", "SameSite=Lax", "Secure"] {
            assert!(cookie.contains(word), "{word}: {cookie}");
        }
        assert!(cookie.contains("Path=/marketplace/landing;"), "{cookie}");
    }
    let policy = page.header("content-security-policy");
    for word in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "'sha256-"] {
        assert!(policy.contains(word), "{word}: {policy}");
    }
    for word in ["<html lang=\"en\">", "<main>", "<h1>"] {
        assert!(page.html.contains(word), "{word}");
    }
    assert!(!page.html.contains("<script") && !page.html.contains("src="), "{}", page.html);
}

#[tokio::test]
async fn colleagues_and_both_sides_of_a_resellers_sale_may_activate_and_nobody_else() {
    let world = World::new().await;
    let reseller = Some(story::RESELLER_TENANT);
    let sold = buy(&world, Purchase { reseller, ..seats() });
    let person = |tenant, n: u128| story::Person { name: "", tenant, user: Uuid::from_u128(n) };
    for stranger in [story::ANA, story::PAT] {
        let mut browser = Browser::new(&world);
        let page = browser.arrive(&link(&world, sold), stranger).await;
        let page = page.shows(403, "This purchase belongs to another organization");
        assert!(!page.html.contains("Viz Suite") && !page.html.contains("buyer@"), "{}", page.html);
        assert!(page.html.contains("/marketplace/landing/account"));
    }
    for colleague in [person(story::JO.tenant, 7), person(story::RESELLER_TENANT, 8)] {
        let mut browser = Browser::new(&world);
        let page = browser.arrive(&link(&world, sold), colleague).await;
        page.shows(200, "Activate Viz Suite");
    }
    let mut browser = Browser::new(&world);
    let page = browser.arrive(&link(&world, sold), person(story::RESELLER_TENANT, 9)).await;
    browser.press(&page).await.shows(200, "Activating Viz Suite");
    world.advance(SignedDuration::from_mins(1));
    let page = browser.get("/marketplace/landing/purchase").await.shows(200, "Viz Suite is active");
    assert!(page.html.contains("through a partner"), "{}", page.html);
}

#[tokio::test]
async fn a_stranger_takes_another_account_and_comes_to_the_same_purchase() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut browser = Browser::new(&world);
    let page = browser.arrive(&link(&world, bought), story::ANA).await;
    page.shows(403, "This purchase belongs to another organization");
    let asked = browser.step("/marketplace/landing/account").await;
    assert!(asked.header("location").contains("prompt=select_account"));
    let page = browser.sign_in(&asked, story::JO).await.shows(200, "Activate Viz Suite");
    // Once more, now that the token is forgotten: still only for those whose purchase it is.
    let asked = browser.step("/marketplace/landing/account").await;
    browser.sign_in(&asked, story::ANA).await.shows(403, "belongs to another organization");
    browser.press(&page).await.shows(403, "Please try again");
    assert_eq!(activations(&world), 0);
}

#[tokio::test]
async fn a_personal_purchase_is_one_accounts_and_not_everybodys() {
    let world = World::new().await;
    let bought = of_story(&world, story::PERSONAL_TENANT).await;
    let mut pat = Browser::new(&world);
    pat.arrive(&link(&world, bought), story::PAT).await.shows(200, "Viz Suite is active");
    let eve = story::Person { name: "Eve", tenant: story::PERSONAL_TENANT, user: story::ANA.user };
    let mut browser = Browser::new(&world);
    let page = browser.arrive(&link(&world, bought), eve).await;
    page.shows(403, "This purchase belongs to another organization");
}

#[tokio::test]
async fn every_status_has_its_page_and_only_a_new_purchase_a_button() {
    let world = World::new().await;
    for (person, title, words) in [
        (story::MIA, "Viz Suite is active", "Change or cancel"),
        (story::NOA, "Viz Suite is active", "free trial"),
        (story::PIA, "Viz Suite is suspended", "settle the payment"),
        (story::QUIN, "Viz Suite has ended", "buy it again"),
        (story::OLI, "Activate Viz Suite", "Activate subscription"),
    ] {
        let bought = of_story(&world, person.tenant).await;
        let mut browser = Browser::new(&world);
        let page = browser.arrive(&link(&world, bought), person).await.shows(200, title);
        assert!(page.html.contains(words), "{words}: {}", page.html);
        assert_eq!(page.html.contains("<form"), person == story::OLI, "{title}");
    }
}

#[tokio::test]
async fn an_activation_that_came_first_is_no_second_one() {
    let world = World::new().await;
    // Microsoft's own, before the buyer came.
    let bought = buy(&world, Purchase { auto_activate: true, ..seats() });
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, bought), story::JO).await;
    page.shows(200, "Viz Suite is active");
    assert_eq!(activations(&world), 0);
    // A colleague's, while the buyer looked at the form.
    let bought = buy(&world, seats());
    let (mut jo, mut colleague) = (Browser::new(&world), Browser::new(&world));
    let form = jo.arrive(&link(&world, bought), story::JO).await;
    let page = colleague.arrive(&link(&world, bought), story::JO).await;
    colleague.press(&page).await.shows(200, "Activating Viz Suite");
    jo.get("/marketplace/landing/purchase").await.shows(200, "Activating Viz Suite");
    world.advance(SignedDuration::from_mins(1));
    jo.press(&form).await.shows(200, "Viz Suite is active");
    assert_eq!(activations(&world), 1);
}

#[tokio::test]
async fn a_double_click_activates_once() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let form = jo.arrive(&link(&world, bought), story::JO).await;
    let (mut other, mut third) = (jo.clone(), jo.clone());
    let pages = tokio::join!(jo.press(&form), other.press(&form), third.press(&form));
    for page in [pages.0, pages.1, pages.2] {
        page.shows(200, "Activating Viz Suite");
    }
    jo.press(&form).await.shows(200, "Activating Viz Suite");
    assert_eq!(activations(&world), 1);
}

#[tokio::test]
async fn an_activation_that_fails_in_the_background_says_so() {
    let faults: Faults = "activation.failure=1".parse().unwrap();
    let world = World::with(Options { faults, ..Options::default() }, "").await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, bought), story::JO).await;
    jo.press(&page).await.shows(200, "Activating Viz Suite");
    world.advance(SignedDuration::from_mins(1));
    let page = jo.get("/marketplace/landing/purchase").await;
    let page = page.shows(200, "The activation did not succeed");
    assert!(page.html.contains("not billed"), "{}", page.html);
}

#[tokio::test]
async fn an_activation_that_never_shows_can_be_asked_for_again() {
    let faults: Faults = "activation=48h".parse().unwrap();
    let world = World::with(Options { faults, ..Options::default() }, "").await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let page = jo.arrive(&link(&world, bought), story::JO).await;
    jo.press(&page).await.shows(200, "Activating Viz Suite");
    world.advance(SignedDuration::from_mins(11));
    let page = jo.get("/marketplace/landing/purchase").await.shows(200, "Activating Viz Suite");
    assert!(page.html.contains("longer than usual"), "{}", page.html);
    world.advance(SignedDuration::from_mins(20));
    let page = jo.get("/marketplace/landing/purchase").await.shows(200, "Activate Viz Suite");
    assert!(page.html.contains("nothing is charged twice"), "{}", page.html);
    jo.press(&page).await.shows(200, "Activating Viz Suite");
    assert_eq!(activations(&world), 2);
}

/// Sees that a restart of the daemon between two clicks loses nothing.
#[tokio::test]
async fn a_restart_between_two_clicks_loses_nothing() {
    let mut world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, bought)).await;
    world.restart().await;
    jo.moved_to(&world);
    let page = jo.sign_in(&sent, story::JO).await.shows(200, "Activate Viz Suite");
    world.restart().await;
    jo.moved_to(&world);
    let page: Page = jo.press(&page).await;
    page.shows(200, "Activating Viz Suite");
}
