//! The table of hosts: data, and how it is printed. Nothing else says what counts where.

use crate::decision::Proof;
use crate::domain::{Channel, Cloud, Host};

/// A way of being licensed, as hosts tell them apart: a channel, and for the publisher's own
/// licenses how they are proven or of which kind they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Microsoft's licence of a visual.
    Appsource,
    /// A SaaS subscription.
    Saas,
    /// A licence of Dynamics or Power Apps.
    IsvApp,
    /// The package carries a license of kind `user` or `capacity`.
    Package,
    /// The package carries a license of kind `site`.
    PackageForSite,
    /// The tenant was activated, and the user has a token.
    HybridEntra,
    /// License id and licensee.
    HybridLicensee,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Appsource,
        Self::Saas,
        Self::IsvApp,
        Self::Package,
        Self::PackageForSite,
        Self::HybridEntra,
        Self::HybridLicensee,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Appsource => "appsource",
            Self::Saas => "saas",
            Self::IsvApp => "isv_app",
            Self::Package => "direct",
            Self::PackageForSite => "direct site",
            Self::HybridEntra => "hybrid entra",
            Self::HybridLicensee => "hybrid licensee",
        }
    }

    /// The channel it speaks for.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Appsource => Channel::Appsource,
            Self::Saas => Channel::Saas,
            Self::IsvApp => Channel::IsvApp,
            Self::Package | Self::PackageForSite => Channel::Direct,
            Self::HybridEntra | Self::HybridLicensee => Channel::Hybrid,
        }
    }

    /// How a license of the publisher is proven on this way.
    pub const fn proof(self) -> Option<Proof> {
        match self {
            Self::Appsource | Self::Saas | Self::IsvApp => None,
            Self::Package | Self::PackageForSite => Some(Proof::Package),
            Self::HybridEntra => Some(Proof::EntraActivation),
            Self::HybridLicensee => Some(Proof::IdAndLicensee),
        }
    }
}

/// One row of the table: some hosts of a way that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which way of being licensed.
    pub way: Way,
    /// In which hosts.
    pub hosts: &'static [Host],
    /// In which clouds.
    pub clouds: &'static [Cloud],
    /// Whether the right counts there.
    pub supported: bool,
    /// What has to be shown for it: `token`, `key`, `package`, `subscription`; nothing where
    /// nothing counts.
    pub identity: &'static str,
    /// What the daemon answers.
    pub answer: &'static str,
    /// Where that comes from: keys of `visuals-and-isv.md` section 7, or the contract's rule.
    pub source: &'static str,
    /// What the sources leave open; the contract's rule decides meanwhile.
    pub doubt: &'static str,
}

const SIGNED_IN: &[Host] = &[Host::Web, Host::Desktop, Host::Mobile];
const ANYWHERE: &[Host] = Host::ALL;
const PUBLIC: &[Cloud] = &[Cloud::Public];
const NATIONAL: &[Cloud] = &[Cloud::National];
const BOTH: &[Cloud] = &[Cloud::Public, Cloud::National];
/// What is refused, and how.
const NO: Row = Row {
    way: Way::Appsource,
    hosts: ANYWHERE,
    clouds: PUBLIC,
    supported: false,
    identity: "",
    answer: "host_unsupported",
    source: "rule 6",
    doubt: "",
};
/// What counts, by the user's Entra token.
const BY_TOKEN: Row = Row { supported: true, identity: "token", hosts: SIGNED_IN, ..NO };
/// What counts, by the package.
const BY_PACKAGE: Row = Row {
    way: Way::Package,
    clouds: BOTH,
    supported: true,
    identity: "package",
    answer: "state of the license",
    ..NO
};

