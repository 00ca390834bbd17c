//! `[microsoft]`: where Microsoft's services are.

use url::Url;

use super::section::Section;

/// Where Microsoft's services are. Never plain http but to loopback, and without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicrosoftHosts {
    /// Entra: tokens at `{login}/{tenant}/oauth2/v2.0/token`.
    pub login: Url,
    /// Issuer of version 1 tokens: `{issuer_v1}/{tenant}/`.
    pub issuer_v1: Url,
    /// SaaS fulfillment.
    pub marketplace: Url,
    /// Microsoft Graph.
    pub graph: Url,
    /// Partner Center.
    pub partner_center: Url,
}

impl MicrosoftHosts {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("microsoft", |it| {
            let hosts = Self {
                login: url(it, "login", "https://login.microsoftonline.com"),
                issuer_v1: url(it, "issuer_v1", "https://sts.windows.net"),
                marketplace: url(it, "marketplace", "https://marketplaceapi.microsoft.com"),
                graph: url(it, "graph", "https://graph.microsoft.com"),
                partner_center: url(
                    it,
                    "partner_center",
                    "https://api.partnercenter.microsoft.com",
                ),
            };
            it.note_later(
                "partner_center",
                "accepted; takes effect in the version that reads licence reports",
            );
            hosts
        })
    }
}

#[expect(
    clippy::expect_used,
    reason = "the defaults are literals in this file, and a test reads them"
)]
fn url(it: &mut Section<'_>, key: &str, default: &str) -> Url {
    it.or(key, Url::parse(default).expect("a literal"))
}
