//! Who would lose what by a change of plan or quantity. Pure: mirror × catalog × what is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    Catalog, Channel, Coverage, Feature, Impact, Losers, Mirror, Plan, Subscription, Terms, UserId,
};

/// What an offer in preview has behind its name.
const PREVIEW: &str = "-preview";

/// The impact of giving a subscription these terms.
///
/// Users lose their seats as the answers to them would say: those who took theirs last.
///
/// Source: contract section 2, rule 4.
pub(super) fn of(
    mirror: &Mirror,
    catalog: &Catalog,
    known: &Subscription,
    asks: &Terms,
    now: Timestamp,
) -> Impact {
    let before = Rights::of(catalog, known, &known.plan);
    let after = Rights::of(catalog, known, &asks.plan);
    Impact {
        plan_known: after.known,
        losers: losers(mirror, known, asks, (&before, &after), now),
        features_lost: before.features.difference(&after.features).cloned().collect(),
        features_won: after.features.difference(&before.features).cloned().collect(),
        coverage_before: before.coverage,
        coverage_after: after.coverage,
    }
}

/// What a subscription would have by a request: its quantity is only looked at where seats are sold,
/// for Microsoft says 1 for a flat rate.
///
/// Source: `marketplace-saas.md` section 8.3.
pub(super) fn terms(
    catalog: &Catalog,
    known: &Subscription,
    plan: Option<&Arc<str>>,
    quantity: Option<u64>,
) -> Terms {
    let plan = plan.unwrap_or(&known.plan);
    let per_seat = Rights::of(catalog, known, plan).coverage == Some(Coverage::Seats);
    let counts = known.quantity.is_some() || per_seat;
    let quantity = if counts { quantity.or(known.quantity) } else { None };
    Terms { plan: Arc::clone(plan), quantity }
}

/// The plans of the catalog that a plan of a subscription's offer is; a preview is its offer.
///
/// Source: `marketplace-saas.md` section 2.
pub(super) fn plans<'a>(
    catalog: &'a Catalog,
    of: &Subscription,
    plan: &str,
) -> impl Iterator<Item = (&'a str, &'a Plan)> {
    let all = catalog
        .products()
        .flat_map(|product| product.plans.iter().map(|plan| (product.id.as_str(), plan)));
    all.filter(move |(_, it)| {
        let id = &it.service_id;
        let offer = of.offer.strip_suffix(PREVIEW).unwrap_or(&of.offer);
        let offers = [offer, &of.offer];
        id.publisher().eq_ignore_ascii_case(&of.publisher)
            && offers.iter().any(|it| id.offer().eq_ignore_ascii_case(it))
            && id.plan().eq_ignore_ascii_case(plan)
    })
}

/// What a plan gives, in all products that it is a plan of.
struct Rights {
    known: bool,
    features: BTreeSet<Feature>,
    /// The widest coverage by it; seats that Microsoft assigns are none of ours.
    coverage: Option<Coverage>,
    release_after: SignedDuration,
}

impl Rights {
    fn of(catalog: &Catalog, subscription: &Subscription, plan: &str) -> Self {
        let mut rights = Self {
            known: false,
            features: BTreeSet::new(),
            coverage: None,
            release_after: SignedDuration::ZERO,
        };
        for (product, plan) in plans(catalog, subscription, plan) {
            rights.known = true;
            let qualified = plan.features.iter().map(|it| format!("{product}: {it}").into());
            rights.features.extend(qualified);
            if plan.channel == Channel::Saas {
                let tenant = Coverage::Tenant;
                let wide = rights.coverage == Some(tenant) || plan.coverage == tenant;
                rights.coverage = Some(if wide { tenant } else { Coverage::Seats });
                rights.release_after = rights.release_after.max(plan.release_after);
            }
        }
        rights
    }
}

