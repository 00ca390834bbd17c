//! Tenants of national and government clouds, from Entra's refusal to what everybody is told.

use entitled::sandbox::story;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::harness::*;
use crate::world::CALLER_KEY;

/// By which code Entra says that a tenant lives elsewhere.
///
/// Source: graph-licensing.md section 10.4. The last one says that there is no such tenant; only
/// its metadata tell more.
const CODES: [(u32, Uuid); 4] = [
    (90_038, uuid!("a1000000-0000-4000-8000-0000000000c1")),
    (900_382, uuid!("a1000000-0000-4000-8000-0000000000c2")),
    (900_432, uuid!("a1000000-0000-4000-8000-0000000000c3")),
    (90_002, uuid!("a1000000-0000-4000-8000-0000000000c4")),
];

/// A daemon with a customer in another cloud for each code.
async fn with_national_customers() -> (Site, Server) {
    let tables = CODES.map(|(_, tenant)| format!("[[tenant]]\nid = \"{tenant}\"\n"));
    let site = Site::with(&tables.concat()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (code, tenant) in CODES {
        let roles = ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All"];
        site.microsoft(|it| it.add_tenant(tenant, "Ministry", Some(&roles)));
        let told = json!({ "nationalize": { "tenant": tenant, "code": code } });
        let url = format!("{}/control", site.sandbox.base());
        let answer = client.post(url).body(told.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
    let server = site.serve().await;
    // What cannot be read is not complete.
    assert_eq!(server.cli("sync").await.code, 1);
    (site, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_entra_says_that_a_tenant_lives_in_another_cloud_only_direct_licenses_speak() {
    let (site, server) = with_national_customers().await;
    let issued = "licenses issue --product synoptic-panel --kind user --licensee Ministry --json";
    let license = server.cli(issued).await.ok().rows().remove(0);
    let line = format!("licenses package {}", license["id"].as_str().unwrap());
    let package = server.cli(&line).await.ok().out;
    let tenants = server.cli("tenants --json").await.ok().rows();
    let log = server.cli("log --failed --json").await.ok().rows();
    for (code, tenant) in CODES {
        // Known for what it is, neither refused nor about to be read.
        let no = "unlicensed host_unsupported";
        let person = story::Person { tenant, ..story::KAI };
        assert_eq!(server.ask("synoptic-panel", person).await.says(), no, "{code}");
        let body = json!({
            "product": "synoptic-panel", "host": "web", "package": package.trim(),
            "tenant": tenant, "user": person.user,
        });
        let yes = server.post("/v1/entitlements", Some(CALLER_KEY), &body).await;
        assert_eq!(yes.says(), "active license_active", "{code}");
        assert_eq!(yes.body["source"], "direct");
        let id = tenant.to_string();
        let of_it = |rows: &[Value]| rows.iter().find(|it| it["tenant"] == *id).cloned();
        let row = tenants.iter().find(|it| it["id"] == *id).unwrap();
        assert_eq!((&row["cloud"], &row["last_complete"]), (&json!("national"), &Value::Null));
        assert_eq!(row["consent"], "unknown", "nobody was asked: {code}");
        let error = of_it(&log).unwrap()["error"].to_string();
        assert!(error.contains("lives in a national or government cloud"), "{error}");
    }
    let status = server.cli("status --json").await.ok().rows().remove(0);
    let national = CODES.iter().filter(|(_, tenant)| {
        let rows = status["sources"].as_array().into_iter().flatten();
        let error = |it: &Value| it["error"].as_str().unwrap_or_default().contains("national");
        rows.clone().any(|it| it["tenant"] == tenant.to_string() && error(it))
    });
    assert_eq!(national.count(), CODES.len(), "{status:#}");
    let doctor = server.cli("doctor").await.out;
    assert_eq!(doctor.matches("lives in a national cloud").count(), CODES.len(), "{doctor}");
    // Whoever says so by a code is believed without its metadata.
    let asked = site.sandbox.requests();
    let looked = |tenant: Uuid| {
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        asked.iter().any(|it| it.target.ends_with(&path))
    };
    assert_eq!(CODES.map(|(_, tenant)| looked(tenant)), [false, false, false, true]);
    assert!(asked.iter().all(|it| {
        let graph = it.target.starts_with("/graph/");
        !graph || CODES.iter().all(|(_, tenant)| it.tenant != Some(*tenant))
    }));
}
