//! Entra: the token endpoint, `OpenID` metadata, signing keys, and user tokens as it would sign them.
//! Source: graph-licensing.md 10, marketplace-saas.md 2, visuals-and-isv.md 3.4.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Fault;
use super::keys::{PERSONAL, Signer};
use super::wire::{Ask, Reply, stamp};
use super::{World, chance, sign_in, story};

/// Audience of Graph tokens.
pub(crate) const GRAPH: &str = "https://graph.microsoft.com";
/// Graph's own application id, good as a resource name too.
const GRAPH_APP: &str = "00000003-0000-0000-c000-000000000000";
/// Audience of Partner Center tokens. Source: visuals-and-isv.md 4.6.
pub(crate) const PARTNER_CENTER: &str = "https://api.partnercenter.microsoft.com";
/// Audience of marketplace tokens. Source: marketplace-saas.md 2.2.
pub(crate) const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
/// Lifetime of app tokens, one second short of an hour as Entra has it.
const APP_TOKEN_S: i64 = 3_599;

/// There is no such tenant, or it lives in another cloud.
pub(crate) const NOT_FOUND: u32 = 90_002;
/// How else Entra refuses a token for a tenant that lives in another cloud.
///
/// Source: graph-licensing.md sections 10.4 and 11.
const ELSEWHERE: [(u32, &str); 3] = [
    (90_038, "The tenant belongs to a national cloud, with which this one does not federate."),
    (900_382, "A confidential client is not supported in a cross cloud request."),
    (900_432, "A confidential client is not supported in a cross cloud request."),
];

/// Which claims a token has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum TokenVersion {
    /// `appid`, `upn`, issuer of `sts.windows.net`'s form.
    #[serde(alias = "v1", alias = "1.0")]
    V1,
    /// `azp`, `preferred_username`, issuer ending in `/v2.0`.
    #[default]
    #[serde(alias = "v2", alias = "2.0")]
    V2,
}

/// A user's access token to be made. In JSON, `expires_in` is seconds.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenRequest {
    /// `tid`.
    pub tenant: Uuid,
    /// `oid`.
    pub user: Uuid,
    /// `aud`: an App ID URI (v1) or a client id (v2).
    #[serde(default = "default_audience")]
    pub audience: String,
    /// `appid` (v1) or `azp` (v2): the client that asked for the token.
    #[serde(default = "default_caller")]
    pub caller: String,
    /// `scp`; empty leaves the claim out.
    #[serde(default = "default_scope")]
    pub scope: String,
    /// Which claims it has.
    #[serde(default)]
    pub version: TokenVersion,
    /// Time until `exp`; negative makes an expired token.
    #[serde(default = "default_expiry", deserialize_with = "seconds")]
    pub expires_in: SignedDuration,
}

fn default_audience() -> String {
    story::VISUAL_AUDIENCE.to_owned()
}

fn default_caller() -> String {
    story::POWER_BI_WEB.to_owned()
}

fn default_scope() -> String {
    story::VISUAL_SCOPE.to_owned()
}

fn default_expiry() -> SignedDuration {
    SignedDuration::from_hours(1)
}

fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SignedDuration, D::Error> {
    i64::deserialize(from).map(SignedDuration::from_secs)
}

/// Everything below `/login`.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &[&str]) -> Reply {
    match (&ask.method, path) {
        (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => token(world, ask, tenant, true),
        (&Method::POST, [tenant, "oauth2", "token"]) => token(world, ask, tenant, false),
        (&Method::GET | &Method::POST, [tenant, "oauth2", "v2.0", "authorize"]) => {
            sign_in::authorize(world, ask, tenant)
        }
        (&Method::GET, [tenant, "v2.0", "adminconsent"]) => {
            sign_in::admin_consent(world, ask, tenant)
        }
        (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
            metadata(world, tenant, true)
        }
        (&Method::GET, [tenant, ".well-known", "openid-configuration"]) => {
            metadata(world, tenant, false)
        }
        (&Method::GET, [_, "discovery", "v2.0", "keys"]) => {
            let template = issuer(world.base(), "{tenantid}", TokenVersion::V2);
            Reply::json(200, &world.keys().jwks(Some(&template)))
        }
        (&Method::GET, [_, "discovery", "keys"]) => Reply::json(200, &world.keys().jwks(None)),
        _ => refusal(world, 404, "invalid_request", 900_144, "there is nothing at this address"),
    }
}