/// The table. Each way has each host in each cloud exactly once.
///
/// Source: `visuals-and-isv.md` sections 6.1 to 6.4; contract section 2, rule 6.
pub const TABLE: &[Row] = &[
    Row {
        answer: "state of the seat; a certified visual never asks",
        source: "O1 P1; rule 6",
        ..BY_TOKEN
    },
    Row {
        hosts: &[Host::Dashboard],
        answer: "state of the seat",
        doubt: "section 6 has no row for dashboards",
        ..BY_TOKEN
    },
    Row {
        hosts: &[Host::Embed],
        source: "P1 P4 O1 O17; rule 6",
        doubt: "user-owns-data, SharePoint, Teams: Microsoft does not say unsupported, OKVIZ does",
        ..NO
    },
    Row {
        hosts: &[Host::ReportServer, Host::PublishToWeb, Host::Export],
        source: "P1 P4 O1; rule 6",
        doubt: "a certified visual is rendered in exports of the service; the licence check of REST exports is not made",
        ..NO
    },
    Row { clouds: NATIONAL, source: "P4 O1; rule 6", ..NO },
    Row {
        way: Way::Saas,
        hosts: &[Host::Web, Host::Desktop, Host::Mobile, Host::Dashboard],
        answer: "state of the subscription",
        source: "M-SAAS; rule 6",
        ..BY_TOKEN
    },
    Row {
        way: Way::Saas,
        hosts: &[Host::Embed, Host::ReportServer, Host::PublishToWeb, Host::Export],
        ..NO
    },
    Row { way: Way::Saas, clouds: NATIONAL, ..NO },
    Row {
        way: Way::IsvApp,
        hosts: &[Host::Web, Host::Desktop, Host::Mobile, Host::Dashboard],
        answer: "state of the seat",
        source: "M-ISV M-LIC; rule 6",
        doubt: "this licence does not cover visuals (M-ISVM); hosts with a signed-in user stand for model-driven apps",
        ..BY_TOKEN
    },
    Row {
        way: Way::IsvApp,
        hosts: &[Host::Embed, Host::ReportServer, Host::PublishToWeb, Host::Export],
        source: "M-ISVM; rule 6",
        ..NO
    },
    Row { way: Way::IsvApp, clouds: NATIONAL, ..NO },
    Row { hosts: SIGNED_IN, source: "O1 O15 P5; rule 6", ..BY_PACKAGE },
    Row { hosts: &[Host::Dashboard], doubt: "section 6 has no row for dashboards", ..BY_PACKAGE },
    Row {
        hosts: &[Host::Embed],
        source: "O1 O9; rule 6",
        doubt: "the domain cannot be proven; own domains need kind site by contract (EULA 7), SharePoint user or capacity",
        ..BY_PACKAGE
    },
    Row {
        hosts: &[Host::ReportServer],
        source: "O1 O12 P16; rule 6",
        doubt: "often behind a firewall: then the package alone decides",
        ..BY_PACKAGE
    },
    Row {
        hosts: &[Host::PublishToWeb],
        answer: "state of the license; no user is counted",
        source: "O1 O9; rule 6",
        ..BY_PACKAGE
    },
    Row {
        hosts: &[Host::Export],
        source: "rule 6",
        doubt: "uncertified visuals are not rendered in exports of the service (O11 P14), so it is not asked there; Desktop exports by itself",
        ..BY_PACKAGE
    },
    Row {
        way: Way::PackageForSite,
        hosts: &[Host::Embed],
        answer: "state of the license, on its domain and below",
        source: "O1 O9; rule 6",
        doubt: "the domain is what the visual says, unproven",
        ..BY_PACKAGE
    },
    Row {
        way: Way::PackageForSite,
        hosts: &[
            Host::Web,
            Host::Desktop,
            Host::Mobile,
            Host::Dashboard,
            Host::ReportServer,
            Host::PublishToWeb,
            Host::Export,
        ],
        clouds: BOTH,
        source: "O9; rule 6",
        ..NO
    },
    Row {
        way: Way::HybridEntra,
        answer: "state of the license; without an activation not licensed",
        source: "O4 P5; rule 6",
        doubt: "mobile: whether the consent dialog appears",
        ..BY_TOKEN
    },
    Row {
        way: Way::HybridEntra,
        hosts: &[Host::Dashboard],
        answer: "state of the license; without an activation not licensed",
        doubt: "section 6 has no row for dashboards",
        ..BY_TOKEN
    },
    Row {
        way: Way::HybridEntra,
        hosts: &[Host::Embed, Host::ReportServer, Host::PublishToWeb, Host::Export],
        source: "O1 O4 P5; rule 6",
        ..NO
    },
    Row {
        way: Way::HybridEntra,
        clouds: NATIONAL,
        source: "O1 P10; rule 6",
        doubt: "the token API knows national clouds since 5.9.1; hybrid there is unconfirmed",
        ..NO
    },
    Row {
        way: Way::HybridLicensee,
        identity: "key",
        answer: "state of the license",
        source: "O5 P5; rule 6",
        ..BY_TOKEN
    },
    Row {
        way: Way::HybridLicensee,
        hosts: &[Host::Dashboard],
        identity: "key",
        answer: "state of the license",
        doubt: "section 6 has no row for dashboards",
        ..BY_TOKEN
    },
    Row {
        way: Way::HybridLicensee,
        hosts: &[Host::Embed, Host::ReportServer, Host::PublishToWeb],
        source: "O1 O14; rule 6",
        doubt: "calls do arrive from there (O14 lists Embedded and Publish to Web as execution sources); refused by rule 6",
        ..NO
    },
    Row { way: Way::HybridLicensee, hosts: &[Host::Export], source: "O11 P14; rule 6", ..NO },
    Row {
        way: Way::HybridLicensee,
        clouds: NATIONAL,
        source: "O1 P10; rule 6",
        doubt: "unconfirmed",
        ..NO
    },
];

