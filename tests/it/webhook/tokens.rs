//! Tokens that are not the marketplace's: 401 and no effect.

use super::*;

#[tokio::test]
async fn both_versions_and_both_forms_of_the_audience_are_the_marketplaces() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    let audiences = [story::CLIENT_ID.to_string(), format!("api://{}", story::CLIENT_ID)];
    let mut number = 0;
    for audience in audiences {
        for version in [TokenVersion::V1, TokenVersion::V2] {
            let token = world.sandbox.user_token(TokenRequest {
                version,
                audience: audience.clone(),
                ..genuine()
            });
            number += 1;
            let body = body(&operation(number), "Renew", id).to_string();
            assert_eq!(
                send(&world, &format!("bEARER {token}"), body).await,
                200,
                "{audience} {version:?}"
            );
        }
    }
}

#[tokio::test]
async fn whatever_is_not_the_marketplaces_token_is_refused_without_effect_and_counted() {
    let world = World::new().await;
    world.sync().await;
    let id = subscription(&world).id;
    let body = body(&operation(1), "Unsubscribe", id).to_string();
    let of = |request: TokenRequest| format!("Bearer {}", world.sandbox.user_token(request));
    let good = of(genuine());
    let mut hostile = vec![
        of(TokenRequest { tenant: story::CONTOSO.tenant, ..genuine() }),
        of(TokenRequest { audience: story::VISUAL_AUDIENCE.to_owned(), ..genuine() }),
        of(TokenRequest { caller: story::POWER_BI_WEB.to_owned(), ..genuine() }),
        of(TokenRequest {
            caller: story::CLIENT_ID.to_string(),
            version: TokenVersion::V2,
            ..genuine()
        }),
        of(TokenRequest { expires_in: SignedDuration::from_secs(-61), ..genuine() }),
        format!("Bearer {}", world.token(story::MIA.tenant, story::MIA.user)),
        format!("Bearer {}", crate::world::CALLER_KEY),
        format!("Basic {}", &good[7..]),
        good[7..].to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ];
    hostile.extend((0..40).map(|it| {
        let mut token = good.clone().into_bytes();
        let at = 10 + it * (token.len() - 12) / 40;
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(token).unwrap()
    }));
    for authorization in &hostile {
        assert_eq!(send(&world, authorization, body.clone()).await, 401, "{authorization}");
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{WEBHOOK}", world.daemon.public);
    let bare = client.post(url).body(body).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    assert!(all(&world).is_empty());
    assert_eq!((mirrored(&world, id).as_str(), reads(&world, id)), ("Subscribed", 0));
    let (_, metrics) = world.ops("/metrics").await;
    let counted =
        format!("entitled_webhooks_total{{outcome=\"unauthorized\"}} {}", hostile.len() + 1);
    assert!(metrics.contains(&counted), "{metrics}");
}
