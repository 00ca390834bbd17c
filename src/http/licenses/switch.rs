//! `licenses switch-plan`: how a customer moves between Microsoft's seats and a license of the
//! publisher without a gap, as rows that people and programs read.

mod words;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use self::words::Words;
use super::fields::amount;
use super::rows::time;
use crate::decision::{
    Bought, Owned, Progress, SeatCover, Switch, SwitchAsked, SwitchStep, Switched, license_now,
};
use crate::domain::{
    Catalog, Channel, Features, HybridMode, LicenseId, Mirror, Policy, Product, SwitchAct,
    SwitchTo, TenantId,
};
use crate::http::problem::Problem;
use crate::http::query::{parsed, product};

/// What is asked, as it came.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::http) struct SwitchQuery {
    tenant: Option<String>,
    product: Option<String>,
    to: Option<String>,
    license: Option<String>,
    price: Option<String>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(in crate::http) struct Wanted {
    tenant: TenantId,
    product: Option<String>,
    to: Option<SwitchTo>,
    license: Option<LicenseId>,
    /// What a seat costs a month.
    price: Option<f64>,
}

impl SwitchQuery {
    /// Whatever `asked` has under each name.
    pub(in crate::http) fn of(asked: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            tenant: asked("tenant"),
            product: asked("product"),
            to: asked("to"),
            license: asked("license"),
            price: asked("price"),
        }
    }

    /// Reads it: the tenant is needed, the product one of ours.
    pub(in crate::http) fn read(self, catalog: &Catalog) -> Result<Wanted, Problem> {
        let tenant = parsed("tenant", self.tenant.as_deref())?;
        let missing = || Problem::invalid("`tenant`: say which customer").of_field("tenant");
        self.product.as_deref().map(|it| product(catalog, it)).transpose()?;
        Ok(Wanted {
            tenant: tenant.ok_or_else(missing)?,
            product: self.product,
            to: parsed("to", self.to.as_deref())?,
            license: parsed("license", self.license.as_deref())?,
            price: self.price.map(|it| amount("price", &it)).transpose()?,
        })
    }
}

/// A plan for each product that was named, or of which the tenant has anything. At most `most` users
/// are named, those first who would lose access.
pub(in crate::http) fn plans(
    mirror: &Mirror,
    catalog: &Catalog,
    policy: &Policy,
    (wanted, most): (&Wanted, usize),
    now: Timestamp,
) -> Vec<Value> {
    let named = |it: &&Product| wanted.product.as_ref().is_none_or(|id| it.id.as_str() == id);
    let mut rows = Vec::new();
    for product in catalog.products().map(|it| &**it).filter(named) {
        let asked =
            SwitchAsked { tenant: wanted.tenant, product, to: wanted.to, license: wanted.license };
        let plan = Switch::plan(mirror, &asked, policy, now);
        let reported = mirror.reported_of(wanted.tenant).iter();
        let any = !(plan.bought.is_empty() && plan.owned.is_empty() && plan.users.is_empty())
            || reported
                .flat_map(|it| product.plans.iter().map(move |plan| (it, plan)))
                .any(|(line, plan)| plan.service_id.matches(&line.service_id));
        if any || wanted.product.is_some() {
            rows.push(row(mirror, policy, &asked, &plan, (wanted.price, most), now));
        }
    }
    rows
}

fn row(
    mirror: &Mirror,
    policy: &Policy,
    asked: &SwitchAsked<'_>,
    plan: &Switch<'_>,
    (price, most): (Option<f64>, usize),
    now: Timestamp,
) -> Value {
    let product = asked.product;
    let view = mirror.tenant(asked.tenant);
    let name = view.and_then(|it| it.tenant.name.as_deref());
    let (seats, license, both) = plan.covered();
    // Who was never read has, for all that is known, any number of seats.
    let known = |it: u64| plan.read.map(|_| it);
    let words = Words::new(mirror, asked, plan, name);
    let steps = (1_u32..).zip(&plan.steps);
    let steps: Vec<Value> = steps.map(|(number, it)| step(number, it, &words)).collect();
    let old_end = plan.steps.iter().find(|it| ends_the_old(it.act)).map(|it| it.act);
    let mut users: Vec<&Switched<'_>> = plan.users.iter().collect();
    users.sort_by_key(|it| !it.loses);
    let left_off = users.len().saturating_sub(most);
    let users = users.into_iter().take(most).map(|it| user(it, old_end)).collect::<Vec<_>>();
    let (lost, gained) = features(product, plan);
    json!({
        "tenant": asked.tenant.to_string(),
        "name": name,
        "product": product.id.as_str(),
        "to": plan.to.as_str(),
        "done": plan.steps.iter().all(|it| it.progress == Progress::Done),
        "read_at": time(plan.read),
        "refused": plan.refused,
        "covered": { "by_seat": known(seats), "by_license": license, "by_both": known(both) },
        "seats": plan.bought.iter().map(bought).collect::<Vec<_>>(),
        "seats_end": time(plan.seats_end),
        "licenses": plan.owned.iter().map(|it| owned(it, policy, now)).collect::<Vec<_>>(),
        "license_end": time(plan.license_end),
        "needed": plan.needed,
        "features_lost": lost,
        "features_gained": gained,
        "steps": steps,
        "overlap": overlap(plan, price, now),
        "users": users,
        "users_left_off": left_off,
        "doubts": words.doubts(),
    })
}