/// `iss` of a tenant's tokens.
pub(crate) fn issuer(base: &str, tenant: &str, version: TokenVersion) -> String {
    match version {
        TokenVersion::V1 => format!("{base}/sts/{tenant}/"),
        TokenVersion::V2 => format!("{base}/login/{tenant}/v2.0"),
    }
}

fn metadata(world: &mut World, tenant: &str, two: bool) -> Reply {
    let shared = matches!(tenant, "common" | "organizations");
    let known = tenant.parse().ok().filter(|id| world.tenant(*id).is_some());
    let id = match (shared, known) {
        (true, _) => "{tenantid}".to_owned(),
        (false, Some(id)) => id.to_string(),
        (false, None) if tenant == "consumers" || tenant == PERSONAL => PERSONAL.to_owned(),
        (false, None) => return no_tenant(world, tenant),
    };
    let national = known.is_some_and(|id| world.tenant(id).is_some_and(|it| it.national.is_some()));
    let (region, cloud, graph) = if national {
        (json!("USGov"), "microsoftonline.us", "graph.microsoft.us")
    } else {
        (Value::Null, "microsoftonline.com", "graph.microsoft.com")
    };
    let base = world.base();
    let version = if two { TokenVersion::V2 } else { TokenVersion::V1 };
    let (oauth, keys) = if two { ("oauth2/v2.0", "v2.0/keys") } else { ("oauth2", "keys") };
    let body = json!({
        "token_endpoint": format!("{base}/login/{tenant}/{oauth}/token"),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/login/{tenant}/discovery/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer(base, &id, version),
        "authorization_endpoint": format!("{base}/login/{tenant}/{oauth}/authorize"),
        "tenant_region_scope": region,
        "cloud_instance_name": cloud,
        "msgraph_host": graph,
    });
    Reply::json(200, &body).at(world.now_s())
}

fn no_tenant(world: &mut World, tenant: &str) -> Reply {
    let text = format!("Tenant '{tenant}' not found. Check that the tenant identifier is right.");
    refusal(world, 400, "invalid_request", NOT_FOUND, &text)
}

/// Whether a tenant of another cloud may be refused by this code.
pub(crate) fn says_elsewhere(code: u32) -> bool {
    code == NOT_FOUND || ELSEWHERE.iter().any(|it| it.0 == code)
}

/// A tenant of another cloud.
fn elsewhere(world: &mut World, tenant: Uuid, code: u32) -> Reply {
    match ELSEWHERE.iter().find(|it| it.0 == code) {
        Some((code, text)) => refusal(world, 400, "invalid_request", *code, text),
        None => no_tenant(world, &tenant.to_string()),
    }
}

/// An error of the token endpoint. Source: graph-licensing.md 10.4.
pub(super) fn refusal(world: &mut World, status: u16, error: &str, code: u32, text: &str) -> Reply {
    let (trace, correlation) = (world.fresh_id(), world.fresh_id());
    let at = stamp(world.now_s()).replace('T', " ");
    let description = format!(
        "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
    );
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": at,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("{}/login/error?code={code}", world.base()),
    });
    Reply::json(status, &body)
}

