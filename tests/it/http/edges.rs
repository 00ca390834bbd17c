//! What every answer carries, and what happens to those who ask too much.

use std::num::NonZeroU32;
use std::time::Duration;

use entitled::http::public::{openapi, routes};
use entitled::http::{Limits, Rate, Rates};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::harness::*;
use crate::tokens::{ANA, CONTOSO};

const ONE: &str = "/v1/entitlements";

fn readable_from_any_page(headers: &HeaderMap, what: &str) {
    let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(text("access-control-allow-origin").as_deref(), Some("*"), "{what}");
    assert_eq!(headers.get_all("access-control-allow-origin").iter().count(), 1, "{what}");
    assert_eq!(text("access-control-allow-credentials"), None, "{what}");
    let exposed = text("access-control-expose-headers").unwrap();
    assert!(exposed.contains("retry-after") && exposed.contains("etag"), "{what}");
    assert!(headers.contains_key("x-request-id"), "{what}");
}

#[tokio::test]
async fn every_answer_can_be_read_by_a_visual_errors_included() {
    let once = Rate { burst: NonZeroU32::MIN, per: Duration::from_mins(1) };
    let rates = Rates { wrong: once, ..Setup::default().rates };
    let world = World::with(Setup { rates, ..Setup::default() }).await;
    let good = question(CONTOSO, ANA).to_string();
    let long = format!("/{}", "x".repeat(3_000));
    let cases: Vec<(Method, &str, Option<&str>, String, u16)> = vec![
        (Method::POST, ONE, Some(SHOP), good.clone(), 200),
        (Method::POST, ONE, Some(SHOP), "{".to_owned(), 400),
        (Method::POST, ONE, None, good.clone(), 401),
        (Method::POST, ONE, Some(PRINTER), good.clone(), 403),
        (Method::POST, ONE, Some(SHOP), json!({ "product": "x", "host": 1 }).to_string(), 404),
        (Method::GET, ONE, Some(SHOP), String::new(), 405),
        (Method::DELETE, "/openapi.json", None, String::new(), 405),
        (Method::POST, ONE, Some(SHOP), "x".repeat(70_000), 413),
        (Method::GET, &long, None, String::new(), 414),
        (Method::POST, ONE, Some(SHOP), question("x", ANA).to_string(), 422),
        (Method::POST, ONE, Some("ent_wrong"), good.clone(), 401),
        (Method::POST, ONE, Some("ent_wrong"), good.clone(), 429),
        (Method::GET, "/nothing/here", None, String::new(), 404),
        (Method::GET, "/.well-known/jwks.json", None, String::new(), 200),
        (Method::GET, "/openapi.json", None, String::new(), 200),
    ];
    for (method, path, credential, body, expected) in cases {
        let what = format!("{method} {} {expected}", path.chars().take(30).collect::<String>());
        let mut request =
            world.client.request(method, world.url(path)).header("origin", "null").body(body);
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{what}");
        readable_from_any_page(response.headers(), &what);
        if expected >= 400 {
            assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
        }
        if expected == 429 {
            let wait: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=61).contains(&wait), "{wait}");
        }
    }
    let mut request = world.client.get(world.url("/openapi.json"));
    for i in 0..70 {
        request = request.header(format!("x-{i}"), "1");
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 431);
    readable_from_any_page(response.headers(), "too many header fields");
    let request = world.client.get(world.url("/openapi.json")).header("x-long", "x".repeat(17_000));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 431);
    readable_from_any_page(response.headers(), "too long a head");
}