/// The row of a way in a host and a cloud.
pub fn row(way: Way, host: Host, cloud: Cloud) -> Option<&'static Row> {
    let fits = |it: &&Row| it.way == way && it.hosts.contains(&host) && it.clouds.contains(&cloud);
    TABLE.iter().find(fits)
}

/// Whether a way counts in a host and a cloud.
pub(super) fn counts(way: Way, host: Host, cloud: Cloud) -> bool {
    row(way, host, cloud).is_some_and(|it| it.supported)
}

/// The table as Markdown, for the README: a row of [`TABLE`] a line.
pub fn markdown() -> String {
    let mut text = String::from(
        "| way | hosts | cloud | counts | needs | answer | source | doubt |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for it in TABLE {
        let cells = [
            it.way.as_str(),
            &it.hosts(),
            it.cloud(),
            if it.supported { "yes" } else { "no" },
            it.identity,
            it.answer,
            it.source,
            it.doubt,
        ];
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

/// Where each way counts in the public cloud, as the module that the client for visuals holds.
pub fn typescript() -> String {
    let mut text = String::from(
        "// Made by `entitled products hosts --typescript`; a test compares. Where each way of being\n\
         // licensed counts, in the public cloud.\n\
         export const hosts: Record<string, readonly string[]> = {\n",
    );
    for way in Way::ALL {
        let open = Host::ALL.iter().filter(|host| counts(way, **host, Cloud::Public));
        let open: Vec<String> = open.map(|host| format!("\"{host}\"")).collect();
        text.extend(["  \"", way.as_str(), "\": [", &open.join(", "), "],\n"]);
    }
    text + "};\n"
}

impl Row {
    /// Its hosts, separated by blanks; `any` for all.
    pub fn hosts(&self) -> String {
        if self.hosts.len() == Host::ALL.len() {
            return "any".to_owned();
        }
        self.hosts.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Its cloud, or `any`.
    pub const fn cloud(&self) -> &'static str {
        match self.clouds {
            [Cloud::Public] => "public",
            [Cloud::National] => "national",
            _ => "any",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_every_host_in_every_cloud_once() {
        for way in Way::ALL {
            for host in Host::ALL {
                for cloud in [Cloud::Public, Cloud::National] {
                    let fits = |it: &&Row| {
                        it.way == way && it.hosts.contains(host) && it.clouds.contains(&cloud)
                    };
                    assert_eq!(TABLE.iter().filter(fits).count(), 1, "{way:?} {host} {cloud:?}");
                }
            }
        }
        for it in TABLE {
            assert_eq!(it.supported, !it.identity.is_empty(), "{it:?}");
            assert_eq!(it.supported, it.answer != "host_unsupported", "{it:?}");
            assert!(it.source.contains("rule 6"), "{it:?}");
        }
    }
}