fn token(world: &mut World, ask: &Ask, tenant: &str, two: bool) -> Reply {
    if world.strikes(Fault::Token503) {
        return Reply::html(503);
    }
    if world.strikes(Fault::TokenNoPrincipal) {
        let text = "The client application is missing a service principal in the tenant.";
        return refusal(world, 400, "unauthorized_client", 7_000_229, text);
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&ask.body).into_owned().collect();
    let field =
        |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if field("grant_type") == Some("authorization_code") {
        return sign_in::redeem(world, &form);
    }
    if field("grant_type") != Some("client_credentials") {
        let text = "The app requested an unsupported grant type.";
        return refusal(world, 400, "unsupported_grant_type", 70_003, text);
    }
    if ["common", "organizations", "consumers", PERSONAL].contains(&tenant) {
        let text = "The grant type is not supported over the /common or /consumers endpoints. \
                    Please use the tenant-specific endpoint.";
        return refusal(world, 400, "invalid_request", 9_001_023, text);
    }
    let Some(tenant) = tenant.parse().ok().filter(|id| world.tenant(*id).is_some()) else {
        return no_tenant(world, tenant);
    };
    if let Some(code) = world.tenant(tenant).and_then(|it| it.national) {
        return elsewhere(world, tenant, code).about(tenant);
    }
    let basic = basic(ask);
    let client = field("client_id").or(basic.as_ref().map(|(id, _)| id.as_str()));
    let secret = field("client_secret").or(basic.as_ref().map(|(_, secret)| secret.as_str()));
    let roles = world.tenant(tenant).and_then(|tenant| tenant.consent.clone());
    let ours = client.is_some_and(|id| id.eq_ignore_ascii_case(&story::CLIENT_ID.to_string()));
    let (true, Some(roles)) = (ours, roles) else {
        let text = format!(
            "Application with identifier '{}' was not found in the directory '{tenant}'.",
            client.unwrap_or_default()
        );
        return refusal(world, 400, "unauthorized_client", 700_016, &text).about(tenant);
    };
    let proof = match (secret, field("client_assertion")) {
        (Some(secret), _) => check_secret(world, secret),
        (None, Some(assertion)) => check_assertion(world, assertion, tenant),
        (None, None) => Err((
            7_000_218,
            "The request body must contain the following parameter: \
                             'client_assertion' or 'client_secret'.",
        )),
    };
    if let Err((code, text)) = proof {
        return refusal(world, 401, "invalid_client", code, text).about(tenant);
    }
    let resource = if two {
        field("scope").and_then(|scope| scope.strip_suffix("/.default"))
    } else {
        field("resource")
    };
    if let Some(resource) = resource {
        issue(world, tenant, resource, &roles, two)
    } else {
        let text = "The provided value for the input parameter 'scope' is not valid.";
        refusal(world, 400, "invalid_scope", 70_011, text)
    }
    .about(tenant)
}

fn issue(world: &mut World, tenant: Uuid, resource: &str, roles: &[String], two: bool) -> Reply {
    let own_graph = format!("{}/graph", world.base());
    let resource = resource.trim_end_matches('/');
    let (audience, roles) = if [GRAPH, GRAPH_APP, &own_graph].contains(&resource) {
        (GRAPH, roles)
    } else if resource == MARKETPLACE && tenant == story::PUBLISHER_TENANT {
        // Access to the marketplace comes from the ids in Technical configuration: no roles.
        (MARKETPLACE, &[][..])
    } else if resource == PARTNER_CENTER && tenant == story::PUBLISHER_TENANT {
        // Access comes from the role that Partner Center gives the app: no roles here.
        (PARTNER_CENTER, &[][..])
    } else {
        let text = format!("The resource principal named {resource} was not found in the tenant.");
        return refusal(world, 400, "invalid_resource", 500_011, &text);
    };
    let now = world.now_s();
    let (client, base) = (story::CLIENT_ID, world.base());
    let principal = chance::guid(&[2, chance::hash(&chance::halves(tenant))]);
    let mut claims = json!({
        "aud": audience,
        "iss": issuer(base, &tenant.to_string(), TokenVersion::V1),
        "iat": now, "nbf": now, "exp": now + APP_TOKEN_S,
        "appid": client, "appidacr": "1", "idtyp": "app", "ver": "1.0",
        "idp": issuer(base, &tenant.to_string(), TokenVersion::V1),
        "oid": principal, "sub": principal, "tid": tenant,
    });
    // A token without permissions has no `roles` at all. Source: graph-licensing.md 10.2.
    if let (false, Some(fields)) = (roles.is_empty(), claims.as_object_mut()) {
        fields.insert("roles".to_owned(), roles.into());
    }
    let access = world.keys().sign(&claims, Signer::Work);
    let body = if two {
        json!({"token_type": "Bearer", "expires_in": APP_TOKEN_S,
               "ext_expires_in": APP_TOKEN_S, "access_token": access})
    } else {
        json!({"token_type": "Bearer", "expires_in": APP_TOKEN_S.to_string(),
               "ext_expires_in": APP_TOKEN_S.to_string(),
               "expires_on": (now + APP_TOKEN_S).to_string(), "not_before": now.to_string(),
               "resource": resource, "access_token": access})
    };
    Reply::json(200, &body).with("cache-control", "no-store, no-cache")
}

