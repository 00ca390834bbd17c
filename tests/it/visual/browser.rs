//! The client in headless Chromium: in a sandboxed frame without an origin of its own, against the
//! real listener. The page around it stands for Power BI and holds the visuals' storage.

mod package;

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::http::harness::{DAN, PRODUCT, World, token_of};
use crate::landing::webdriver::{self, Chromium};
use crate::tokens::{ANA, now};

/// A report that is open in a browser, and the daemon that its visuals ask.
struct Report {
    world: World,
    chromium: Chromium,
    _page: MockServer,
}

impl Report {
    async fn open() -> Self {
        let client = fs::read("clients/visual/dist/entitled-visual.js").unwrap();
        let html = include_str!("page.html").replace("CLIENT", &STANDARD.encode(client));
        let page = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_raw(html, "text/html; charset=utf-8");
        Mock::given(path("/")).respond_with(answer).mount(&page).await;
        let (world, chromium) = (World::new().await, Chromium::start().await);
        chromium.open(&page.uri()).await;
        Self { world, chromium, _page: page }
    }

    /// What a visual is told that asks for this user.
    fn asks(&self, user: &str) -> Value {
        let options = json!({
            "url": format!("http://{}", self.world.public), "issuer": "https://lic.example.test",
            "product": PRODUCT, "host": 1, "locale": "de-AT", "token": token_of(user),
        });
        json!({ "options": options, "times": 1, "clock": now().as_millisecond() })
    }

    async fn run(&self, script: &str) -> Value {
        self.chromium.run(script).await
    }

    /// Asks in a visual's frame; frames are made as they are named.
    async fn ask(&self, frame: usize, asks: &Value) -> Value {
        self.run(&format!("return ask({frame}, {asks})")).await
    }
}