fn losers(
    mirror: &Mirror,
    known: &Subscription,
    asks: &Terms,
    (before, after): (&Rights, &Rights),
    now: Timestamp,
) -> Losers {
    let beyond = |quantity: u64| {
        let holders = mirror.holders(known.id);
        let losing = holders
            .map(|it| it.beyond(known.quantity, quantity, before.release_after, now))
            .unwrap_or_default();
        if losing.is_empty() {
            return Losers::Nobody;
        }
        let count = u64::try_from(losing.len()).unwrap_or(u64::MAX);
        let some: Vec<UserId> =
            losing.into_iter().map(|(_, user)| user).take(Impact::LISTED).collect();
        Losers::Users { count, some }
    };
    match (before.coverage, after.coverage, asks.quantity) {
        (None, _, _)
        | (Some(_), Some(Coverage::Tenant), _)
        | (Some(_), Some(Coverage::Seats), None) => Losers::Nobody,
        // Seats that Microsoft assigns instead: who gets one is not for us to say.
        (Some(_), None, _) if after.known => Losers::Nobody,
        (Some(Coverage::Tenant), None, _) => Losers::Everyone,
        (Some(Coverage::Seats), None, _) => beyond(0),
        (Some(Coverage::Tenant), Some(Coverage::Seats), Some(quantity)) => Losers::AllBut(quantity),
        (Some(Coverage::Seats), Some(Coverage::Seats), Some(quantity)) => beyond(quantity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Commit, HeldSeat, Holders, HybridMode, Product, SubscriptionId, SubscriptionStatus,
        TenantId,
    };
    use uuid::Uuid;

    fn catalog() -> Catalog {
        let plan = |name: &str, channel, coverage, features: &[&str]| Plan {
            service_id: format!("vizmaker.suite.{name}").parse().unwrap(),
            channel,
            coverage,
            features: features.iter().map(|it| Feature::from(*it)).collect(),
            sku_ids: Vec::new(),
            service_plan_ids: Vec::new(),
            release_after: SignedDuration::from_hours(24),
        };
        let (saas, tenant, seats) = (Channel::Saas, Coverage::Tenant, Coverage::Seats);
        let product = |id: &str, plans| Product {
            id: id.parse().unwrap(),
            name: id.into(),
            hybrid: HybridMode::None,
            features: [].into(),
            plans,
        };
        Catalog::new([
            product(
                "suite",
                vec![
                    plan("team", saas, seats, &["maps"]),
                    plan("big", saas, seats, &["maps", "storage"]),
                    plan("company", saas, tenant, &["storage"]),
                    plan("managed", Channel::Appsource, tenant, &["maps"]),
                ],
            ),
            product("extra", vec![plan("big", saas, seats, &["more"])]),
        ])
    }

    fn subscription(plan: &str, quantity: Option<u64>) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(Uuid::from_u128(1)),
            publisher: "vizmaker".into(),
            offer: "suite-preview".into(),
            plan: plan.into(),
            status: SubscriptionStatus::Subscribed,
            quantity,
            ..Subscription::sample()
        }
    }

    /// Users 1 to `users` sat down in that order; each used his seat last the later, the lower his
    /// number.
    fn mirror(users: u32) -> Mirror {
        let tenant = TenantId::from_uuid(Uuid::from_u128(9)).unwrap();
        let at = |minute: u32| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute.into());
        let seats = (1..=users).map(|it| {
            let user = UserId::from_uuid(Uuid::from_u128(it.into()));
            ((tenant, user), HeldSeat { taken_at: at(it), last_used: at(1_000 - it) })
        });
        let holders = vec![(subscription("team", None).id, Holders::new(seats))];
        Mirror::default().applied(&Commit { holders, ..Commit::default() })
    }

    /// With 30 users on 30 seats.
    fn check(plan: &str, asks: (&str, Option<u64>), words: &str) -> Impact {
        let known = subscription(plan, (plan != "company").then_some(30));
        let plan = Feature::from(asks.0);
        let asks = terms(&catalog(), &known, Some(&plan), asks.1);
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(20);
        let impact = of(&mirror(30), &catalog(), &known, &asks, now);
        assert_eq!(impact.to_string(), words);
        impact
    }

    #[test]
    fn fewer_seats_cost_those_theirs_who_sat_down_last() {
        let impact = check("team", ("team", Some(3)), "27 users lose their seats");
        let users: Vec<u128> = impact.users().iter().map(|it| it.as_uuid().as_u128()).collect();
        // Listed by how long ago they used them, at most 20.
        assert_eq!(users, (11..=30).rev().collect::<Vec<u128>>());
        check("team", ("team", Some(29)), "1 user loses a seat");
        check("team", ("team", Some(30)), "nobody loses access");
        check("team", ("team", Some(90)), "nobody loses access");
        check("team", ("team", None), "nobody loses access");
    }

    #[test]
    fn another_plan_takes_and_gives_features_and_may_cover_others() {
        check("team", ("big", Some(30)), "nobody loses access; won: extra: more, suite: storage");
        check(
            "big",
            ("team", Some(10)),
            "20 users lose their seats; lost: extra: more, suite: storage",
        );
        check(
            "team",
            ("COMPANY", Some(1)),
            "nobody loses access; coverage seats becomes tenant; lost: suite: maps; won: suite: \
             storage",
        );
        check(
            "company",
            ("team", Some(5)),
            "all but 5 users lose access; coverage tenant becomes seats; lost: suite: storage; \
             won: suite: maps",
        );
        check("team", ("managed", Some(1)), "nobody loses access");
    }

    #[test]
    fn a_plan_that_is_in_no_catalog_costs_all_of_them_everything() {
        check(
            "team",
            ("gold", Some(30)),
            "30 users lose their seats; the plan is not in the catalog; lost: suite: maps",
        );
        check(
            "company",
            ("gold", None),
            "everyone loses access; the plan is not in the catalog; lost: suite: storage",
        );
        // What was never ours to give is lost by nobody.
        check("gold", ("silver", Some(1)), "nobody loses access; the plan is not in the catalog");
        check("gold", ("team", Some(1)), "nobody loses access; won: suite: maps");
    }

    #[test]
    fn the_quantity_of_a_flat_rate_is_none() {
        let of = |known: Subscription, plan: &str, quantity| {
            terms(&catalog(), &known, Some(&plan.into()), quantity).quantity
        };
        assert_eq!(of(subscription("company", None), "company", Some(1)), None);
        assert_eq!(of(subscription("company", None), "team", Some(8)), Some(8));
        assert_eq!(of(subscription("team", Some(5)), "company", None), Some(5));
        assert_eq!(of(subscription("team", Some(5)), "team", Some(6)), Some(6));
    }
}
