//! What is forged, replayed, crossed or too old opens nothing.

use entitled::sandbox::story;
use jiff::SignedDuration;
use url::Url;

use super::{Browser, World, activations, buy, link, seats};

/// Replaces a parameter of an address.
fn replaced(url: &mut Url, name: &str, value: &str) {
    let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    url.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value);
}

#[tokio::test]
async fn a_sign_in_that_was_not_begun_in_this_browser_is_none() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, bought)).await;
    let back = jo.authorized(&sent, story::JO, |_| {}).await;

    let page = Browser::new(&world).get(&back).await;
    page.shows(403, "Please open your purchase again");
    let mut other = Browser::new(&world);
    other.step(&link(&world, bought)).await;
    other.get(&back).await.shows(400, "Please sign in again");
    let forged = back.replace("state=", "state=x");
    jo.get(&forged).await.shows(400, "Please sign in again");
    jo.get("/marketplace/landing/return").await.shows(400, "Please sign in again");
    // None of it has spoilt the genuine one.
    jo.get(&back).await.shows(200, "Activate Viz Suite");
}

#[tokio::test]
async fn a_code_is_good_once_and_only_as_it_was_made() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, bought)).await;
    let back = jo.authorized(&sent, story::JO, |_| {}).await;
    let mut thief = jo.clone();
    jo.clone().get(&back.replace("code=1.A", "code=1.B")).await.shows(400, "Please sign in again");
    jo.get(&back).await.shows(200, "Activate Viz Suite");
    thief.get(&back).await.shows(400, "Please sign in again");
    // By the back button it is the page again, and no second sign-in.
    jo.get(&back).await.shows(200, "Activate Viz Suite");

    for (name, value) in [
        ("nonce", "another"),
        ("client_id", &story::LANDING_CLIENT_ID.to_string()),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("redirect_uri", "https://lic.vizmaker.example:8443/marketplace/landing/return"),
    ] {
        let mut jo = Browser::new(&world);
        let sent = jo.step(&link(&world, bought)).await;
        let mut to = Url::parse(sent.header("location")).unwrap();
        replaced(&mut to, name, value);
        let mut sent = sent.clone();
        let to = to.as_str().replace("%3A8443", "");
        sent.headers.insert("location", to.parse().unwrap());
        if name == "redirect_uri" {
            continue; // Entra itself leads elsewhere then; the code's own check is the sandbox's.
        }
        let back = jo.authorized(&sent, story::JO, |_| {}).await;
        jo.get(&back).await.shows(400, "Please sign in again");
    }
    assert_eq!(activations(&world), 0);
}

#[tokio::test]
async fn a_code_that_is_too_old_leads_to_a_new_sign_in() {
    let world = World::new().await;
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, buy(&world, seats()))).await;
    let back = jo.authorized(&sent, story::JO, |_| {}).await;
    world.advance(SignedDuration::from_mins(11));
    jo.get(&back).await.shows(400, "Please sign in again");
    let again = jo.step("/marketplace/landing/account").await;
    jo.sign_in(&again, story::JO).await.shows(200, "Activate Viz Suite");
    // And a sign-in that was left alone for half an hour is over.
    let again = jo.step("/marketplace/landing/account").await;
    world.advance(SignedDuration::from_mins(31));
    jo.sign_in(&again, story::JO).await.shows(403, "Please open your purchase again");
}

#[tokio::test]
async fn leaving_the_sign_in_is_no_dead_end() {
    let world = World::new().await;
    let mut jo = Browser::new(&world);
    let sent = jo.step(&link(&world, buy(&world, seats()))).await;
    let state = Url::parse(sent.header("location")).unwrap();
    let state = state.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned();
    let back = |more: &str| format!("/marketplace/landing/return?state={state}&{more}");
    let page = jo.get(&back("error=access_denied&error_subcode=cancel")).await;
    let page = page.shows(403, "You are not signed in");
    assert!(page.html.contains("You left the sign-in"), "{}", page.html);
    let page = jo.get(&back("error=access_denied&error_description=AADSTS90094%3a+<b>")).await;
    let page = page.shows(403, "You are not signed in");
    assert!(page.html.contains("administrator") && page.html.contains("AADSTS90094"));
    assert!(!page.html.contains("<b>"), "{}", page.html);
    let again = jo.step("/marketplace/landing/account").await;
    jo.sign_in(&again, story::JO).await.shows(200, "Activate Viz Suite");
}

