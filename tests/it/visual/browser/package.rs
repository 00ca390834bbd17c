//! A package in headless Chromium: counted while the daemon answers, on its own while nobody does.

use entitled::domain::{Commit, License};
use serde_json::{Value, json};

use super::{Report, says};
use crate::http::activations::{built, license};
use crate::http::harness::PRODUCT;
use crate::landing::webdriver;
use crate::tokens::now;

/// A report whose visual was sold with its license in the package.
struct Sold {
    report: Report,
    license: License,
    /// As the vendor builds them in.
    keys: Value,
}

impl Sold {
    async fn open() -> Self {
        let report = Report::open().await;
        let license = license(1, PRODUCT, &report.world.store);
        let it = Self { report, license, keys: Value::Null };
        it.put(it.license.clone()).await;
        built(&it.report.world, &it.license);
        let set = it.report.world.client.get(it.report.world.url("/.well-known/jwks.json")).send();
        let mut set: Value = set.await.unwrap().json().await.unwrap();
        Self { keys: set["keys"].take(), ..it }
    }

    async fn put(&self, license: License) {
        let commit = Commit { licenses: vec![license], ..Commit::default() };
        self.report.world.store.commit(commit).await.unwrap();
    }

    /// What the visual asks with this package on a report server.
    fn asks(&self, package: &str) -> Value {
        let options = json!({
            "url": format!("http://{}", self.report.world.public), "issuer": "https://lic.example.test",
            "product": PRODUCT, "host": 16, "package": package, "keys": self.keys,
        });
        json!({ "options": options, "times": 1, "clock": now().as_millisecond() })
    }

    fn users(&self) -> usize {
        let mirror = self.report.world.store.mirror();
        mirror.licenses().users(self.license.id).map_or(0, |it| it.len())
    }
}

fn after(asks: &Value, hours: i64) -> Value {
    let mut asks = asks.clone();
    asks["clock"] = Value::from(now().as_millisecond() + hours * 3_600_000);
    asks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_counted_and_works_on_its_own_until_the_next_payment() {
    if !webdriver::is_there() {
        return;
    }
    let sold = Sold::open().await;
    let report = &sold.report;
    let package = built(&report.world, &sold.license);
    let asks = sold.asks(&package);
    // One person, in two frames and two hosts. A public page counts nobody.
    says(&report.ask(0, &asks).await, "true fresh -");
    for (frame, host) in [(1, 1), (2, 2)] {
        let mut elsewhere = asks.clone();
        elsewhere["options"]["host"] = Value::from(host);
        says(&report.ask(frame, &elsewhere).await, "true fresh -");
        assert_eq!(sold.users(), 1, "host {host}");
    }
    // Somebody else: nothing is stored there yet.
    report.run("forget()").await;
    says(&report.ask(3, &asks).await, "true fresh -");
    assert_eq!(sold.users(), 2);

    // Behind a firewall, with nothing kept.
    let other = License { product: "other".parse().unwrap(), ..sold.license.clone() };
    let foreign = built(&report.world, &other);
    report.run("forget()").await;
    report.world.cancel.cancel();
    let told = report.ask(4, &asks).await;
    says(&told, "true package network");
    assert_eq!(told["results"][0]["answer"]["source"], "direct", "{told:#}");
    let told = report.ask(5, &asks).await;
    says(&told, "true package network");
    assert_eq!(told["asked"], 0, "the frames of a page wait only once");
    says(&report.ask(6, &after(&asks, 24 * 29)).await, "true package network");
    says(&report.ask(7, &after(&asks, 24 * 31)).await, "false none expired");
    says(&report.ask(8, &after(&asks, -24)).await, "false none clock");
    let end = package.len() - 8;
    let tampered = format!("{}AAAAAAAA", &package[..end]);
    says(&report.ask(9, &sold.asks(&tampered)).await, "false none signature");
    says(&report.ask(10, &sold.asks(&foreign)).await, "false none audience");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_on_the_list_that_was_kept_is_refused_offline_too() {
    if !webdriver::is_there() {
        return;
    }
    let sold = Sold::open().await;
    let report = &sold.report;
    let asks = sold.asks(&built(&report.world, &sold.license));
    sold.put(License { revoked_at: Some(now()), ..sold.license.clone() }).await;
    let told = report.ask(0, &asks).await;
    says(&told, "false fresh -");
    assert_eq!(told["results"][0]["answer"]["state"], "expired");
    let listed = "const look = (done) => kept().includes('1') ? done(0) : setTimeout(look, 10, done); \
                  return new Promise(look)";
    report.run(listed).await;
    report.world.cancel.cancel();
    says(&report.ask(1, &after(&asks, 24)).await, "false none revoked");
    // Where it was never seen, the package is all there is.
    report.run("forget()").await;
    says(&report.ask(2, &after(&asks, 25)).await, "true package network");
}
