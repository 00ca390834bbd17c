//! The stand-in itself: control, faults, size.

use super::*;

#[tokio::test]
async fn the_control_route_changes_the_world() {
    let probe = Probe::new(Options::default()).await;
    let post = async |path: &str, body: &str| {
        probe.send(probe.http.post(probe.url(path)).body(body.to_owned())).await
    };
    let (tenant, dan, sku) = (CONTOSO.tenant, story::DAN.user, story::CALENDAR_SKU);
    let body = format!(
        r#"[{{"assign": {{"tenant": "{tenant}", "user": "{dan}", "sku": "{sku}"}}}},
            {{"add_user": {{"tenant": "{tenant}", "name": "Una"}}}},
            {{"subscription": {{"id": "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10", "b": 1, "a": 2}}}},
            {{"advance_clock": {{"seconds": 60}}}}, {{"rotate_keys": {{}}}},
            {{"consent": {{"tenant": "{tenant}", "roles": ["User.Read.All"]}}}}]"#
    );
    let done = post("/control", &body).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.json()["done"][1]["user"].is_string());
    let seats = probe.sandbox.with_world(|world| world.seats(tenant));
    assert!(seats.iter().any(|seat| seat.user == dan && seat.sku == sku && seat.held));

    let figures = probe.ask("", "/control", &[]).await.json();
    assert_eq!(
        (&figures["now"], &figures["subscriptions"]),
        (&json!("2026-11-22T12:01:00Z"), &json!(10))
    );

    for (body, status) in [
        ("{", 400),
        (r#"{"fly": {}}"#, 400),
        (r#"{"faults": "graph.430=1"}"#, 422),
        (
            r#"{"delete_user": {"tenant": "00000000-0000-4000-8000-00000000dead", "user": "00000000-0000-4000-8000-00000000dead"}}"#,
            422,
        ),
    ] {
        let answer = post("/control", body).await;
        assert_eq!((answer.status, answer.json()["error"].is_string()), (status, true), "{body}");
    }
    let request =
        format!(r#"{{"tenant": "{tenant}", "user": "{dan}", "version": "V1", "expires_in": -5}}"#);
    let token =
        post("/control/token", &request).await.json()["access_token"].as_str().unwrap().to_owned();
    let now = claims(&token);
    assert_eq!((&now["aud"], &now["oid"]), (&json!(story::VISUAL_AUDIENCE), &json!(dan)));
    let noon = NOW.parse::<Timestamp>().unwrap().as_second();
    assert_eq!(now["exp"], noon + 55);
    assert!(now["nbf"].as_i64() < now["exp"].as_i64());

    assert_eq!(post("/control", r#"{"outage": "on"}"#).await.status, 200);
    let down = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await;
    assert_eq!(down.status, 503);
    assert_eq!(post("/control", r#"{"outage": "off"}"#).await.status, 200);
    probe.token(tenant, GRAPH).await;
    let line = probe.sandbox.requests().pop().unwrap();
    assert_eq!((line.method.as_str(), line.status, line.tenant), ("POST", 200, Some(tenant)));
}

#[tokio::test]
async fn the_same_seed_makes_the_same_world() {
    let world = async |seed| {
        let probe = Probe::new(Options { seed, tenants: 5, users: 30, ..Options::default() }).await;
        probe.sandbox.with_world(|world| {
            world.tenants().into_iter().map(|id| (id, world.seats(id))).collect::<Vec<_>>()
        })
    };
    let (one, again, other) = (world(1).await, world(1).await, world(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.iter().map(|(_, seats)| seats.len()).sum::<usize>() > 100);
}
