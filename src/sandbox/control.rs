//! `/control`: the world changed by JSON commands, and its state in figures. Not Microsoft's.

mod orders;

use axum::http::Method;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::entra::{self, TokenRequest};
use super::wire::{Ask, Reply};
use super::world::{NewUser, Shown, SkuUnits, WorldError};
use super::{Faults, World};

/// One command: `{"assign": {"tenant": …, "user": …, "sku": …}}`. Names are those of the methods
/// of [`World`].
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    AddTenant {
        tenant: Uuid,
        name: String,
        roles: Option<Vec<String>>,
    },
    AddUser {
        tenant: Uuid,
        user: Option<Uuid>,
        name: Option<String>,
        usage_location: Option<String>,
    },
    DeleteUser {
        tenant: Uuid,
        user: Uuid,
    },
    PurgeUser {
        tenant: Uuid,
        user: Uuid,
    },
    RestoreUser {
        tenant: Uuid,
        user: Uuid,
    },
    SetEnabled {
        tenant: Uuid,
        user: Uuid,
        enabled: bool,
    },
    SetLocation {
        tenant: Uuid,
        user: Uuid,
        usage_location: Option<String>,
    },
    Assign {
        tenant: Uuid,
        user: Uuid,
        sku: Uuid,
        #[serde(default)]
        disabled_plans: Vec<Uuid>,
    },
    Unassign {
        tenant: Uuid,
        user: Uuid,
        sku: Uuid,
    },
    SetPath {
        tenant: Uuid,
        user: Uuid,
        sku: Uuid,
        group: Option<Uuid>,
        state: String,
        error: Option<String>,
    },
    AddGroup {
        tenant: Uuid,
        group: Option<Uuid>,
        name: String,
    },
    GroupAdd {
        tenant: Uuid,
        group: Uuid,
        user: Uuid,
    },
    GroupRemove {
        tenant: Uuid,
        group: Uuid,
        user: Uuid,
    },
    GroupNest {
        tenant: Uuid,
        group: Uuid,
        member: Uuid,
    },
    GroupLicense {
        tenant: Uuid,
        group: Uuid,
        sku: Uuid,
        #[serde(default)]
        disabled_plans: Vec<Uuid>,
    },
    GroupUnlicense {
        tenant: Uuid,
        group: Uuid,
        sku: Uuid,
    },
    GroupDynamic {
        tenant: Uuid,
        group: Uuid,
        dynamic: bool,
    },
    GroupDelete {
        tenant: Uuid,
        group: Uuid,
    },
    GroupRestore {
        tenant: Uuid,
        group: Uuid,
    },
    GroupPurge {
        tenant: Uuid,
        group: Uuid,
    },
    SkuStatus {
        tenant: Uuid,
        sku: Uuid,
        status: String,
    },
    SkuLifecycle {
        tenant: Uuid,
        sku: Uuid,
        at: jiff::Timestamp,
    },
    SkuUnits {
        tenant: Uuid,
        sku: Uuid,
        enabled: u32,
        #[serde(default)]
        warning: u32,
    },
    SkuRemove {
        tenant: Uuid,
        sku: Uuid,
    },
    SkuShown {
        tenant: Uuid,
        sku: Uuid,
        shown: Shown,
    },
    ForeignApp(Switch),
    /// Without `roles` (or with `"none"`) our app is removed from the tenant.
    Consent {
        tenant: Uuid,
        roles: Option<Roles>,
    },
    /// The tenant lives in a government's cloud, and Entra refuses us by this AADSTS code; without
    /// one it is not found (90002).
    Nationalize {
        tenant: Uuid,
        code: Option<u32>,
    },
    /// Any JSON object with an `id`; returned byte by byte.
    Subscription(Box<RawValue>),
    /// A SPEC as for `--faults`.
    Faults(String),
    AdvanceClock {
        seconds: i64,
    },
    RotateKeys {},
    /// What becomes of a tenant's subscriptions to change notifications.
    Lifecycle {
        tenant: Uuid,
        event: String,
    },
    ForgeNotification {
        tenant: Uuid,
    },
    Outage(Switch),
    /// Subscriptions, operations and webhooks.
    Marketplace(orders::Order),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Roles {
    Names(Vec<String>),
    Word(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    On,
    Off,
}

/// Everything below `/control`.
pub(crate) fn answer(world: &mut World, ask: &Ask, path: &[&str]) -> Reply {
    match (&ask.method, path) {
        (&Method::GET, []) => Reply::json(200, &figures(world)),
        (&Method::GET, ["webhooks"]) => Reply::json(200, &json!({"tries": world.deliveries()})),
        (&Method::GET, ["notifications"]) => Reply::json(200, &json!({"tries": world.notified()})),
        (&Method::GET, ["usage"]) => Reply::json(200, &super::usage::figures(world)),
        (&Method::POST, []) => commands(world, &ask.body),
        (&Method::POST, ["token"]) => match serde_json::from_slice::<TokenRequest>(&ask.body) {
            Ok(request) => {
                let token = entra::user_token(world, &request);
                Reply::json(200, &json!({"token_type": "Bearer", "access_token": token}))
            }
            Err(error) => refuse(400, &error.to_string()),
        },
        _ => refuse(
            404,
            "the control route is GET or POST /control, GET /control/webhooks, \
             GET /control/notifications, GET /control/usage, POST /control/token",
        ),
    }
}

fn refuse(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({"error": error}))
}

