//! Graph, per tenant: who may ask, what it costs, what goes wrong, and who answers.
//! Source: graph-licensing.md 1 to 12 and 16.

mod batch;
mod delta;
mod error;
mod groups;
mod groups_delta;
mod place;
mod render;
mod rights;
mod skus;
pub(crate) mod throttle;
mod users;

use axum::http::Method;
use serde_json::Value;
use uuid::Uuid;

use self::error::GraphError;
use super::entra::GRAPH;
use super::faults::Fault;
use super::wire::{Ask, Reply};
use super::{World, notify, story};

/// Who asks: the tenant of the token and what the token may still do there.
pub(crate) struct Caller {
    pub(crate) tenant: Uuid,
    roles: Vec<String>,
    /// Our app is still in the tenant.
    present: bool,
}

/// Outcome of one Graph request.
type Answer = Result<Reply, GraphError>;

/// Everything below `/graph`.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &[&str]) -> Reply {
    let (reply, tenant) = match admit(world, ask) {
        Ok(caller) => (outer(world, ask, path, &caller), Some(caller.tenant)),
        Err(error) => (error.reply(world, ask), None),
    };
    finish(world, ask, reply, tenant)
}

/// The ids every answer carries.
fn finish(world: &mut World, ask: &Ask, reply: Reply, tenant: Option<Uuid>) -> Reply {
    let mut reply = reply;
    reply.tenant = tenant;
    if !reply.headers.iter().any(|(name, _)| *name == "request-id") {
        reply = reply.with("request-id", world.fresh_id().to_string());
    }
    let echo = ask.header("client-request-id").map(str::to_owned);
    reply
        .with("client-request-id", echo.unwrap_or_else(|| world.fresh_id().to_string()))
        .with("x-ms-ags-diagnostic", "{\"ServerInfo\":{\"DataCenter\":\"Sandbox\"}}")
}

/// The token's tenant and roles; 401 for everything that is no good token for Graph.
fn admit(world: &World, ask: &Ask) -> Result<Caller, GraphError> {
    let refuse = |message: &str| GraphError::new(401, "InvalidAuthenticationToken", message);
    let token = ask.bearer().ok_or_else(|| refuse("Access token is empty."))?;
    let claims =
        world.keys().verify(token).ok_or_else(|| refuse("Access token validation failure."))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("aud") != GRAPH {
        return Err(refuse("Access token validation failure. Invalid audience."));
    }
    if claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= world.now_s()) {
        return Err(refuse("Lifetime validation failed, the token is expired."));
    }
    let tenant: Uuid = text("tid").parse().ok().ok_or_else(|| refuse("The tenant is missing."))?;
    let known = world.tenant(tenant).ok_or_else(|| refuse("The tenant is not known."))?;
    let granted = known.consent.as_deref();
    let roles = claims.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles = roles.filter_map(Value::as_str);
    // What was taken away is gone at once; what was granted since shows only in new tokens.
    let roles = roles.filter(|role| granted.is_some_and(|now| now.iter().any(|has| has == role)));
    Ok(Caller { tenant, roles: roles.map(str::to_owned).collect(), present: granted.is_some() })
}

impl Caller {
    fn needs(&self, any: &[&str]) -> Result<(), GraphError> {
        if !self.present {
            let message = "The identity of the calling application could not be established.";
            return Err(GraphError::new(403, "Authorization_IdentityNotFound", message));
        }
        let all = "Directory.Read.All";
        if self.roles.iter().any(|role| role == all || any.contains(&role.as_str())) {
            return Ok(());
        }
        let message = "Insufficient privileges to complete the operation.";
        Err(GraphError::new(403, "Authorization_RequestDenied", message))
    }
}

/// A request that came by itself: faults, then a batch or a single question.
fn outer(world: &mut World, ask: &Ask, path: &[&str], caller: &Caller) -> Reply {
    if let Some(reply) = stumble(world, ask) {
        return reply;
    }
    let reply = match (&ask.method, path) {
        (&Method::POST, [version @ ("v1.0" | "beta"), "$batch"]) => {
            batch::answer(world, ask, version, caller)
        }
        _ => inner(world, ask, path, caller),
    };
    let cut = reply.status == 200 && world.strikes(Fault::GraphTruncated);
    if cut { reply.cut() } else { reply }
}

/// What may go wrong before anyone looks at the question.
fn stumble(world: &mut World, ask: &Ask) -> Option<Reply> {
    if let Some(stumble) = world.stumbles(ask) {
        return Some(stumble.reply());
    }
    let throttled = || GraphError::new(429, "TooManyRequests", "Too many requests.");
    if world.strikes(Fault::Graph503Html) {
        return Some(Reply::html(503));
    }
    if world.strikes(Fault::Graph429) {
        return Some(throttled().with("retry-after", "1").reply(world, ask));
    }
    if world.strikes(Fault::Graph429WithoutRetryAfter) {
        return Some(throttled().reply(world, ask));
    }
    let (status, code) = if world.strikes(Fault::Graph503) {
        (503, "serviceNotAvailable")
    } else if world.strikes(Fault::Graph500) {
        (500, "InternalServerError")
    } else {
        return None;
    };
    Some(GraphError::new(status, code, "Please try again later.").reply(world, ask))
}

/// One question, alone or as an item of a batch: it costs, then it is answered.
fn inner(world: &mut World, ask: &Ask, path: &[&str], caller: &Caller) -> Reply {
    let Some((&version @ ("v1.0" | "beta"), path)) = path.split_first() else {
        return GraphError::bad("Invalid version.").reply(world, ask);
    };
    let cost = throttle::cost(ask, path);
    let share = match charge(world, caller.tenant, cost) {
        Ok(share) => share,
        Err(error) => return error.reply(world, ask),
    };
    // Whatever group-based licensing owes is done before anyone looks.
    world.settled(caller.tenant);
    let reply = match route(world, ask, version, path, caller) {
        Ok(reply) => reply,
        Err(error) => error.reply(world, ask),
    };
    let reply = reply.with("x-ms-resource-unit", cost.to_string());
    if share > 0.8 {
        return reply.with("x-ms-throttle-limit-percentage", format!("{:.1}", share.min(1.8)));
    }
    reply
}