#[tokio::test]
async fn what_microsoft_writes_into_an_address_may_be_longer() {
    let world = World::new().await;
    let encoded = "%C3%A9".repeat(512);
    for path in ["/graph/notifications", "/graph/lifecycle"] {
        let url = world.url(&format!("{path}?validationToken={encoded}"));
        let answer = world.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.text().await.unwrap(), "é".repeat(512));
    }
    let query = format!("error=access_denied&error_description={}", "x".repeat(6_000));
    for (path, status) in [("/marketplace/consent", 503), ("/v1/entitlements", 414)] {
        let url = world.url(&format!("{path}?{query}"));
        assert_eq!(world.client.get(url).send().await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_hundred_questions_with_a_package_each_fit_into_one_batch() {
    let world = World::new().await;
    let mut one = question(CONTOSO, ANA);
    one["package"] = format!("eyJ{}", "x".repeat(700)).into();
    let body = json!({ "questions": vec![one; 100] }).to_string();
    assert!(body.len() > 80_000, "{}", body.len());
    let (status, answer) = world.post("/v1/entitlements/batch", Some(SHOP), body).await;
    assert_eq!((status, answer["answers"].as_array().unwrap().len()), (200, 100));
    for (path, key) in [("/v1/entitlements/batch", SHOP), ("/v1/licenses/import", SELLER)] {
        let most = " ".repeat(256 * 1024);
        assert_eq!(world.post(path, Some(key), most.clone()).await.0, 400, "{path}: read");
        assert_eq!(world.post(path, Some(key), most + " ").await.0, 413, "{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_on_any_route_without_credentials() {
    let world = World::new().await;
    for path in [ONE, "/v1/entitlements/batch", "/.well-known/jwks.json", "/nothing"] {
        let request = world
            .client
            .request(Method::OPTIONS, world.url(path))
            .header("origin", "null")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
        readable_from_any_page(response.headers(), path);
        let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
        for name in ["authorization", "content-type", "x-visual-version", "idempotency-key"] {
            assert!(allowed.split(", ").any(|it| it == name), "{name} in {allowed}");
        }
        let methods = response.headers()["access-control-allow-methods"].to_str().unwrap();
        assert!(methods.contains("POST") && methods.contains("GET"), "{methods}");
        assert_eq!(response.headers()["access-control-max-age"], "7200");
    }
}

#[tokio::test]
async fn the_description_names_the_routes_there_are_and_no_others() {
    let world = World::new().await;
    let text =
        world.client.get(world.url("/openapi.json")).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, openapi());
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut described: Vec<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|it| (it.clone(), path.clone()))
        })
        .collect();
    let mut served: Vec<(String, String)> =
        routes().into_iter().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
    for (method, path) in served {
        let method: Method = method.to_ascii_uppercase().parse().unwrap();
        let response = world.client.request(method, world.url(&path)).send().await.unwrap();
        assert!(![404, 405].contains(&response.status().as_u16()), "{path} is there");
    }
    // What the answer and the problem hold is described field by field.
    let fields = |name: &str| -> Vec<String> {
        document["components"]["schemas"][name]["properties"]
            .as_object()
            .unwrap_or_else(|| panic!("{name}: {document}"))
            .keys()
            .cloned()
            .collect()
    };
    let (_, answer) = world.ask(question(CONTOSO, ANA)).await;
    let mut expected: Vec<String> = answer.as_object().unwrap().keys().cloned().collect();
    expected.push("trail".to_owned());
    expected.sort();
    let mut found = fields("Answer");
    found.sort();
    assert_eq!(found, expected);
    assert!(fields("Problem").contains(&"detail".to_owned()));
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_again() {
    let rate =
        |burst| Rate { burst: NonZeroU32::new(burst).unwrap(), per: Duration::from_hours(1) };
    let rates = Rates {
        address: rate(100),
        tenant: rate(5),
        caller: rate(7),
        wrong: rate(10),
        ..Rates::default()
    };
    let world = World::with(Setup { rates, ..Setup::default() }).await;
    let (mut users, mut callers, mut guesses, mut wrong) = (vec![], vec![], vec![], vec![]);
    let ana = token_of(ANA);
    let guess = |number: usize| {
        let license = json!({ "id": "L-1", "licensee": format!("x{number}") });
        json!({ "product": PRODUCT, "host": "web", "license": license }).to_string()
    };
    for number in 0..12 {
        users.push(world.post(ONE, Some(&ana), question("", "").to_string()).await.0);
        callers.push(world.ask(question(CONTOSO, ANA)).await.0);
        guesses.push(world.post(ONE, None, guess(number)).await.0);
    }
    wrong.push(world.post(ONE, Some("ent_wrong"), String::new()).await.0);
    assert_eq!(users, [[200; 5].as_slice(), &[429; 7]].concat(), "users of one tenant");
    assert_eq!(callers, [[200; 7].as_slice(), &[429; 5]].concat(), "one caller");
    assert_eq!(guesses, [[200; 10].as_slice(), &[429; 2]].concat(), "guesses of one address");
    assert_eq!(wrong, [429], "a wrong key is a guess too");
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_allowance() {
    let rates = Rates {
        wrong: Rate { burst: NonZeroU32::MIN, per: Duration::from_hours(1) },
        ..Setup::default().rates
    };
    let world = World::with(Setup { rates, ..Setup::default() }).await;
    let status = async |forwarded: &str| {
        let request = world.client.post(world.url(ONE)).bearer_auth("ent_wrong");
        request.header("x-forwarded-for", forwarded).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("198.51.100.1").await, 401);
    assert_eq!(status("198.51.100.1").await, 429);
    assert_eq!(status("198.51.100.2").await, 401);
    assert_eq!(status("198.51.100.2, 198.51.100.1").await, 429, "the proxy's own entry counts");
}

#[tokio::test]
async fn more_requests_at_once_than_agreed_are_sent_away() {
    let limits = Limits { in_flight: 0, ..Setup::default().limits };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let response = world.client.post(world.url(ONE)).bearer_auth(SHOP).send().await.unwrap();
    assert_eq!(response.status(), 503);
    let wait: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    readable_from_any_page(response.headers(), "overload");
}
