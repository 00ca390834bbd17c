//! In which of Microsoft's clouds a tenant lives, as its public metadata say.
//!
//! Source: `graph-licensing.md` section 11; `OpenID` provider metadata of Entra.

use serde_json::Value;

use super::TokenSource;
use crate::domain::{Cloud, TenantId};
use crate::microsoft::error::MicrosoftError;
use crate::microsoft::http::Outgoing;
use crate::microsoft::json;
use crate::microsoft::link::Base;
use crate::microsoft::meter::Meter;

const METADATA: &str = "GET /{tenant}/v2.0/.well-known/openid-configuration";

/// A member of the metadata, its words for the public cloud, and its words for national ones.
type Member = (&'static str, &'static [&'static str], &'static [&'static str]);

/// What metadata call a cloud, and which one it is. `tenant_region_scope` of the government's says
/// so too; a tenant of GCC, which lives in the public cloud, has another one.
const MEMBERS: [Member; 3] = [
    (
        "cloud_instance_name",
        &["microsoftonline.com"],
        &[
            "microsoftonline.us",
            "partner.microsoftonline.cn",
            "chinacloudapi.cn",
            "microsoftonline.de",
        ],
    ),
    (
        "msgraph_host",
        &["graph.microsoft.com"],
        &[
            "graph.microsoft.us",
            "dod-graph.microsoft.us",
            "microsoftgraph.chinacloudapi.cn",
            "graph.microsoft.de",
        ],
    ),
    ("tenant_region_scope", &[], &["USG", "USGov"]),
];

impl TokenSource {
    /// In which cloud the tenant lives; `None` if its metadata do not say.
    ///
    /// # Errors
    ///
    /// Entra did not answer.
    pub(crate) async fn cloud(
        &self,
        meter: &Meter,
        tenant: TenantId,
    ) -> Result<Option<Cloud>, MicrosoftError> {
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        let url = Base::new(self.login.clone(), &[]).join(&path)?;
        let answer = self.http.send(METADATA, meter, Outgoing::get(url)).await?;
        if !answer.status.is_success() {
            // There is no such tenant here, or Entra is away: both say nothing.
            return Ok(None);
        }
        json::body(METADATA, &answer).map(|it| told(&it))
    }
}

/// What the metadata say. One member that names a national cloud is enough; a word that nobody has
/// told us about says nothing.
fn told(metadata: &Value) -> Option<Cloud> {
    let is = |of: fn(&Member) -> &'static [&'static str]| {
        MEMBERS.iter().any(|row| {
            let word = json::word(metadata, row.0).unwrap_or_default();
            of(row).iter().any(|it| it.eq_ignore_ascii_case(word.trim()))
        })
    };
    if is(|row| row.2) { Some(Cloud::National) } else { is(|row| row.1).then_some(Cloud::Public) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_name_the_cloud() {
        let check = |name: &str, region: &str, graph: &str, cloud: Option<Cloud>| {
            let metadata = json!({"cloud_instance_name": name, "tenant_region_scope": region, "msgraph_host": graph});
            assert_eq!(told(&metadata), cloud, "{metadata}");
        };
        let public = Some(Cloud::Public);
        let national = Some(Cloud::National);
        check("microsoftonline.com", "EU", "graph.microsoft.com", public);
        check("microsoftonline.us", "USGov", "graph.microsoft.us", national);
        check("microsoftonline.us", "USG", "dod-graph.microsoft.us", national);
        check("partner.microsoftonline.cn", "AS", "microsoftgraph.chinacloudapi.cn", national);
        check("microsoftonline.com", "USGov", "", national);
        check("", "", "graph.microsoft.us", national);
        check("moon.example", "", "graph.moon.example", None);
        assert_eq!(told(&json!({"tenant_region_scope": null})), None);
        assert_eq!(told(&json!([])), None);
    }
}
