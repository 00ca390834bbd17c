//! Webhooks and a daemon that is killed: what was acknowledged is worked off, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use entitled::sandbox::{Subscription, story};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use uuid::Uuid;

use super::harness::*;
use crate::webhook::{body, genuine, operation};

/// How often the daemon is killed, and how many webhooks it is sent each time.
const KILLS: usize = 6;
const BURST: usize = 16;

fn subscription(number: usize) -> Uuid {
    Uuid::from_u128(0xb0_0000 + u128::try_from(number).unwrap())
}

/// Puts as many subscriptions into the marketplace, of which only webhooks tell.
fn stock(site: &Site, id: Uuid) {
    site.microsoft(|it| {
        let first = it.subscription(id).unwrap();
        for number in 0..KILLS * BURST {
            it.put_subscription(&Subscription { id: subscription(number), ..first.clone() });
        }
    });
}

/// How many of something there are by a text field.
fn counted(rows: &[Value], field: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row[field].as_str().unwrap_or("-").to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_after_kill_each_acknowledged_webhook_is_worked_off_once() {
    let (site, mut server) = Site::synced().await;
    let rows = server.cli("subscriptions --json").await.ok().rows();
    let proseware = story::PROSEWARE.tenant.to_string();
    let first = rows.iter().find(|it| it["tenant"] == proseware).unwrap();
    stock(&site, first["id"].as_str().unwrap().parse().unwrap());
    let token = site.sandbox.user_token(genuine());
    let mut acknowledged = BTreeSet::new();
    for kill in 0..KILLS {
        let burst = (0..BURST).map(|n| {
            let number = kill * BURST + n;
            let said = body(&operation(number as u128), "Renew", subscription(number));
            let (server, token) = (&server, &token);
            async move {
                let answer = server.post("/marketplace/webhook", Some(token), &said).await;
                (number, answer.status)
            }
        });
        // Killed after another number of answers each time: while it writes, while it works.
        let mut burst: FuturesUnordered<_> = burst.collect();
        for _ in 0..=((kill * 7) % BURST) {
            let (number, status) = burst.next().await.unwrap();
            assert_eq!(status, 200);
            acknowledged.insert(number);
        }
        drop(burst);
        server.kill();
        server = site.serve().await;
        let kept = server.cli("log webhooks --json").await.ok().rows();
        let kept = counted(&kept, "operation");
        for number in &acknowledged {
            assert_eq!(kept.get(&operation(*number as u128)), Some(&1), "{kill}: {number}");
        }
    }
    // As Microsoft does: what was not answered comes again; here all of it does.
    for number in 0..KILLS * BURST {
        let said = body(&operation(number as u128), "Renew", subscription(number));
        assert_eq!(server.post("/marketplace/webhook", Some(&token), &said).await.status, 200);
    }
    let waiting =
        async || server.cli("status --json").await.ok().rows()[0]["webhooks"]["waiting"].clone();
    for _ in 0..600 {
        if waiting().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = server.cli("log webhooks --json").await.ok().rows();
    assert_eq!(rows.len(), KILLS * BURST, "one row each");
    assert_eq!(counted(&rows, "state"), BTreeMap::from([("done".to_owned(), rows.len())]));
    let changes = server.cli("changes --json").await.ok().rows();
    let effects = counted(&changes, "id");
    for number in 0..KILLS * BURST {
        let id = subscription(number).to_string();
        assert_eq!(effects.get(&id), Some(&1), "one effect each: {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_large_webhooks_in_a_burst_leave_memory_as_it_was() {
    let (site, server) = Site::synced().await;
    let token = site.sandbox.user_token(genuine());
    let nobody = Uuid::from_u128(0xdead);
    // 1,000 of 60 KB, every other one delivered twice, in an order that mixes them all.
    let padding = "x".repeat(60_000);
    let mut numbers: Vec<u128> = (0..1_000).chain((0..1_000).step_by(2)).collect();
    for i in (1..numbers.len()).rev() {
        numbers.swap(i, i * 7_919 % (i + 1));
    }
    let deliver = async |number: u128| {
        let mut said = body(&operation(number), "Renew", nobody);
        said["note"] = Value::from(format!("{number} {padding}"));
        let answer = server.post("/marketplace/webhook", Some(&token), &said).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    let burst = async |numbers: &[u128]| {
        for some in numbers.chunks(25) {
            futures_util::future::join_all(some.iter().map(|number| deliver(*number))).await;
        }
    };
    // The first export, ten seconds after the start, reads the whole store, and what sled has read
    // stays in memory for a while: it is to be over before there is anything large.
    while !server.ops("/readyz").await.1.contains("\"last_export\":\"") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // These fill the store's cache once: two thousand as large.
    burst(&(2_000..4_000).collect::<Vec<_>>()).await;
    let before = server.resident();
    burst(&numbers).await;
    let grown = server.resident().saturating_sub(before);
    let rows = server.cli("log webhooks --json").await.ok().rows();
    assert_eq!(rows.len(), 3_000, "one row each");
    // The bodies are 57 MiB, with those that came twice 86.
    assert!(grown < 40 << 10, "{grown} KiB more than before");
}
