//! Webhooks: their tokens, their faults, their forgers, and who delivers them.

use entitled::sandbox::{Fate, Forgery};
use wiremock::Request;

use super::orders::Shop;
use super::*;

fn bearer(request: &Request) -> &str {
    let header = request.headers.get("authorization").unwrap();
    header.to_str().unwrap().strip_prefix("Bearer ").unwrap()
}

#[tokio::test]
async fn webhooks_come_with_tokens_of_either_version() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    let url = format!("{}/hook", shop.receiver.uri());
    for (version, issuer, caller, other) in
        [("V1", "/sts/", "appid", "azp"), ("V2", "/login/", "azp", "appid")]
    {
        let webhook = json!({"url": url, "version": version});
        shop.world(|world| world.set_webhook(Some(serde_json::from_value(webhook).unwrap())));
        shop.buy("company", None);
        shop.deliver().await;
        let all = shop.receiver.received_requests().await.unwrap();
        let claims = claims(bearer(all.last().unwrap()));
        assert!(claims["iss"].as_str().unwrap().contains(issuer), "{claims}");
        assert_eq!(claims["aud"], json!(story::MARKETPLACE_APP_ID));
        assert_eq!(claims["tid"], json!(story::PUBLISHER_TENANT));
        assert_eq!(claims[caller], "20e940b3-4c77-4b0b-9a53-9e16a1b010a7");
        assert!(claims.get(other).is_none(), "{claims}");
    }
}

#[tokio::test]
async fn webhooks_are_lost_doubled_late_bare_and_forged_as_the_faults_say() {
    let shop = Shop::new("webhook.loss=1").await;
    shop.answers(200).await;
    let set = |spec: &str| shop.world(|world| world.set_faults(spec.parse().unwrap()));
    let id = shop.buy("company", None);
    assert!(shop.deliver().await.is_empty());
    assert_eq!(shop.world(|world| world.deliveries())[0].fate, Fate::Lost);

    set("webhook.duplicate=1");
    let first = shop.world(|world| world.suspend(id)).unwrap();
    let told = shop.deliver().await;
    assert!(told.len() == 2 && told.iter().all(|it| it.operation == Some(first)), "{told:?}");

    set("webhook.reorder=1");
    let late = shop.world(|world| world.reinstate(id)).unwrap();
    shop.pass(1);
    set("webhook.minimal=1");
    let early = shop.world(|world| world.unsubscribe(id)).unwrap();
    let told = shop.deliver().await;
    assert_eq!(told.iter().map(|it| it.operation).collect::<Vec<_>>(), [Some(early)]);
    let bare = shop.received().await.pop().unwrap();
    assert_eq!(
        (&bare["quantity"], &bare["status"], &bare["planId"]),
        (&json!(""), &json!(""), &json!(""))
    );
    assert!(bare.get("subscription").is_none() && bare["id"] != bare["activityId"]);
    shop.pass(4);
    assert_eq!(shop.deliver().await[0].operation, Some(late), "overtaken");

    set("webhook.forge=1");
    shop.buy("company", None);
    let told = shop.deliver().await;
    assert_eq!(told.iter().filter(|it| it.forged.is_some()).count(), 1, "{told:?}");
    assert_eq!(told.len(), 2, "beside the genuine one");
}