/// One command or an array of them; the first that fails ends it, the ones before stay done.
fn commands(world: &mut World, body: &[u8]) -> Reply {
    let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let parsed = if many {
        serde_json::from_slice::<Vec<Command>>(body)
    } else {
        serde_json::from_slice::<Command>(body).map(|command| vec![command])
    };
    let commands = match parsed {
        Ok(commands) => commands,
        Err(error) => return refuse(400, &error.to_string()),
    };
    let mut done = Vec::with_capacity(commands.len());
    for command in commands {
        match apply(world, command) {
            Ok(result) => done.push(result),
            Err(error) => {
                let text = format!("command {}: {error}", done.len() + 1);
                return refuse(422, &text);
            }
        }
    }
    Reply::json(200, &json!({"done": done}))
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Faults(#[from] super::FaultsError),
}

fn apply(world: &mut World, command: Command) -> Result<Value, ControlError> {
    use Command as C;
    match command {
        C::AddTenant { tenant, name, roles } => {
            let roles: Option<Vec<&str>> =
                roles.as_ref().map(|roles| roles.iter().map(String::as_str).collect());
            world.add_tenant(tenant, &name, roles.as_deref());
        }
        C::AddUser { tenant, user, name, usage_location } => {
            let id = world.add_user(tenant, NewUser { id: user, name, usage_location })?;
            return Ok(json!({"user": id}));
        }
        C::DeleteUser { tenant, user } => world.delete_user(tenant, user)?,
        C::PurgeUser { tenant, user } => world.purge_user(tenant, user)?,
        C::RestoreUser { tenant, user } => world.restore_user(tenant, user)?,
        C::SetEnabled { tenant, user, enabled } => world.set_enabled(tenant, user, enabled)?,
        C::SetLocation { tenant, user, usage_location } => {
            world.set_location(tenant, user, usage_location.as_deref())?;
        }
        C::Assign { tenant, user, sku, disabled_plans } => {
            world.assign(tenant, user, sku, &disabled_plans)?;
        }
        C::Unassign { tenant, user, sku } => world.unassign(tenant, user, sku)?,
        C::SetPath { tenant, user, sku, group, state, error } => {
            let error = error.unwrap_or_default();
            world.set_path(tenant, user, sku, group, (&state, &error))?;
        }
        C::AddGroup { tenant, group, name } => {
            return Ok(json!({"group": world.add_group(tenant, group, &name)?}));
        }
        C::GroupAdd { tenant, group, user } => world.add_member(tenant, group, user)?,
        C::GroupRemove { tenant, group, user } => world.remove_member(tenant, group, user)?,
        C::GroupNest { tenant, group, member } => world.nest_group(tenant, group, member)?,
        C::GroupLicense { tenant, group, sku, disabled_plans } => {
            world.group_license(tenant, group, sku, Some(&disabled_plans))?;
        }
        C::GroupUnlicense { tenant, group, sku } => {
            world.group_license(tenant, group, sku, None)?;
        }
        C::GroupDynamic { tenant, group, dynamic } => world.set_dynamic(tenant, group, dynamic)?,
        C::GroupDelete { tenant, group } => world.delete_group(tenant, group)?,
        C::GroupRestore { tenant, group } => world.restore_group(tenant, group)?,
        C::GroupPurge { tenant, group } => world.purge_group(tenant, group)?,
        C::SkuStatus { tenant, sku, status } => world.sku_status(tenant, sku, &status)?,
        C::SkuLifecycle { tenant, sku, at } => world.sku_lifecycle(tenant, sku, at)?,
        C::SkuUnits { tenant, sku, enabled, warning } => {
            let units = SkuUnits { enabled, warning, ..SkuUnits::default() };
            world.sku_units(tenant, sku, units)?;
        }
        C::SkuRemove { tenant, sku } => world.sku_remove(tenant, sku)?,
        C::SkuShown { tenant, sku, shown } => world.sku_shown(tenant, sku, shown)?,
        C::ForeignApp(switch) => world.set_foreign_app(matches!(switch, Switch::On)),
        C::Consent { tenant, roles } => world.consent(tenant, consented(roles)?)?,
        C::Nationalize { tenant, code } => {
            world.nationalize(tenant, code.unwrap_or(entra::NOT_FOUND))?;
        }
        C::Subscription(text) => {
            return Ok(json!({"subscription": world.upsert_subscription(text.get())?}));
        }
        C::Faults(spec) => world.set_faults(spec.parse::<Faults>()?),
        C::AdvanceClock { seconds } => world.advance_clock(SignedDuration::from_secs(seconds)),
        C::RotateKeys {} => world.rotate_keys()?,
        C::Lifecycle { tenant, event } => world.lifecycle(tenant, &event)?,
        C::ForgeNotification { tenant } => world.forge_notification(tenant),
        C::Marketplace(order) => return Ok(orders::apply(world, order)?),
        C::Outage(switch) => world.outage(matches!(switch, Switch::On)),
    }
    Ok(json!({}))
}

fn consented(roles: Option<Roles>) -> Result<Option<Vec<String>>, WorldError> {
    match roles {
        None => Ok(None),
        Some(Roles::Names(names)) => Ok(Some(names)),
        Some(Roles::Word(word)) if word == "none" => Ok(None),
        Some(Roles::Word(word)) => Err(WorldError::Word(word, "consent: use a list or \"none\"")),
    }
}

fn figures(world: &World) -> Value {
    let ids = world.tenants();
    let tenants = || ids.iter().filter_map(|id| world.tenant(*id));
    let rows: Vec<Value> = tenants()
        .take(100)
        .map(|tenant| {
            json!({
                "id": tenant.id,
                "name": tenant.name,
                "consent": tenant.consent,
                "users": tenant.live(),
                "groups": tenant.groups.len(),
                "skus": tenant.skus.len(),
                "changes": tenant.version,
            })
        })
        .collect();
    json!({
        "now": world.now().to_string(),
        "outage": world.is_out(),
        "faults": world.faults().to_string(),
        "tenants": ids.len(),
        "users": tenants().map(super::world::tenant::Tenant::live).sum::<usize>(),
        "subscriptions": world.shelf().len(),
        "webhooks_waiting": world.webhooks_waiting(),
        "first_tenants": rows,
    })
}