const fn ends_the_old(act: SwitchAct) -> bool {
    matches!(act, SwitchAct::Lapse | SwitchAct::Expire | SwitchAct::Release)
}

fn step(number: u32, it: &SwitchStep, words: &Words<'_>) -> Value {
    json!({
        "number": number,
        "step": it.act.as_str(),
        "progress": it.progress.as_str(),
        "by": time(it.by),
        "who": words.who(it.act),
        "what": words.what(it.act),
        "commands": words.commands(it.act),
        "done_when": words.done_when(it.act),
        "loses": it.loses,
    })
}

fn user(it: &Switched<'_>, old_end: Option<SwitchAct>) -> Value {
    json!({
        "user": it.user.to_string(),
        "plan": it.seat.map(|it: SeatCover<'_>| it.plan.service_id.plan()),
        "seat": it.seat.map(|it| it.state.as_str()),
        "seat_until": time(it.seat.and_then(|it| it.until)),
        "license": it.license.map(|it| it.id.to_string()),
        "license_state": it.license.map(|it| it.state.as_str()),
        "license_until": time(it.license.and_then(|it| it.until)),
        "place_last_used": time(it.place.map(|it| it.last_used)),
        "loses_at": old_end.filter(|_| it.loses).map(SwitchAct::as_str),
    })
}

fn bought(it: &Bought<'_>) -> Value {
    let units = &it.sku.units;
    json!({
        "plan": it.plan.service_id.plan(),
        "sku": it.sku.id.to_string(),
        "status": it.sku.status.as_str(),
        "bought": units.bought(),
        "assigned": units.consumed,
        "ends": time(it.ends),
        "renews": it.renews,
    })
}

fn owned(it: &Owned<'_>, policy: &Policy, now: Timestamp) -> Value {
    let stands = license_now(it.license, policy.grace, now);
    json!({
        "id": it.license.id.as_str(),
        "kind": it.license.kind.as_str(),
        "max": it.license.max,
        "state": stands.state.as_str(),
        "ends": time(stands.ends),
        "bound": it.bound,
        "users": it.taken,
        "anonymous": it.anonymous,
        "other_tenants": it.others,
    })
}

/// What the visual does no longer, and what it does besides.
fn features<'a>(product: &'a Product, plan: &Switch<'a>) -> (Vec<&'a str>, Vec<&'a str>) {
    let channel = match product.hybrid {
        HybridMode::Entra | HybridMode::Licensee => Channel::Hybrid,
        HybridMode::None => Channel::Direct,
    };
    let own = product.features.get(&channel);
    let managed = || product.plans.iter().filter(|it| it.channel.is_managed_per_user());
    // Of several plans those of the one that is held, or else of the first.
    let held = plan.bought.first().map(|it| it.plan).or_else(|| managed().next());
    let of_license: Vec<&str> = names(own);
    let of_seat: Vec<&str> = names(held.map(|it| &it.features));
    let without = |some: &[&'a str], others: &[&'a str]| {
        some.iter().filter(|it| !others.contains(it)).copied().collect::<Vec<_>>()
    };
    match plan.to {
        SwitchTo::License => (without(&of_seat, &of_license), without(&of_license, &of_seat)),
        SwitchTo::Appsource => (without(&of_license, &of_seat), without(&of_seat, &of_license)),
    }
}

fn names(features: Option<&Features>) -> Vec<&str> {
    features.into_iter().flat_map(|it| it.iter()).map(|it| &**it).collect()
}

/// For how long both are there, and what the seats cost meanwhile. A license whose paid period begins
/// with the seats' end costs nothing before.
fn overlap(plan: &Switch<'_>, price: Option<f64>, now: Timestamp) -> Value {
    let until = match plan.to {
        SwitchTo::License => plan.seats_end,
        SwitchTo::Appsource => plan.license_end,
    };
    let both = plan.covered().2;
    let users = plan.needed.unwrap_or(both).max(both);
    let days = until.map(|it| it.duration_since(now).max(SignedDuration::ZERO));
    let days = days.map(|it| (it.as_secs_f64() / 86_400.0 * 10.0).round() / 10.0);
    let month = price.map(|it| it * f64::from(u32::try_from(users).unwrap_or(u32::MAX)));
    let cents = |it: f64| (it * 100.0).round() / 100.0;
    json!({
        "users": users,
        "until": time(until),
        "days": days,
        "amount_a_month": month.map(cents),
        "amount": month.zip(days).map(|(month, days)| cents(month * days / 30.0)),
    })
}
