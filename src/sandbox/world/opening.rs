//! The world on its first day: the publisher and the customers of the story.

use uuid::Uuid;

use super::subscription::{Buyer, Subscription, Term};
use super::tenant::SkuUnits;
use super::{NewUser, World, WorldError};
use crate::sandbox::chance::{hash, odd_guid};
use crate::sandbox::story::{self, Customer, Person};
use crate::sandbox::wire::{DAY_S, midnight, stamp, stamp_without_zone};

/// Builds the story. Every id in it is a constant, so nothing of it can fail; what would fail is
/// missing afterwards, and the test of the story sees it.
pub(super) fn build(world: &mut World) {
    // A lag is for changes, not for the first day.
    let lag = std::mem::take(&mut world.faults.lag);
    world.add_tenant(story::PUBLISHER_TENANT, "Vizmaker", Some(&[]));
    for customer in story::CUSTOMERS {
        let roles = customer.has_consent.then_some(story::ROLES.as_slice());
        world.add_tenant(customer.tenant, customer.name, roles);
    }
    for person in story::PEOPLE {
        let new = NewUser {
            id: Some(person.user),
            name: Some(person.name.to_owned()),
            usage_location: Some("AT".to_owned()),
        };
        drop(world.add_user(person.tenant, new));
    }
    drop(contoso(world));
    drop(others(world));
    for subscription in subscriptions(world.now_s()) {
        world.put_subscription(&subscription);
    }
    // The first day leaves no trace in delta.
    for tenant in world.tenants.values_mut() {
        tenant.journal.clear();
        tenant.group_journal.clear();
    }
    world.faults.lag = lag;
}

fn enabled(units: u32) -> SkuUnits {
    SkuUnits { enabled: units, ..SkuUnits::default() }
}

fn contoso(world: &mut World) -> Result<(), WorldError> {
    let tenant = story::CONTOSO.tenant;
    let synoptic = story::SYNOPTIC_SKU;
    // Four seats for Ana, Eva, Finn and Ben: Cleo comes too late.
    world.sku_units(tenant, synoptic, enabled(4))?;
    world.sku_units(tenant, story::CALENDAR_SKU, enabled(10))?;
    world.sku_units(tenant, story::E5_SKU, enabled(25))?;
    for person in story::PEOPLE.iter().filter(|person| person.tenant == tenant) {
        world.assign(tenant, person.user, story::E5_SKU, &[])?;
    }
    world.assign(tenant, story::ANA.user, synoptic, &[])?;
    world.assign(tenant, story::ANA.user, story::CALENDAR_SKU, &[])?;
    world.assign(tenant, story::EVA.user, synoptic, &[])?;
    world.assign(tenant, story::FINN.user, synoptic, &[story::SYNOPTIC_PLAN])?;
    for (group, name) in [(story::BI_USERS, "BI users"), (story::FINANCE, "Finance")] {
        world.add_group(tenant, Some(group), name)?;
        world.group_license(tenant, group, synoptic, Some(&[]))?;
    }
    let members = [
        (story::BI_USERS, story::BEN),
        (story::BI_USERS, story::EVA),
        (story::FINANCE, story::CLEO),
    ];
    for (group, person) in members {
        world.add_member(tenant, group, person.user)?;
    }
    Ok(())
}

fn others(world: &mut World) -> Result<(), WorldError> {
    let seats: [(Person, Uuid, &str); 4] = [
        (story::GIL, story::SYNOPTIC_SKU, "Warning"),
        (story::HANA, story::SYNOPTIC_SKU, "Suspended"),
        (story::LENA, story::CALENDAR_SKU, "LockedOut"),
        (story::IVO, story::FIELDAPP_SKU, "Enabled"),
    ];
    for (person, sku, status) in seats {
        world.sku_units(person.tenant, sku, enabled(5))?;
        world.assign(person.tenant, person.user, sku, &[])?;
        world.sku_status(person.tenant, sku, status)?;
    }
    world.sku_units(story::WOODGROVE.tenant, story::POWER_BI_SKU, enabled(3))?;
    world.assign(story::WOODGROVE.tenant, story::JO.user, story::POWER_BI_SKU, &[])
}

/// Id of the `n`th subscription of the story.
fn subscription_id(n: u64) -> Uuid {
    odd_guid(&[0x0073_746f_7279, n])
}

