//! Entra: tokens, metadata and keys.

use super::*;

#[tokio::test]
async fn the_token_endpoint_refuses_in_entras_words() {
    let probe = Probe::new(Options::default()).await;
    let check = async |tenant: &str,
                       change: (&'static str, &'static str),
                       code: u64,
                       status: u16| {
        let mut form = credentials(GRAPH);
        form.retain(|(name, _)| *name != change.0);
        form.push(change);
        let answer = probe.login(tenant, "oauth2/v2.0/token", &form).await;
        assert_eq!((answer.json()["error_codes"][0].as_u64(), answer.status), (Some(code), status));
        let text = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        for field in ["error", "timestamp", "trace_id", "correlation_id"] {
            assert!(answer.json()[field].is_string(), "{field}");
        }
        assert!(!text.contains(story::CLIENT_SECRET));
    };
    let contoso = CONTOSO.tenant.to_string();
    let nothing = ("x", "");
    check(&contoso, ("client_secret", "guess"), 7_000_215, 401).await;
    check(&contoso, ("client_secret", story::EXPIRED_SECRET), 7_000_222, 401).await;
    check(&contoso, ("client_id", "00000000-0000-4000-8000-00000000dead"), 700_016, 400).await;
    check(&contoso, ("scope", "https://vault.azure.net/.default"), 500_011, 400).await;
    check(&contoso, ("scope", MARKETPLACE), 500_011, 400).await;
    check(&contoso, ("scope", "User.Read.All"), 70_011, 400).await;
    check(&contoso, ("grant_type", "password"), 70_003, 400).await;
    check(&LITWARE.tenant.to_string(), nothing, 700_016, 400).await;
    check("00000000-0000-4000-8000-00000000beef", nothing, 90_002, 400).await;
    check("common", nothing, 9_001_023, 400).await;
    check(&story::PERSONAL_TENANT.to_string(), nothing, 9_001_023, 400).await;
}

#[tokio::test]
async fn a_token_may_be_asked_for_in_every_documented_way() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let two = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await.json();
    assert_eq!(two["expires_in"], 3_599);
    let mut form = credentials("");
    form.push(("resource", "https://graph.microsoft.com/"));
    let one = probe.login(tenant, "oauth2/token", &form).await.json();
    assert_eq!((&one["expires_in"], &one["token_type"]), (&json!("3599"), &json!("Bearer")));

    // HTTP Basic, form-encoded inside.
    let secret: String =
        url::form_urlencoded::byte_serialize(story::CLIENT_SECRET.as_bytes()).collect();
    let basic = STANDARD.encode(format!("{}:{secret}", story::CLIENT_ID));
    let url = format!("{}/login/{tenant}/oauth2/v2.0/token", probe.sandbox.base());
    let form = [("grant_type", "client_credentials"), ("scope", GRAPH)];
    let request = probe.http.post(&url).header("authorization", format!("Basic {basic}"));
    assert_eq!(probe.send(request.form(&form)).await.status, 200);

    let assertion = |audience: &str, exp: i64| {
        let body = json!({"aud": audience, "exp": exp, "sub": story::CLIENT_ID}).to_string();
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(body))
    };
    let now = NOW.parse::<Timestamp>().unwrap().as_second();
    let cases = [
        (assertion(&url, now + 60), None),
        (assertion(&url, now - 60), Some(700_024)),
        (assertion("https://elsewhere.example", now + 60), Some(700_023)),
    ];
    for (assertion, code) in cases {
        let mut form = credentials(GRAPH);
        form.retain(|(name, _)| *name != "client_secret");
        form.push(("client_assertion", &assertion));
        let answer = probe.login(tenant, "oauth2/v2.0/token", &form).await;
        assert_eq!(answer.json()["error_codes"][0].as_u64(), code);
    }
}

#[tokio::test]
async fn withdrawn_consent_counts_at_once_and_new_consent_needs_a_new_token() {
    let probe = Probe::new(Options::default()).await;
    let tenant = CONTOSO.tenant;
    let old = probe.token(tenant, GRAPH).await;
    assert_eq!(claims(&old)["roles"], json!(story::ROLES));
    assert_eq!(probe.ask(&old, "/graph/v1.0/users", &[]).await.status, 200);

    probe.sandbox.with_world(|world| world.consent(tenant, Some(Vec::new()))).unwrap();
    let denied = probe.ask(&old, "/graph/v1.0/users", &[]).await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "Authorization_RequestDenied"));
    let bare = probe.token(tenant, GRAPH).await;
    assert!(claims(&bare).get("roles").is_none(), "no permission, no claim");

    let roles = Some(story::ROLES.map(str::to_owned).to_vec());
    probe.sandbox.with_world(|world| world.consent(tenant, roles)).unwrap();
    assert_eq!(probe.ask(&bare, "/graph/v1.0/users", &[]).await.status, 403);
    let new = probe.token(tenant, GRAPH).await;
    assert_eq!(probe.ask(&new, "/graph/v1.0/users", &[]).await.status, 200);

    probe.sandbox.with_world(|world| world.consent(tenant, None)).unwrap();
    assert_eq!(probe.ask(&new, "/graph/v1.0/users", &[]).await.status, 403);
    let gone = probe.login(tenant, "oauth2/v2.0/token", &credentials(GRAPH)).await;
    assert_eq!(gone.json()["error_codes"], json!([700_016]));
}