/// `usable from error`.
#[track_caller]
fn says(told: &Value, expected: &str) {
    let it = &told["results"][0];
    let error = it["error"].as_str().unwrap_or("-");
    let found = format!("{} {} {error}", it["usable"], it["from"].as_str().unwrap_or_default());
    assert_eq!(found, expected, "{told:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visual_in_its_frame_believes_what_is_signed_and_works_on_without_us() {
    if !webdriver::is_there() {
        return;
    }
    let report = Report::open().await;
    let ana = report.asks(ANA);
    let at = |asks: &Value, hours: i64| {
        let mut asks = asks.clone();
        asks["clock"] = Value::from(now().as_millisecond() + hours * 3_600_000);
        asks
    };
    // Allowed, in a frame that has no origin and still may check signatures.
    let told = report.ask(0, &ana).await;
    says(&told, "true fresh -");
    assert_eq!((&told["origin"], &told["secure"]), (&json!("null"), &json!(true)), "{told:#}");
    assert_eq!(told["told"], json!(["clear"]), "{told:#}");
    assert_eq!(told["results"][0]["answer"]["state"], "active");
    // Kept: nobody is asked, also by another frame of the page.
    for frame in [0, 1] {
        let told = report.ask(frame, &ana).await;
        says(&told, "true kept -");
        assert_eq!(told["asked"], 0);
    }
    let kept = report.run("return kept()").await;
    let sizes = kept.as_array().unwrap().iter().map(|it| it.as_str().unwrap().len());
    assert!(sizes.max().unwrap() < 4_096, "{kept}");
    // Refused: the overlay covers the visual.
    let told = report.ask(0, &report.asks(DAN)).await;
    says(&told, "false fresh -");
    assert_eq!(told["told"], json!(["required 2"]), "{told:#}");
    let notice = &told["results"][0]["answer"]["notice"];
    assert_eq!((&notice["reason"], &notice["language"]), (&json!("unlicensed"), &json!("de")));
    // Down: what was signed counts until it expires, and not if the clock was put back.
    report.world.cancel.cancel();
    says(&report.ask(2, &at(&ana, 2)).await, "true offline network");
    says(&report.ask(3, &at(&ana, 23)).await, "true offline network");
    says(&report.ask(4, &at(&ana, 25)).await, "false none network");
    says(&report.ask(5, &at(&ana, -48)).await, "false none network");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visual_believes_nothing_else() {
    if !webdriver::is_there() {
        return;
    }
    let report = Report::open().await;
    let asks = |frame: usize, change: &dyn Fn(&mut Value)| {
        let mut asks = report.asks(DAN);
        change(&mut asks);
        let report = &report;
        async move { report.ask(frame, &asks).await }
    };
    // Who changes the answer has not signed it.
    says(&asks(0, &|it| it["tamper"] = json!(true)).await, "false none signature");
    says(&asks(4, &|it| it["options"]["product"] = json!("else")).await, "false none 404");
    // A failure is remembered for a while, for all frames.
    report.run("forget()").await;
    says(
        &asks(1, &|it| it["options"]["issuer"] = json!("https://else.test")).await,
        "false none issuer",
    );
    // An answer that is signed well, and about another product than the visual's.
    let another = |it: &mut Value| {
        it["options"]["product"] = json!("else");
        it["other"] = json!(PRODUCT);
    };
    says(&asks(7, &another).await, "false none audience");
    // The clock: too far ahead, an answer looks replayed; behind, the signature puts it right.
    let far = now().as_millisecond() + 48 * 3_600_000;
    says(&asks(2, &|it| it["clock"] = json!(far)).await, "false none clock");
    let past = now().as_millisecond() - 48 * 3_600_000;
    says(&asks(3, &|it| it["clock"] = json!(past)).await, "false fresh clock");
    says(&asks(5, &|it| it["options"]["token"] = json!("x.y.z")).await, "false none 401");
    // What is planted into the storage and not signed is as if it were not there.
    let planted =
        "for (const key of [...store.keys()]) store.set(key, '{\"t\":\"a.b.c\",\"u\":1e15}')";
    report.run(planted).await;
    says(&report.ask(6, &report.asks(DAN)).await, "false fresh -");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_visuals_of_a_page_share_one_request() {
    if !webdriver::is_there() {
        return;
    }
    let report = Report::open().await;
    let mut ana = report.asks(ANA);
    ana["times"] = json!(5);
    // The frames are there before they ask, all at once.
    report
        .run("return Promise.all([0, 1, 2].map((it) => visuals[it] ??= frame())).then(() => 0)")
        .await;
    let script = format!("return ask(0, {ana}).then((it) => [it])");
    let first = report.run(&script).await;
    assert_eq!(first[0]["asked"], 1, "{first:#}");
    report.run("forget()").await;
    // One frame a moment before the other, as they are built.
    let script = format!(
        "const one = ask(1, {ana}); await new Promise((it) => setTimeout(it, 30)); \
         return Promise.all([one, ask(2, {ana})])"
    );
    let both = report.run(&format!("return (async () => {{ {script} }})()")).await;
    let asked = both[0]["asked"].as_u64().unwrap() + both[1]["asked"].as_u64().unwrap();
    assert_eq!(asked, 1, "{both:#}");
    says(&both[0], "true fresh -");
    says(&both[1], "true kept -");
    // Storage that fails costs a request, not the answer.
    report.run("fail(true)").await;
    let told = report.ask(3, &ana).await;
    says(&told, "true fresh -");
    assert_eq!(told["asked"], 1);
    says(&report.ask(3, &ana).await, "true kept -");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_signs_at_once_though_a_cache_hands_out_the_old_set() {
    if !webdriver::is_there() {
        return;
    }
    let report = Report::open().await;
    let set = report.world.client.get(report.world.url("/.well-known/jwks.json")).send();
    let mut ana = report.asks(ANA);
    ana["stale"] = Value::from(set.await.unwrap().text().await.unwrap());
    report.world.store.keys().rotate(now()).unwrap();
    says(&report.ask(0, &ana).await, "true fresh -");
}
