//! Rule 6, cell by cell: what the table of hosts says is what the decision does.

use super::*;
use crate::decision::host::{TABLE, Way};

/// A product that is sold on this way alone.
fn sold(way: Way) -> Product {
    let hybrid = match way {
        Way::HybridEntra => HybridMode::Entra,
        Way::HybridLicensee => HybridMode::Licensee,
        Way::Appsource | Way::Saas | Way::IsvApp | Way::Package | Way::PackageForSite => {
            HybridMode::None
        }
    };
    let plans = if way.channel() == Channel::Hybrid {
        Vec::new()
    } else {
        vec![plan("p.panel.team", way.channel(), "maps")]
    };
    product(hybrid, plans)
}

/// What the real decision says of a right of this way that is in order.
fn decided(way: Way, host: Host, cloud: Cloud) -> Decision {
    let product = sold(way);
    let site = Some("https://bi.contoso.example");
    let question = Question { site, ..asked(&product, host) };
    let known = Known { last_complete: Some(now()), ..Known::default() };
    let knowledge = Knowledge::of(known, cloud);
    let subscription = subscription(5, "Subscribed");
    let license = |proof| {
        let site = way == Way::PackageForSite;
        let kind = if site { LicenseKind::Site } else { LicenseKind::User };
        Evidence::License(License { kind, proof, domain: Some("contoso.example"), ..license() })
    };
    let right = |plan| UsageRight { plan, state: "active", as_of: now() };
    let evidence = match way {
        Way::Saas => Evidence::Subscription(Subscribed {
            subscription: &subscription,
            plan: &product.plans[0],
            covered: Covered::Tenant,
        }),
        Way::Appsource | Way::IsvApp => Evidence::UsageRight(right(&product.plans[0])),
        Way::Package | Way::PackageForSite | Way::HybridEntra | Way::HybridLicensee => {
            license(way.proof().unwrap())
        }
    };
    decide(&question, &[evidence], &knowledge, &Policy::default(), now())
}

#[test]
fn every_cell_of_the_table_is_what_the_decision_does() {
    let mut walked = 0;
    for row in TABLE {
        for host in row.hosts {
            for cloud in row.clouds {
                let decision = decided(row.way, *host, *cloud);
                assert_eq!(decision.usable, row.supported, "{row:?} {host} {cloud:?}");
                if !row.supported {
                    assert_eq!(decision.reason, Reason::HostUnsupported, "{row:?} {host}");
                }
                walked += 1;
            }
        }
    }
    assert_eq!(walked, Way::ALL.len() * Host::ALL.len() * 2);
}