/// Id and secret of HTTP Basic, form-encoded inside as RFC 6749 2.3.1 says.
fn basic(ask: &Ask) -> Option<(String, String)> {
    let (scheme, rest) = ask.header("authorization")?.split_once(' ')?;
    let pair =
        STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| {
        let text = format!("x={text}");
        let mut pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

fn check_secret(world: &World, secret: &str) -> Result<(), (u32, &'static str)> {
    match world.secret(secret) {
        Some(true) => Ok(()),
        Some(false) => Err((7_000_222, "The provided client secret keys for app are expired.")),
        None => Err((
            7_000_215,
            "Invalid client secret provided. Ensure the secret being sent in \
                     the request is the client secret value, not the client secret ID.",
        )),
    }
}

/// A client assertion is taken when it is a JWT for this token endpoint that has not expired; who
/// signed it is not checked, for the sandbox knows no certificates.
fn check_assertion(
    world: &World,
    assertion: &str,
    tenant: Uuid,
) -> Result<(), (u32, &'static str)> {
    let payload = assertion.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<Value> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let claims = claims.ok_or((50_027, "Invalid JWT token."))?;
    let login = format!("{}/login/{tenant}", world.base());
    let audiences = [
        format!("{login}/oauth2/v2.0/token"),
        format!("{login}/oauth2/token"),
        format!("{login}/v2.0"),
    ];
    let audience = claims.get("aud").and_then(Value::as_str).unwrap_or_default();
    if !audiences.iter().any(|known| known == audience) {
        return Err((700_023, "Client assertion audience claim does not match Realm issuer."));
    }
    match claims.get("exp").and_then(Value::as_i64) {
        Some(exp) if exp > world.now_s() => Ok(()),
        _ => Err((700_024, "Client assertion is not within its valid time range.")),
    }
}

/// A user's token; tokens of the personal accounts' tenant are signed with their key.
pub(crate) fn user_token(world: &World, request: &TokenRequest) -> String {
    let now = world.now_s();
    let tenant = request.tenant.to_string();
    let exp = now.saturating_add(request.expires_in.as_secs());
    // An expired token was once valid.
    let start = now.min(exp.saturating_sub(3_600)).min(now);
    let person = world.person(request.tenant, request.user);
    let sub = chance::hash(&[chance::hash(&chance::halves(request.user)), 0x0073_7562]);
    let mut claims = json!({
        "aud": request.audience,
        "iss": issuer(world.base(), &tenant, request.version),
        "iat": start, "nbf": start, "exp": exp,
        "name": person.0, "oid": request.user, "tid": request.tenant,
        "sub": URL_SAFE_NO_PAD.encode(sub.to_be_bytes()),
    });
    if let Some(fields) = claims.as_object_mut() {
        let (caller, login, ver) = match request.version {
            TokenVersion::V1 => ("appid", "upn", "1.0"),
            TokenVersion::V2 => ("azp", "preferred_username", "2.0"),
        };
        fields.insert(caller.to_owned(), request.caller.as_str().into());
        fields.insert(format!("{caller}acr"), "0".into());
        fields.insert(login.to_owned(), person.1.into());
        fields.insert("ver".to_owned(), ver.into());
        if !request.scope.is_empty() {
            fields.insert("scp".to_owned(), request.scope.as_str().into());
        }
    }
    let signer = if tenant == PERSONAL { Signer::Personal } else { Signer::Work };
    world.keys().sign(&claims, signer)
}