#[tokio::test]
async fn only_the_form_of_this_visit_activates() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let mut jo = Browser::new(&world);
    let form = jo.arrive(&link(&world, bought), story::JO).await;
    let value = form.html.split_once("name=\"form\" value=\"").unwrap().1;
    let value = value.split_once('"').unwrap().0.to_owned();

    jo.post(&[], &[]).await.shows(403, "Please try again");
    jo.post(&[("form", "")], &[]).await.shows(403, "Please try again");
    jo.post(&[("form", &value.to_uppercase())], &[]).await.shows(403, "Please try again");
    let cross = [("sec-fetch-site", "cross-site")];
    jo.post(&[("form", &value)], &cross).await.shows(403, "Please try again");
    let mut nobody = Browser::new(&world);
    let page = nobody.post(&[("form", &value)], &[]).await;
    page.shows(403, "Please open your purchase again");
    // Another visit of the same person has another form.
    let mut later = Browser::new(&world);
    later.arrive(&link(&world, bought), story::JO).await;
    later.post(&[("form", &value)], &[]).await.shows(403, "Please try again");
    assert_eq!(activations(&world), 0);
    let same = [("sec-fetch-site", "same-origin")];
    assert_eq!(jo.post(&[("form", &value)], &same).await.status, 303);
    assert_eq!(activations(&world), 1);
}

#[tokio::test]
async fn a_visit_ends_after_an_hour() {
    let world = World::new().await;
    let mut jo = Browser::new(&world);
    let form = jo.arrive(&link(&world, buy(&world, seats())), story::JO).await;
    world.advance(SignedDuration::from_mins(61));
    let page = jo.press(&form).await.shows(403, "Please open your purchase again");
    assert!(page.html.contains("portal.azure.com"), "it says how: {}", page.html);
    let page = jo.get("/marketplace/landing/purchase").await;
    page.shows(403, "Please open your purchase again");
    assert_eq!(activations(&world), 0);
}

#[tokio::test]
async fn a_token_is_decoded_once_and_an_old_or_broken_one_explained() {
    let world = World::new().await;
    let bought = buy(&world, seats());
    let good = link(&world, bought);
    assert!(good.contains("%2B") && good.contains("%2F"), "{good}");
    let expired = "This link has expired";
    for (broken, status, words) in [
        (good.replace("%2B", "%252B"), 400, expired),
        (good.replace("%2B", "%20"), 400, "Please open this page from Microsoft"),
        (good.replace("token=", "token=x"), 400, expired),
    ] {
        let mut jo = Browser::new(&world);
        let sent = jo.step(&broken).await;
        let page = if sent.status == 303 { jo.sign_in(&sent, story::JO).await } else { sent };
        let page = page.shows(status, words);
        assert!(page.html.contains("Configure account"), "what to click: {}", page.html);
    }
    // A plus that nobody encoded stays a plus.
    let plain = good.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let mut jo = Browser::new(&world);
    jo.arrive(&plain, story::JO).await.shows(200, "Activate Viz Suite");
    let mut jo = Browser::new(&world);
    world.advance(SignedDuration::from_hours(25));
    jo.arrive(&good, story::JO).await.shows(400, expired);
    for none in ["", "?token=", "?token=%C3%A4", "?tokens=x"] {
        let page = jo.get(&format!("/marketplace/landing{none}")).await;
        page.shows(400, "Please open this page from Microsoft");
    }
}

#[tokio::test]
async fn whoever_guesses_is_made_to_wait() {
    let world = World::new().await;
    let mut guesser = Browser::new(&world);
    guesser.step(&link(&world, buy(&world, seats()))).await;
    let mut pages = Vec::new();
    for at in 0..12 {
        let guess = format!("/marketplace/landing/return?code=x&state=guess-{at}");
        pages.push(guesser.get(&guess).await.status);
    }
    assert_eq!(pages[..10], [400; 10]);
    assert_eq!(pages[11], 429);
    let last = guesser.answers.pop().unwrap();
    assert!(!last.header("retry-after").is_empty());
    last.shows(429, "Please wait a moment");
}