#[tokio::test]
async fn each_forgery_is_wrong_in_its_own_way() {
    let shop = Shop::new("").await;
    let id = shop.buy("company", None);
    shop.answers(200).await;
    let jwks = format!("{}/login/common/discovery/v2.0/keys", shop.probe.sandbox.base());
    let jwks = shop.probe.send(shop.probe.http.get(jwks)).await.json();
    let now = "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap().as_second();
    for forgery in Forgery::ALL {
        shop.deliver().await;
        shop.world(|world| world.forge_webhook(id, forgery)).unwrap();
        let told = shop.deliver().await;
        assert_eq!(told[0].forged, Some(forgery));
        let all = shop.receiver.received_requests().await.unwrap();
        let request = all.last().unwrap();
        if forgery == Forgery::NoToken {
            assert!(request.headers.get("authorization").is_none());
            continue;
        }
        let token = bearer(request);
        let header = token.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let known = jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]);
        let claims = claims(token);
        let home = json!(story::PUBLISHER_TENANT);
        let issued = claims["iss"].as_str().unwrap().contains(home.as_str().unwrap());
        let right = [
            header["alg"] == "RS256",
            known,
            claims["aud"] == json!(story::MARKETPLACE_APP_ID),
            claims["tid"] == home,
            issued,
            claims["azp"] == "20e940b3-4c77-4b0b-9a53-9e16a1b010a7",
            claims["exp"].as_i64().unwrap() > now,
            claims["nbf"].as_i64().unwrap() <= now,
        ];
        let wrong: Vec<usize> = (0..8).filter(|at| !right[*at]).collect();
        let expected: &[usize] = match forgery {
            Forgery::NoAlgorithm => &[0, 1],
            Forgery::Symmetric => &[0],
            Forgery::UnknownKey => &[1],
            Forgery::Audience => &[2],
            Forgery::Tenant => &[3, 4],
            Forgery::Issuer => &[4],
            Forgery::Caller => &[5],
            Forgery::Expired => &[6],
            Forgery::NotYet => &[7],
            Forgery::NoToken | Forgery::Signature | Forgery::Operation => &[],
        };
        assert_eq!(wrong, expected, "{forgery:?}");
    }
    assert_eq!(shop.status(id).await, "Subscribed", "what forgers say did not happen");
}

#[tokio::test]
async fn the_serving_future_delivers_and_the_control_route_orders() {
    let shop = Shop::new("").await;
    shop.answers(200).await;
    shop.world(|world| world.deliver_by_hand(false));
    let control = async |order: Value| {
        let body = json!({"marketplace": order}).to_string();
        let url = shop.probe.url("/control");
        let answer = shop.probe.send(shop.probe.http.post(url).body(body)).await;
        assert_eq!(answer.status, 200, "{order}: {}", answer.text);
        answer.json()["done"][0].clone()
    };
    let bought = json!({"buy": {"tenant": CONTOSO.tenant, "user": story::ANA.user, "plan": "team",
        "quantity": 3, "auto_activate": true}});
    let id = uuid_of(&control(bought).await["subscription"]);
    control(json!({"change_quantity": {"subscription": id, "quantity": 4}})).await;
    shop.pass(10);
    control(json!({"change_plan": {"subscription": id, "plan": "company"}})).await;
    shop.pass(10);
    for order in ["roll_back", "suspend", "renew"] {
        if order == "renew" {
            control(json!({"reinstate": id})).await;
        }
        shop.pass(10);
        control(json!({ order: id })).await;
        shop.pass(10);
    }
    control(json!({"unsubscribe": id})).await;
    control(json!({"forge_webhook": {"subscription": id, "forgery": "not_yet"}})).await;
    control(json!({"send_webhook": {"subscriptionId": id, "operationType": "Reinstate"}})).await;
    assert!(control(json!({"landing_token": id})).await["token"].is_string());
    let url = shop.probe.url("/control/webhooks");
    let tries = loop {
        let told = shop.probe.send(shop.probe.http.get(&url)).await.json();
        let tries = told["tries"].as_array().unwrap().clone();
        if tries.len() >= 10 {
            break tries;
        }
        tokio::task::yield_now().await;
    };
    let actions: Vec<_> = tries.iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions[..8],
        [
            "Subscribe",
            "ChangeQuantity",
            "ChangePlan",
            "ChangePlan",
            "Suspend",
            "Reinstate",
            "Renew",
            "Unsubscribe"
        ]
    );
    let revert = &shop.received().await[3];
    assert_eq!(revert["planId"], revert["subscription"]["planId"], "a rolled back change");
    control(json!({"set_webhook": null})).await;
    shop.buy("company", None);
    assert_eq!(shop.world(|world| world.webhooks_waiting()), 0);
}