fn charge(world: &mut World, tenant: Uuid, cost: u32) -> Result<f64, GraphError> {
    world.graph_use.add(cost);
    let budget = world.faults().budget;
    if budget <= 0.0 {
        return Ok(0.0);
    }
    let (now_ms, app_id) = (world.now().as_millisecond(), story::CLIENT_ID);
    let app = world.bucket().app(cost, now_ms, budget);
    world.graph_use.app = world.graph_use.app.max(app.share);
    let Some(customer) = world.settled(tenant) else { return Ok(0.0) };
    let users = customer.users.len();
    let own = customer.bucket.tenant(cost, now_ms, users, budget);
    world.graph_use.tenant = world.graph_use.tenant.max(own.share);
    let refusal = |wait_s: u32, share: f64, scope: &str| {
        GraphError::new(429, "TooManyRequests", "Too many requests.")
            .with("retry-after", wait_s.to_string())
            .with("x-ms-throttle-scope", format!("{scope}/Read/{app_id}/{tenant}"))
            .with("x-ms-throttle-information", "ResourceUnitLimitExceeded")
            .with("x-ms-throttle-limit-percentage", format!("{:.1}", share.min(1.8)))
    };
    match (app.wait_s, own.wait_s) {
        (Some(wait_s), _) => Err(refusal(wait_s, app.share, "Application")),
        (None, Some(wait_s)) => Err(refusal(wait_s, own.share, "Tenant_Application")),
        (None, None) => Ok(own.share.max(app.share)),
    }
}

/// Change notifications. Source: graph-licensing.md 6.
fn subscriptions(world: &mut World, ask: &Ask, caller: &Caller, rest: &[&str]) -> Answer {
    caller.needs(&["User.Read.All", "Group.Read.All"])?;
    let (tenant, bad) = (caller.tenant, |text| GraphError::new(400, "ExtensionError", text));
    match (&ask.method, rest) {
        (&Method::POST, []) => notify::create(world, ask, tenant).map_err(bad),
        (&Method::GET, []) => Ok(notify::list(world, tenant)),
        (&Method::PATCH, [id]) => {
            let renewed = notify::renew(world, ask, tenant, id);
            renewed.ok_or_else(|| GraphError::missing(id))?.map_err(bad)
        }
        (&Method::DELETE, [id]) => {
            notify::delete(world, tenant, id).ok_or_else(|| GraphError::missing(id))
        }
        _ => Err(GraphError::new(405, "Request_BadRequest", "The sandbox knows no such call.")),
    }
}

fn route(world: &mut World, ask: &Ask, version: &str, path: &[&str], caller: &Caller) -> Answer {
    if let ["subscriptions", rest @ ..] = path {
        return subscriptions(world, ask, caller, rest);
    }
    if ask.method != Method::GET {
        return Err(GraphError::new(405, "Request_BadRequest", "The sandbox is read-only here."));
    }
    let user = ["User.Read.All", "User.ReadWrite.All"];
    let group = ["Group.Read.All", "Group.ReadWrite.All"];
    let organization = ["Organization.Read.All", "Organization.ReadWrite.All"];
    let license = "LicenseAssignment.Read.All";
    match path {
        ["organization"] => {
            caller.needs(&organization).and_then(|()| skus::organization(world, caller))
        }
        ["subscribedSkus"] => {
            caller.needs(&[license, "Organization.Read.All", "Organization.ReadWrite.All"])?;
            skus::list(world, ask, caller)
        }
        ["subscribedSkus", id] => {
            caller.needs(&[license, "Organization.Read.All", "Organization.ReadWrite.All"])?;
            skus::one(world, caller, id)
        }
        ["directory", "subscriptions"] => {
            caller.needs(&organization).and_then(|()| skus::subscriptions(world, caller))
        }
        ["users"] => caller.needs(&user).and_then(|()| users::list(world, ask, version, caller)),
        ["users", "delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => {
            caller.needs(&user).and_then(|()| delta::users(world, ask, version, caller))
        }
        ["users", id] => caller.needs(&user).and_then(|()| users::one(world, ask, caller, id)),
        ["users", id, "licenseDetails"] => {
            caller.needs(&[license, "User.Read.All", "User.ReadWrite.All"])?;
            users::license_details(world, caller, id)
        }
        ["users", id, "usageRights"] if version == "beta" => {
            caller.needs(&user).and_then(|()| rights::list(world, ask, caller, id))
        }
        ["groups"] => caller.needs(&group).and_then(|()| groups::list(world, ask, version, caller)),
        ["groups", "delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => {
            caller.needs(&["Group.ReadBasic.All", "GroupMember.Read.All", group[0], group[1]])?;
            groups_delta::list(world, ask, version, caller)
        }
        ["groups", id] => caller.needs(&group).and_then(|()| groups::one(world, ask, caller, id)),
        ["groups", id, "members"] => {
            caller.needs(&["GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All"])?;
            groups::members(world, ask, version, caller, (id, false))
        }
        ["groups", id, "members", "microsoft.graph.user"] => {
            caller.needs(&["GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All"])?;
            groups::members(world, ask, version, caller, (id, true))
        }
        _ => Err(GraphError::bad(format!(
            "Resource not found for the segment '{}'.",
            path.join("/")
        ))),
    }
}
