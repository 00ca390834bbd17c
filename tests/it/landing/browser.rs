//! The pages in a real browser: by clicking alone, without JavaScript, in light and dark, on a
//! narrow window, by keyboard.

use std::net::TcpListener;

use entitled::sandbox::{Options, story};
use jiff::SignedDuration;
use serde_json::Value;

use super::webdriver::{self, Chromium};
use super::{World, activations, buy, link, of_story, seats};

/// A world whose pages a browser reaches, and where.
async fn reachable() -> (World, String) {
    // Free a moment ago: the address must be known before the daemon listens.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{address}");
    let url: url::Url = base.parse().unwrap();
    let adjust = move |it: &mut entitled::config::Config| {
        it.listen.public = address;
        it.listen.public_url = Some(url.clone());
        it.landing.publisher = Some("Vizmaker".to_owned());
        it.landing.support = Some("mailto:help@vizmaker.example".parse().unwrap());
    };
    (World::adjusted(Options::default(), "", Box::new(adjust)).await, base)
}

/// The button of a person on the sandbox's sign-in page.
fn account(person: story::Person) -> String {
    format!("button[value=\"{}/{}\"]", person.tenant, person.user)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_javascript_goes_from_the_link_to_active_by_clicking() {
    if !webdriver::is_there() {
        return;
    }
    let (world, base) = reachable().await;
    let chromium = Chromium::start().await;
    chromium.without_javascript().await;
    let bought = buy(&world, seats());
    chromium.open(&format!("{base}{}", link(&world, bought))).await;
    chromium.shows("Pick an account").await;
    chromium.picture("1-sign-in").await;

    chromium.click(&account(story::ANA)).await;
    chromium.shows("This purchase belongs to another organization").await;
    chromium.picture("2-not-yours").await;
    chromium.click("a.button").await;
    chromium.shows("Pick an account").await;
    chromium.click(&account(story::JO)).await;
    chromium.shows("Activate Viz Suite").await;
    assert_eq!(chromium.address().await, format!("{base}/marketplace/landing/purchase"));
    chromium.picture("3-activate").await;

    chromium.click("main button").await;
    chromium.shows("Activating Viz Suite").await;
    chromium.picture("4-activating").await;
    world.advance(SignedDuration::from_mins(1));
    chromium.click("a.button").await;
    chromium.shows("Viz Suite is active").await;
    chromium.picture("5-active").await;
    assert_eq!(activations(&world), 1);
}

/// What is wrong with the page that is shown, as one sentence each.
///
/// Source: WCAG 2.2: 1.3.1, 1.4.3, 1.4.10, 2.4.2, 2.4.6, 3.1.1, 4.1.2.
const LOOK: &str = r#"
const wrong = [];
const all = (css) => [...document.querySelectorAll(css)];
if (!document.documentElement.lang) wrong.push("no language");
if (!document.title.trim()) wrong.push("no title");
if (all("main").length !== 1) wrong.push("not one main");
if (all("h1").length !== 1) wrong.push("not one h1");
let last = 0;
for (const it of all("h1,h2,h3,h4,h5,h6")) {
  const level = Number(it.tagName[1]);
  if (level > last + 1) wrong.push(`heading ${it.textContent} skips a level`);
  last = level;
}
for (const it of all("a,button,progress,input:not([type=hidden]),select,textarea")) {
  const name = it.textContent.trim() || it.getAttribute("aria-label") || (it.labels || [])[0];
  if (!name) wrong.push(`${it.outerHTML} has no name`);
}
for (const it of all("[tabindex]")) if (it.tabIndex > 0) wrong.push("a tabindex changes the order");
const wide = document.documentElement.scrollWidth;
if (wide > window.innerWidth) wrong.push(`${wide} px wide in a window of ${window.innerWidth}`);
if (parseFloat(getComputedStyle(document.body).marginTop) !== 0) wrong.push("the style is not applied");
const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const part = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const back = (it) => {
  for (; it; it = it.parentElement) {
    const colour = parse(getComputedStyle(it).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
let checked = 0;
for (const it of all("body *")) {
  const own = [...it.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || it.closest("style")) continue;
  const style = getComputedStyle(it);
  const [a, b] = [light(parse(style.color)), light(back(it))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  checked += 1;
  if (ratio < (large ? 3 : 4.5)) wrong.push(`contrast ${ratio.toFixed(2)}: ${it.outerHTML}`);
}
if (checked < 4) wrong.push(`only ${checked} texts were looked at`);
return wrong;
"#;

/// What has the focus, and how it shows.
const FOCUSED: &str = r#"
const it = document.activeElement;
const style = getComputedStyle(it);
const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
return [it.tagName === "BODY" ? "" : it.textContent.trim(), seen];
"#;

/// The texts of everything that can be focused, in the order of the document.
const FOCUSABLE: &str = r#"
const css = "a[href],button,input:not([type=hidden])";
return [...document.querySelectorAll(css)].map((it) => it.textContent.trim());
"#;

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_read_and_use_the_pages() {
    if !webdriver::is_there() {
        return;
    }
    let (world, base) = reachable().await;
    let chromium = Chromium::start().await;
    chromium.open(&format!("{base}/marketplace/landing")).await;
    chromium.shows("Please open this page from Microsoft").await;
    look_at(&chromium, "no-token").await;
    let bought = buy(&world, seats());
    for (name, heading, subscription, person) in [
        ("not-yours", "This purchase belongs to another organization", bought, story::ANA),
        ("active", "Viz Suite is active", of_story(&world, story::WIM.tenant).await, story::WIM),
        (
            "suspended",
            "Viz Suite is suspended",
            of_story(&world, story::PIA.tenant).await,
            story::PIA,
        ),
        ("ended", "Viz Suite has ended", of_story(&world, story::QUIN.tenant).await, story::QUIN),
        ("activate", "Activate Viz Suite", bought, story::JO),
    ] {
        chromium.open(&format!("{base}{}", link(&world, subscription))).await;
        chromium.click(&account(person)).await;
        chromium.shows(heading).await;
        look_at(&chromium, name).await;
    }
    walk_by_keyboard(&chromium).await;
    chromium.click("main button").await;
    chromium.shows("Activating Viz Suite").await;
    look_at(&chromium, "activating").await;
}

/// Looks at the page in light and dark, wide and narrow.
async fn look_at(chromium: &Chromium, name: &str) {
    for (scheme, width) in [("light", 1_280), ("dark", 1_280), ("light", 320), ("dark", 320)] {
        chromium.looks(scheme, width).await;
        let wrong = chromium.run(LOOK).await;
        assert_eq!(wrong, Value::Array(Vec::new()), "{name}, {scheme}, {width} px");
        chromium.picture(&format!("{name}-{scheme}-{width}")).await;
    }
}

/// Everything is reached by Tab, in the order of the page, and shows that it is.
async fn walk_by_keyboard(chromium: &Chromium) {
    let expected = chromium.run(FOCUSABLE).await;
    let expected = expected.as_array().unwrap();
    assert!(expected.len() >= 3, "{expected:?}");
    assert_eq!(expected[0], "Activate subscription");
    for text in expected {
        chromium.tab().await;
        let focused = chromium.run(FOCUSED).await;
        assert_eq!(focused[0], *text);
        assert_eq!(focused[1], true, "the focus does not show: {text}");
    }
}
