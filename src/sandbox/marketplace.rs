//! SaaS fulfillment v2: list with its paging traps, get one, the error bodies; `operations` and
//! `purchase` hold the rest.
//! Source: marketplace-saas.md 3, 5.1, 6.3, 6.4.

mod operations;
mod purchase;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::entra::MARKETPLACE;
use super::faults::Fault;
use super::wire::{Ask, Reply, encode_lower};
use super::{World, chance, story};

/// The host that next links name: not the one that was asked. Source: marketplace-saas.md 6.3.
const NEXT_HOST: &str = "https://main.prod.marketplaceapi.azure.com";
/// Recorded pages had 66 to 89 items.
const PAGE: (u64, u64) = (66, 89);

/// Everything below `/marketplace`.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &[&str]) -> Reply {
    world.settle_orders();
    let made = world.fresh_id();
    let request = ask.header("x-ms-requestid").map_or_else(|| made.to_string(), str::to_owned);
    let reply = if let Some(stumble) = world.stumbles(ask) {
        if stumble.done {
            route(world, ask, path, &request);
        }
        stumble.reply()
    } else if world.strikes(Fault::Marketplace503Html) {
        Reply::html(503)
    } else if world.strikes(Fault::Marketplace500) {
        let body = json!({"error": {"code": "InternalServerError", "message": "try again"}});
        Reply::json(500, &body)
    } else if world.strikes(Fault::Marketplace429) {
        Reply::empty(429).with("retry-after", "1")
    } else {
        let reply = route(world, ask, path, &request);
        let lost = reply.status < 300 && world.strikes(Fault::Marketplace500After);
        let reply = if lost { Reply::empty(500) } else { reply };
        let cut = reply.status == 200 && world.strikes(Fault::MarketplaceTruncated);
        if cut { reply.cut() } else { reply }
    };
    let correlation = ask.header("x-ms-correlationid").unwrap_or(&request).to_owned();
    reply
        .with("x-ms-requestid", request)
        .with("x-ms-correlationid", correlation)
        .with("x-ms-activityid", world.fresh_id().to_string())
        .with("etag", format!("\"{}\"", world.fresh_id()))
        .about(story::PUBLISHER_TENANT)
}

fn route(world: &mut World, ask: &Ask, path: &[&str], request: &str) -> Reply {
    match ask.option("api-version") {
        Some("2018-08-31") => {}
        Some(_) => return version("UnsupportedApiVersion", "The API version is not supported."),
        None => return version("ApiVersionUnspecified", "An API version is required."),
    }
    if let Err(status) = admit(world, ask) {
        // A bare JSON string. Source: marketplace-saas.md 3.3.
        let text = "The token is invalid, expired or missing, or belongs to another application";
        return Reply::json(status, &Value::from(text));
    }
    let Some(path) = path.strip_prefix(&["api", "saas", "subscriptions"]) else {
        return Reply::json(404, &json!({"message": "Resource not found."}));
    };
    match (&ask.method, path) {
        (&Method::GET, []) => list(world, ask),
        (&Method::GET, [id]) => one(world, id),
        (&Method::POST, ["resolve"]) => purchase::resolve(world, ask),
        (&Method::POST, [id, "activate"]) => purchase::activate(world, ask, id),
        (&Method::GET, [id, "listAvailablePlans"]) => purchase::plans(world, ask, id),
        (&Method::PATCH, [id]) => {
            let operation = operation_id(world, ask, request);
            purchase::change(world, ask, id, operation)
        }
        (&Method::DELETE, [id]) => {
            let operation = operation_id(world, ask, request);
            purchase::cancel(world, id, operation)
        }
        (&Method::GET, [id, "operations"]) => operations::all(world, id),
        (&Method::GET, [id, "operations", operation]) => operations::one(world, id, operation),
        (&Method::PATCH, [id, "operations", operation]) => {
            operations::decide(world, ask, id, operation, request)
        }
        _ => Reply::json(404, &json!({"message": "Resource not found."})),
    }
}

/// The request's id where Microsoft made it, as recorded; what becomes of a client's own id is not
/// known: here the operation gets another. Source: marketplace-saas.md 3.1.
fn operation_id(world: &mut World, ask: &Ask, request: &str) -> Uuid {
    let made = ask.header("x-ms-requestid").is_none().then(|| request.parse().ok()).flatten();
    made.unwrap_or_else(|| world.fresh_id())
}

/// The usual error body.
fn fail(status: u16, message: &str) -> Reply {
    let code = if status == 404 { "NotFound" } else { "BadRequest" };
    Reply::json(status, &json!({"code": code, "message": message, "target": "", "details": []}))
}

fn version(code: &str, message: &str) -> Reply {
    Reply::json(400, &json!({"Error": {"Code": code, "Message": message}}))
}