fn subscriptions(now: i64) -> Vec<Subscription> {
    let company = story::SUITE_COMPANY;
    let of = |n, person, customer: Customer, status| {
        subscription(n, now, customer.name, buyer(person), status, company)
    };
    let mut all = vec![
        of(1, story::MIA, story::PROSEWARE, "Subscribed"),
        of(2, story::NOA, story::GRAPHIC, "Subscribed"),
        of(3, story::OLI, story::LAMNA, "PendingFulfillmentStart"),
        of(4, story::PIA, story::RELECLOUD, "Suspended"),
        of(5, story::QUIN, story::LUCERNE, "Unsubscribed"),
        of(6, story::WIM, story::WINGTIP, "Subscribed"),
        of(7, story::KAI, story::LITWARE, "Subscribed"),
        of(8, story::RUTH, story::COHO, "Subscribed"),
        subscription(9, now, "Pat", buyer(story::PAT), "Subscribed", company),
    ];
    for subscription in &mut all {
        match subscription.beneficiary.tenant_id {
            tenant if tenant == story::GRAPHIC.tenant => subscription.is_free_trial = true,
            tenant if tenant == story::WINGTIP.tenant || tenant == story::LITWARE.tenant => {
                story::SUITE_TEAM.clone_into(&mut subscription.plan_id);
                subscription.quantity = Some(3);
            }
            tenant if tenant == story::COHO.tenant => {
                let object_id = story::nth(0xb1ce, 0xc59);
                let tenant_id = story::RESELLER_TENANT;
                subscription.purchaser =
                    Buyer { email_id: String::new(), object_id, tenant_id, puid: None };
                subscription.allowed_customer_operations = vec!["Read".to_owned()];
            }
            _ => {}
        }
    }
    all
}

fn buyer(person: Person) -> Buyer {
    let mail = format!("{}@customer.example", person.name.to_lowercase());
    bought_by(person.tenant, person.user, mail)
}

/// A beneficiary with the recorded kind of `puid`.
pub(super) fn bought_by(tenant_id: Uuid, object_id: Uuid, email_id: String) -> Buyer {
    let (high, _) = object_id.as_u64_pair();
    let puid = Some(format!("1003{:012X}", hash(&[high]) >> 16));
    Buyer { email_id, object_id, tenant_id, puid }
}

/// A subscription whose purchaser is its beneficiary and whose term covers today.
pub(super) fn subscription(
    n: u64,
    now: i64,
    name: &str,
    buyer: Buyer,
    status: &str,
    plan: &str,
) -> Subscription {
    let today = midnight(now);
    let age_days = i64::try_from(hash(&[n, 3]) % 20).unwrap_or(0);
    let (start, end) = match status {
        "Unsubscribed" => (today - 90 * DAY_S, today - 61 * DAY_S),
        _ => (today - age_days * DAY_S, today + (29 - age_days) * DAY_S),
    };
    let dated = status != "PendingFulfillmentStart";
    // 5 to 7 digits after the point. Source: marketplace-saas.md 5.1.
    let digits = 5 + usize::try_from(hash(&[n, 5]) % 3).unwrap_or(0);
    let fraction: String =
        format!("{:07}", hash(&[n, 7]) % 10_000_000).chars().take(digits).collect();
    let created = start.min(now) - DAY_S + 33_302;
    Subscription {
        id: subscription_id(n),
        publisher_id: story::PUBLISHER.to_owned(),
        offer_id: story::SUITE_OFFER.to_owned(),
        name: format!("Viz Suite for {name}"),
        saas_subscription_status: status.to_owned(),
        beneficiary: buyer.clone(),
        purchaser: buyer,
        plan_id: plan.to_owned(),
        term: Term {
            start_date: dated.then(|| stamp(start)),
            end_date: dated.then(|| stamp(end)),
            term_unit: "P1M".to_owned(),
        },
        auto_renew: true,
        is_test: false,
        is_free_trial: false,
        allowed_customer_operations: ["Delete", "Update", "Read"].map(str::to_owned).to_vec(),
        sandbox_type: "None".to_owned(),
        created: format!("{}.{fraction}Z", stamp_without_zone(created)),
        last_modified: "0001-01-01T00:00:00".to_owned(),
        quantity: None,
        session_mode: "None".to_owned(),
    }
}
