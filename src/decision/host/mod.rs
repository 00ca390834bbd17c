//! Which right may speak in which host: rule 6 of the contract and the decision table of
//! `visuals-and-isv.md` section 6, as one table. The rules below, `entitled products hosts`, the
//! README and the client for visuals are made of it ([`TABLE`]).

mod table;

use super::Question;
use crate::domain::{Channel, Cloud, Host, HybridMode, LicenseKind, Product};
use table::counts;
pub use table::{Row, TABLE, Way, markdown, row, typescript};

/// Whether evidence of this channel counts in this host, by any of its ways.
///
/// Source: contract section 2, rule 6.
pub fn speaks(channel: Channel, host: Host) -> bool {
    Way::ALL.iter().any(|way| way.channel() == channel && counts(*way, host, Cloud::Public))
}

/// Whether evidence of this channel counts in this cloud: only the publisher's own package does
/// everywhere.
///
/// Source: contract section 2, rule 6.
pub fn speaks_in_cloud(channel: Channel, cloud: Cloud) -> bool {
    let somewhere = |way: Way| Host::ALL.iter().any(|host| counts(way, *host, cloud));
    Way::ALL.iter().any(|way| way.channel() == channel && somewhere(*way))
}

/// Whether a license of this kind counts in the question's host: a `site` only where it is
/// embedded, and only on its domain or below it.
///
/// Source: contract section 2, rule 6.
pub fn kind_fits(kind: LicenseKind, domain: Option<&str>, question: &Question<'_>) -> bool {
    match kind {
        LicenseKind::User | LicenseKind::Capacity => true,
        LicenseKind::Site => {
            let site = question.site.and_then(host_name);
            let embedded = counts(Way::PackageForSite, question.host, Cloud::Public);
            embedded && site.zip(domain).is_some_and(|(site, domain)| is_below(site, domain))
        }
    }
}

/// Whether a license of so many users is counted in this host: what is published to the web needs
/// no right of a user.
pub const fn counts_users(channel: Channel, host: Host) -> bool {
    match (channel, host) {
        (Channel::Direct, Host::PublishToWeb) => false,
        (_, _) => true,
    }
}

/// Whether the product is sold in a way that this host or cloud shuts out, and in none that it
/// lets speak; a package that nobody showed does not count.
pub(super) fn shuts_out(product: &Product, host: Host, cloud: Cloud) -> bool {
    let hybrid = (product.hybrid != HybridMode::None).then_some(Channel::Hybrid);
    let mut sold = product.plans.iter().map(|plan| plan.channel).chain(hybrid).peekable();
    let speaks = |channel| speaks(channel, host) && speaks_in_cloud(channel, cloud);
    sold.peek().is_some() && !sold.any(speaks)
}

/// In which ways the product can be licensed: those of its plans' channels and of its hybrid mode, and
/// a package, which any product may have.
pub fn ways(product: &Product) -> Vec<Way> {
    let can = |way: &Way| match way {
        Way::Package | Way::PackageForSite => true,
        Way::HybridEntra => product.hybrid == HybridMode::Entra,
        Way::HybridLicensee => product.hybrid == HybridMode::Licensee,
        Way::Appsource | Way::Saas | Way::IsvApp => product.sells_on(way.channel()),
    };
    Way::ALL.into_iter().filter(can).collect()
}

/// The host name in a URL, or the text itself when it is none: without port, case kept.
fn host_name(site: &str) -> Option<&str> {
    let rest = site.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#', '\\']).next()?;
    let rest = rest.rsplit('@').next()?;
    let name = rest.split(':').next()?.trim_end_matches('.');
    (!name.is_empty()).then_some(name)
}

fn is_below(site: &str, domain: &str) -> bool {
    let domain = domain.trim().trim_end_matches('.');
    let Some(cut) = site.len().checked_sub(domain.len()) else { return false };
    let (Some(front), Some(tail)) = (site.get(..cut), site.get(cut..)) else { return false };
    !domain.is_empty()
        && tail.eq_ignore_ascii_case(domain)
        && (front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_package_speaks_where_nobody_signs_in() {
        let check = |channel, hosts: &str| {
            let open = Host::ALL.iter().filter(|host| speaks(channel, **host));
            let open: Vec<_> = open.map(|host| host.as_str()).collect();
            assert_eq!(open.join(" "), hosts, "{channel}");
        };
        let signed_in = "web desktop mobile dashboard";
        check(Channel::Appsource, signed_in);
        check(Channel::Saas, signed_in);
        check(Channel::IsvApp, signed_in);
        check(Channel::Hybrid, signed_in);
        check(
            Channel::Direct,
            "web desktop mobile dashboard embed report_server publish_to_web export",
        );
    }

    #[test]
    fn only_a_package_speaks_in_a_national_cloud() {
        for channel in Channel::ALL {
            assert!(speaks_in_cloud(*channel, Cloud::Public), "{channel}");
            let national = speaks_in_cloud(*channel, Cloud::National);
            assert_eq!(national, *channel == Channel::Direct, "{channel}");
        }
    }

    #[test]
    fn only_what_is_published_to_the_web_needs_no_right_of_a_user() {
        for channel in Channel::ALL {
            for host in Host::ALL {
                let free = *channel == Channel::Direct && *host == Host::PublishToWeb;
                assert_eq!(counts_users(*channel, *host), !free, "{channel} {host}");
            }
        }
    }

    #[test]
    fn a_site_is_its_domain_and_what_is_below_it() {
        let check = |site: &str, domain: &str, fits: bool| {
            let found = host_name(site).is_some_and(|site| is_below(site, domain));
            assert_eq!(found, fits, "{site} on {domain}");
        };
        check("https://bi.contoso.example", "bi.contoso.example", true);
        check("https://BI.contoso.example:8443/x?y", "bi.Contoso.example", true);
        check("https://bi.contoso.example.", "contoso.example", true);
        check("bi.contoso.example", "contoso.example", true);
        check("https://evilcontoso.example", "contoso.example", false);
        check("https://contoso.example.evil.test", "contoso.example", false);
        check("https://contoso.example@evil.test/", "contoso.example", false);
        check("https://evil.test/contoso.example", "contoso.example", false);
        check("https://evil.test\\.contoso.example", "contoso.example", false);
        check("https://", "contoso.example", false);
        check("https://contoso.example", "", false);
        check("ü.example", "x.example", false);
    }
}