/// 401 without a good token for this audience, 403 with one of another tenant or app.
fn admit(world: &World, ask: &Ask) -> Result<(), u16> {
    let claims = ask.bearer().and_then(|token| world.keys().verify(token)).ok_or(401_u16)?;
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    let exp = claims.get("exp").and_then(Value::as_i64);
    if !is("aud", MARKETPLACE) || exp.is_none_or(|exp| exp <= world.now_s()) {
        return Err(401);
    }
    let registered = is("tid", &story::PUBLISHER_TENANT.to_string())
        && is("appid", &story::CLIENT_ID.to_string());
    if registered { Ok(()) } else { Err(403) }
}

fn one(world: &World, id: &str) -> Reply {
    let found = id.parse::<Uuid>().ok().and_then(|id| world.shelf().one(id));
    if let Some(text) = found {
        Reply::raw(200, "application/json; charset=utf-8", text)
    } else {
        let message = "Subscription with the specified id is not found.";
        Reply::json(404, &json!({"code": "NotFound", "message": message}))
    }
}

/// Where a page starts, and whether an empty page has just been given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    start: usize,
    after_empty: bool,
}

impl Cursor {
    /// Partition ranges as recorded; our place hides in the `token`.
    fn encode(self, seed: u64) -> String {
        let start = u64::try_from(self.start).unwrap_or(u64::MAX);
        let check = chance::hash(&[seed, start, u64::from(self.after_empty)]);
        let place = format!("{start}/{}/{check:x}", u8::from(self.after_empty));
        let token = format!("+RID:~{}#RT:1#TRC:{start}", STANDARD.encode(place));
        json!([{"token": token, "range": {"min": "05C1DFFFFFFFFC", "max": "FF"}}]).to_string()
    }

    fn decode(text: &str, seed: u64) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let token = value.get(0)?.get("token")?.as_str()?;
        let place = token.strip_prefix("+RID:~")?.split('#').next()?;
        let place = String::from_utf8(STANDARD.decode(place).ok()?).ok()?;
        let mut parts = place.split('/');
        let start = parts.next()?.parse().ok()?;
        let cursor = Self { start, after_empty: parts.next()? == "1" };
        (cursor.encode(seed) == text).then_some(cursor)
    }
}

fn list(world: &mut World, ask: &Ask) -> Reply {
    let seed = world.seed();
    let cursor = match ask.option("continuationToken").filter(|text| !text.is_empty()) {
        None => Cursor::default(),
        Some(text) => {
            if let Some(cursor) = Cursor::decode(text, seed) {
                cursor
            } else {
                let body = json!({"code": "BadRequest", "message": "Invalid continuation token."});
                return Reply::json(400, &body);
            }
        }
    };
    let total = world.shelf().len();
    if total == 0 {
        // Nothing at all is an empty body. Source: marketplace-saas.md 6.3.
        return Reply::raw(200, "application/json; charset=utf-8", "");
    }
    let empty = !cursor.after_empty && world.strikes(Fault::MarketplaceEmptyPage);
    let size = if empty { 0 } else { size(world, cursor.start) };
    let mut items: Vec<&str> = world.shelf().from(cursor.start).take(size).collect();
    let next = cursor.start + items.len();
    let first = items.first().map(|text| (*text).to_owned());
    let link = (next < total).then(|| {
        let token = Cursor { start: next, after_empty: empty }.encode(seed);
        let token = encode_lower(&token);
        format!(
            "{NEXT_HOST}/api/saas/subscriptions/?continuationToken={token}&api-version=2018-08-31"
        )
    });
    let mut body = String::from("{\"subscriptions\":[");
    body.push_str(&items.join(","));
    items.clear();
    if let Some(first) = first.filter(|_| world.strikes(Fault::MarketplaceDuplicates)) {
        body.push(',');
        body.push_str(&first);
    }
    body.push(']');
    if let Some(link) = link {
        body.push_str(",\"@nextLink\":");
        body.push_str(&Value::from(link).to_string());
    }
    body.push('}');
    Reply::raw(200, "application/json; charset=utf-8", body)
}

/// Sizes differ from page to page and say nothing about the end.
fn size(world: &World, start: usize) -> usize {
    let start = u64::try_from(start).unwrap_or(u64::MAX);
    let span = PAGE.1 - PAGE.0 + 1;
    let size = PAGE.0 + chance::hash(&[world.seed(), 0x7067, start]) % span;
    let size = usize::try_from(size).unwrap_or(1);
    match world.faults().page {
        0 => size,
        page => size.min(page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_token_survives_the_wire_and_no_tampering() {
        let cursor = Cursor { start: 81, after_empty: true };
        let text = cursor.encode(5);
        let link = format!("/x?continuationToken={}", encode_lower(&text));
        let ask = Ask::new(Method::GET, &link, axum::http::HeaderMap::new(), Vec::new());
        assert_eq!(Cursor::decode(ask.option("continuationtoken").unwrap(), 5), Some(cursor));
        assert_eq!(Cursor::decode(&text, 6), None);
        assert_eq!(Cursor::decode("[]", 5), None);
    }
}
