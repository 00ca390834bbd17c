//! Usage rights by `$batch` of the beta: pages, throttled items, and what is no answer.

use std::collections::BTreeMap;

use entitled::domain::UserId;
use entitled::microsoft::{BatchMiss, ErrorKind, RightsOf};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, Request};

use super::{CUSTOMER, Pretend, header, ok, tenant};

const BATCH: &str = "/graph/beta/$batch";

fn user(n: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x2222 << 64 | n))
}

fn right(identifier: &str, state: &str) -> Value {
    json!({ "id": "x", "catalogId": "CFQ:1", "serviceIdentifier": identifier, "state": state })
}

fn page(rows: &[Value]) -> Value {
    json!({ "@odata.context": "wrong on purpose", "value": rows })
}

fn denied(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "x" } })
}

/// The urls asked for in a batch, by item id; each asks for words added later.
fn asked(request: &Request) -> BTreeMap<String, String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let item = |it: &Value| {
        assert_eq!(
            (&it["method"], &it["headers"]["Prefer"]),
            (&json!("GET"), &json!("include-unknown-enum-members"))
        );
        let text = |name: &str| it[name].as_str().unwrap().to_owned();
        (text("id"), text("url"))
    };
    body["requests"].as_array().unwrap().iter().map(item).collect()
}

/// Answers each item by its url: status, body.
async fn answer(it: &Pretend, by: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) {
    let respond = move |request: &Request| {
        let item = |(id, url): (String, String)| {
            let (status, body) = by(&url);
            json!({ "id": id, "status": status, "headers": { "Retry-After": "3" }, "body": body })
        };
        ok(json!({ "responses": asked(request).into_iter().map(item).collect::<Vec<_>>() }))
    };
    Mock::given(method("POST")).and(path(BATCH)).respond_with(respond).mount(&it.server).await;
}

async fn read(it: &Pretend, users: &[UserId]) -> Vec<RightsOf> {
    it.microsoft.graph().usage_rights(&it.meter, tenant(CUSTOMER), users).await.unwrap()
}

/// `identifier state` of each row.
fn rows(it: &RightsOf) -> Vec<String> {
    let rows = it.1.as_ref().unwrap();
    rows.iter().map(|it| format!("{} {}", it.identifier, it.state)).collect()
}

#[tokio::test]
async fn all_pages_of_each_user_are_read_whatever_the_states_are() {
    let it = Pretend::new().await;
    answer(&it, |url| {
        let mut first = page(&[right("a.b.c", "active"), right("plan", "someNewWord")]);
        first["@odata.nextLink"] = json!(format!(
            "https://graph.microsoft.com/beta/users/{}/usageRights?$skiptoken=a%2fB",
            user(1)
        ));
        if url == format!("/users/{}/usageRights", user(1)) {
            (200, first)
        } else if url == format!("/users/{}/usageRights?$skiptoken=a%2fB", user(1)) {
            (200, page(&[right("d.e.f", "Warning")]))
        } else {
            (200, page(&[]))
        }
    })
    .await;
    let found = read(&it, &[user(1), user(2)]).await;
    assert_eq!(rows(&found[0]), ["a.b.c active", "plan someNewWord", "d.e.f Warning"]);
    assert_eq!(found[0].1.as_ref().unwrap()[0].catalog.as_deref(), Some("CFQ:1"));
    assert_eq!(rows(&found[1]), [""; 0]);
    let sent: Vec<usize> = it.requests("/$batch").await.iter().map(|it| asked(it).len()).collect();
    assert_eq!(sent, [2, 1]);
}

#[tokio::test]
async fn what_is_no_answer_is_not_taken_for_an_empty_one() {
    let it = Pretend::new().await;
    answer(&it, |url| {
        let with_link = |link: &str| {
            let mut page = page(&[]);
            page["@odata.nextLink"] = json!(link);
            (200, page)
        };
        let own = |n, token: &str| {
            with_link(&format!("https://x/beta/users/{}/usageRights?$skiptoken={token}", user(n)))
        };
        match (1..=8).find(|n| url.contains(&user(*n).to_string())) {
            Some(1) => (404, denied("Request_ResourceNotFound")),
            Some(2) => (400, denied("BadRequest")),
            Some(3) => (200, json!({ "value": null })),
            Some(4) => (200, page(&[right("a.b.c", "active"), json!({ "state": "active" })])),
            Some(5) => with_link("https://evil.example/elsewhere"),
            Some(6) => own(7, "x"),
            Some(7) => (200, json!({})),
            _ => own(8, "again"),
        }
    })
    .await;
    let users: Vec<UserId> = (1..=8).map(user).collect();
    let found = read(&it, &users).await;
    assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>(), users);
    assert_eq!(found[0].1, Err(BatchMiss::Gone));
    let odd = |at: usize, words: &str| {
        let is = matches!(&found[at].1, Err(BatchMiss::Odd(why)) if why.contains(words));
        assert!(is, "{words}: {:?}", found[at].1);
    };
    odd(1, "400");
    odd(2, "no `value`");
    odd(3, "no `serviceIdentifier`");
    odd(4, "leads out of the API");
    odd(5, "leads elsewhere");
    odd(6, "no `value`");
    odd(7, "more than 20 pages");
}

#[tokio::test]
async fn a_throttled_item_waits_and_the_others_are_not_asked_again() {
    let it = Pretend::new().await;
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    answer(&it, move |url| {
        let second = url.contains(&user(2).to_string());
        let first = rounds.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        if second && first {
            return (429, denied("TooManyRequests"));
        }
        (200, page(&[right("a.b.c", "active")]))
    })
    .await;
    let found = read(&it, &[user(1), user(2)]).await;
    assert!(found.iter().all(|it| rows(it) == ["a.b.c active"]));
    let sent: Vec<usize> = it.requests("/$batch").await.iter().map(|it| asked(it).len()).collect();
    assert_eq!(sent, [2, 1]);
    assert_eq!(it.slept_s(), [3.0]);
    assert_eq!(it.meter.throttled().as_secs(), 3, "on the tenant's budget");
}

#[tokio::test]
async fn a_refused_item_is_the_tenants_answer() {
    let it = Pretend::new().await;
    answer(&it, |_| (403, denied("Authorization_RequestDenied"))).await;
    let graph = it.microsoft.graph();
    let error = graph.usage_rights(&it.meter, tenant(CUSTOMER), &[user(1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Consent);
    let sent = it.requests("/$batch").await;
    assert!(sent.iter().all(|it| header(it, "authorization").starts_with("Bearer ")));
}
