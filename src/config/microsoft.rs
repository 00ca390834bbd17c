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
    /// Hosts, or what hosts end with, that Partner Center's reports are fetched from as their links
    /// say; any other link is followed on the host of [`Self::partner_center`].
    pub report_hosts: Vec<String>,
}

const PARTNER_CENTER: &str = "https://api.partnercenter.microsoft.com";

impl MicrosoftHosts {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("microsoft", |it| {
            let partner_center = url(it, "partner_center", PARTNER_CENTER);
            Self {
                report_hosts: report_hosts(it, is_microsofts(&partner_center)),
                login: url(it, "login", "https://login.microsoftonline.com"),
                issuer_v1: url(it, "issuer_v1", "https://sts.windows.net"),
                marketplace: url(it, "marketplace", "https://marketplaceapi.microsoft.com"),
                graph: url(it, "graph", "https://graph.microsoft.com"),
                partner_center,
            }
        })
    }
}

impl MicrosoftHosts {
    /// Whether Entra is a stand-in and Partner Center is not: a stand-in's tokens would go to
    /// Microsoft.
    pub fn mixes_stand_in(&self) -> bool {
        is_microsofts(&self.partner_center) && !is_microsofts(&self.login)
    }
}

/// Whether the host is one of Microsoft's, of whatever cloud.
fn is_microsofts(url: &Url) -> bool {
    let own =
        [".microsoft.com", ".microsoftonline.com", ".microsoftonline.us", ".chinacloudapi.cn"];
    url.host_str().is_some_and(|host| own.iter().any(|it| host.ends_with(it)))
}

/// Azure Storage as long as Partner Center is Microsoft's; a stand-in keeps its reports itself.
fn report_hosts(it: &mut Section<'_>, real: bool) -> Vec<String> {
    let default = if real { vec!["blob.core.windows.net".to_owned()] } else { Vec::new() };
    let hosts: Vec<String> = it.or("report_hosts", default);
    let plain = |host: &String| {
        host.contains('.') && host.chars().all(|it| it.is_ascii_alphanumeric() || ".-".contains(it))
    };
    if let Some(wrong) = hosts.iter().find(|it| !plain(it)) {
        let message = format!(
            "`{wrong}` is no name of a host; write one, or what hosts end with, such as \
             \"blob.core.windows.net\""
        );
        it.problem("report_hosts", message);
    }
    hosts.into_iter().map(|it| it.trim_start_matches('.').to_ascii_lowercase()).collect()
}

#[expect(
    clippy::expect_used,
    reason = "the defaults are literals in this file, and a test reads them"
)]
fn url(it: &mut Section<'_>, key: &str, default: &str) -> Url {
    it.or(key, Url::parse(default).expect("a literal"))
}