#[tokio::test]
async fn a_user_token_verifies_against_the_published_keys() {
    let probe = Probe::new(Options::default()).await;
    let base = probe.sandbox.base();
    let request = |tenant, version| TokenRequest {
        tenant,
        user: story::ANA.user,
        audience: "aud".to_owned(),
        caller: story::POWER_BI_WEB.to_owned(),
        scope: story::VISUAL_SCOPE.to_owned(),
        version,
        expires_in: SignedDuration::from_hours(1),
    };
    let verify = async |token: &str, version: &str| {
        let metadata = format!("/login/common/{version}.well-known/openid-configuration");
        let metadata = probe.ask("", &metadata, &[]).await.json();
        let keys = probe.ask("", metadata["jwks_uri"].as_str().unwrap(), &[]).await.json();
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid)?.clone();
        let (n, e) = (key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
        let decoding = jsonwebtoken::DecodingKey::from_rsa_components(n, e).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.set_audience(&["aud"]);
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Value>(token, &decoding, &rules).unwrap().claims;
        Some((claims, metadata["issuer"].as_str().unwrap().to_owned(), key["issuer"].clone()))
    };
    let tenant = CONTOSO.tenant;
    let one = probe.sandbox.user_token(request(tenant, TokenVersion::V1));
    let (claims, issuer, of_key) = verify(&one, "").await.unwrap();
    assert_eq!(issuer, format!("{base}/sts/{{tenantid}}/"));
    assert_eq!(claims["iss"], issuer.replace("{tenantid}", &tenant.to_string()));
    assert_eq!((&claims["ver"], &claims["appid"]), (&json!("1.0"), &json!(story::POWER_BI_WEB)));
    assert!(of_key.is_null() && claims["upn"] == "ana@contoso.example");

    let two = probe.sandbox.user_token(request(tenant, TokenVersion::V2));
    let (claims, issuer, of_key) = verify(&two, "v2.0/").await.unwrap();
    assert_eq!(issuer, format!("{base}/login/{{tenantid}}/v2.0"));
    assert_eq!(of_key, issuer);
    assert_eq!(claims["iss"], issuer.replace("{tenantid}", &tenant.to_string()));
    assert_eq!((&claims["ver"], &claims["azp"]), (&json!("2.0"), &json!(story::POWER_BI_WEB)));
    assert_eq!(
        (&claims["oid"], &claims["scp"]),
        (&json!(story::ANA.user), &json!(story::VISUAL_SCOPE))
    );

    // The key of personal accounts is good for their issuer only.
    let personal = probe.sandbox.user_token(request(story::PERSONAL_TENANT, TokenVersion::V2));
    let (claims, _, of_key) = verify(&personal, "v2.0/").await.unwrap();
    assert_eq!(claims["iss"], of_key);

    // Rotated once, the old key is still published; rotated twice, it is gone.
    for published in [true, false] {
        probe.sandbox.with_world(World::rotate_keys).unwrap();
        assert_eq!(verify(&two, "v2.0/").await.is_some(), published);
    }
}

#[tokio::test]
async fn graph_takes_only_living_tokens_for_graph() {
    let probe = Probe::new(Options::default()).await;
    let good = probe.token(CONTOSO.tenant, GRAPH).await;
    let marketplace = probe.token(story::PUBLISHER_TENANT, MARKETPLACE).await;
    let mut forged = good.clone();
    forged.truncate(good.len() - 20);
    for token in ["", "nonsense", &marketplace, &forged] {
        let answer = probe.ask(token, "/graph/v1.0/organization", &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "InvalidAuthenticationToken"));
    }
    let ids = [("client-request-id", "11111111-2222-4333-8444-555566667777")];
    let fine = probe.ask(&good, "/graph/v1.0/organization", &ids).await;
    assert_eq!((fine.status, fine.header("client-request-id")), (200, Some(ids[0].1)));
    assert!(fine.header("request-id").is_some());
    assert_eq!(fine.rows()[0]["id"], json!(CONTOSO.tenant));
    probe.sandbox.with_world(|world| world.advance_clock(SignedDuration::from_hours(1)));
    assert_eq!(probe.ask(&good, "/graph/v1.0/organization", &[]).await.status, 401);
}
