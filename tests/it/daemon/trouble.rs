//! What goes wrong at night: each time one message that says what to do, the right exit code, and
//! nothing lost.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use entitled::sandbox::{Fault, Faults, story};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::harness::*;
use crate::world::CALLER_KEY;

const NEVER: &str = "0b0b0b0b-1111-4222-8333-999999999999";

/// The errors of `sync --json`, by source and tenant.
async fn errors(server: &Server, line: &str) -> Vec<String> {
    let ran = server.cli(&format!("{line} --json")).await.exits(1);
    assert!(ran.err.contains("not complete") && ran.err.contains("next: "), "{}", ran.err);
    let failed = ran.rows().into_iter().filter(|it| it["outcome"] != "complete");
    failed.map(|it| it["error"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_does_not_work_says_which_one_and_what_to_do() {
    let secret = |site: &Site, text: &str| fs::write(site.dir.path().join("client-secret"), text);
    let (site, server) = Site::synced().await;
    server.kill();
    for (text, told) in [
        ("no such secret", ["client secret is wrong", "secret_file", "restart", "AADSTS7000215"]),
        (story::EXPIRED_SECRET, ["has expired", "make a new one", "restart", "AADSTS7000222"]),
    ] {
        secret(&site, text).unwrap();
        let server = site.serve().await;
        let errors = errors(&server, "sync").await;
        assert_eq!(errors.len(), story::CUSTOMERS.len() + 1);
        let of = |words: &[&str]| {
            errors.iter().filter(|it| words.iter().all(|word| it.contains(word))).count()
        };
        assert!(of(&told) >= story::CUSTOMERS.len(), "{errors:?}");
        assert!(!errors.concat().contains(text) && !server.log().contains(text));
        // What is known keeps counting, and nobody took consent back.
        assert_eq!(server.ask("synoptic-panel", story::BEN).await.says(), "active seat_by_group");
        let tenants = server.cli("tenants --json").await.ok().rows();
        let granted = tenants.iter().filter(|it| it["consent"] == "granted").count();
        assert_eq!(granted, story::CUSTOMERS.len() - 1);
        assert!(server.cli("status").await.ok().out.contains("client secret"));
        server.kill();
    }
    secret(&site, story::CLIENT_SECRET).unwrap();
    let server = site.serve().await;
    server.cli("sync subscriptions").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_may_not_be_read_says_whose_turn_it_is() {
    let site = Site::with(&format!("[[tenant]]\nid = \"{NEVER}\"\n")).await;
    let server = site.serve().await;
    let litware = story::LITWARE.tenant;
    server.cli("sync subscriptions").await.ok();
    let told = errors(&server, &format!("sync --tenant {litware}")).await;
    assert!(told[0].contains("consent-url") && told[0].contains("AADSTS700016"), "{told:?}");
    let told = errors(&server, &format!("sync --tenant {NEVER}")).await;
    for words in ["does not exist", "check its id", "AADSTS90002"] {
        assert!(told[0].contains(words), "{told:?}");
    }
    let unknown = NEVER.replace('9', "8");
    server
        .cli(&format!("sync --tenant {unknown}"))
        .await
        .says(1, &[&unknown, "is not known", "[[tenant]]"]);
    server.cli("sync --tenant nonsense").await.says(2, &["nonsense"]);
    let url = server.cli(&format!("tenants consent-url {litware}")).await.ok().out;
    assert!(url.contains("adminconsent?client_id="), "{url}");
    // Permissions that were granted in part are no consent either.
    site.microsoft(|it| it.consent(litware, Some(vec!["User.Read.All".to_owned()]))).unwrap();
    let told = errors(&server, &format!("sync --tenant {litware}")).await;
    assert!(told[0].contains("LicenseAssignment.Read.All"), "{told:?}");
    assert_eq!(server.ask("synoptic-panel", story::KAI).await.says(), "unknown no_consent");

    // The publisher's own tenant: there is nobody to ask for consent.
    drop(server);
    let home = story::PUBLISHER_TENANT.to_string();
    site.edit(&format!("tenant = \"{home}\""), &format!("tenant = \"{NEVER}\""));
    let server = site.serve().await;
    let told = errors(&server, "sync subscriptions").await;
    for words in ["publisher's tenant does not exist", "[publisher] tenant", "AADSTS90002"] {
        assert!(told[0].contains(words), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_wrong_is_refused_with_the_place() {
    let site = Site::new().await;
    let config = site.config();
    let good = fs::read_to_string(&config).unwrap();
    let check = async |from: &str, to: &str, told: &[&str]| {
        fs::write(&config, good.replacen(from, to, 1)).unwrap();
        for line in ["serve", "config check", "status"] {
            run(&config, line).await.says(2, told);
        }
    };
    check("id = \"vizmaker\"", "id = \"vizmaker", &["entitled.toml", "line 3"]).await;
    check("[store]", "[store]\npaht = 1", &["store.paht", "did you mean `store.path`"]).await;
    check("[store]", "[stroe]", &["stroe", "did you mean `store`"]).await;
    check("127.0.0.1:0", "localhost", &["listen.public", "localhost"]).await;
    check("/client-secret", "/no-secret", &["secret_file", "no-secret", "create it"]).await;
    let folder = site.dir.path();
    let nowhere = folder.join("nowhere.toml");
    run(&nowhere, "serve").await.says(2, &["nowhere.toml", "cannot be read", "--config"]);
    run(folder, "serve").await.says(2, &["cannot be read", "--config"]);
    fs::write(&config, [0xff, 0xfe, 0x00]).unwrap();
    run(&config, "serve").await.says(2, &["entitled.toml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_holds_is_named_and_left_alone() {
    let (site, first) = Site::synced().await;
    refused(&site.config()).await.says(1, &["admin.sock", "stop it first", "listen.admin"]);
    let other = site.dir.path().join("other.toml");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(&other, text.replace("/admin.sock", "/other.sock")).unwrap();
    refused(&other).await.says(1, &["already in use", "stop that one first"]);
    assert!(!site.dir.path().join("other.sock").exists());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    edit(&other, "/store\"", "/store-2\"");
    for key in ["public", "ops"] {
        let text = fs::read_to_string(&other).unwrap();
        edit(&other, &format!("{key} = \"127.0.0.1:0\""), &format!("{key} = \"{address}\""));
        refused(&other).await.says(1, &[&address, &format!("listen.{key}"), "stop what holds it"]);
        fs::write(&other, text).unwrap();
    }
    assert!(!site.dir.path().join("store-2").exists(), "nothing is made before all is bound");
    first.cli("status").await.ok();
    assert_eq!(first.ask("synoptic-panel", story::ANA).await.says(), "active seat_direct");
    first.cli("sync subscriptions").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_used_is_refused_with_its_folder() {
    let site = Site::new().await;
    let store = site.dir.path().join("store");
    let told = store.display().to_string();
    fs::write(&store, "a file").unwrap();
    refused(&site.config()).await.says(1, &[&told, "[store] path"]);
    fs::remove_file(&store).unwrap();
    fs::create_dir(&store).unwrap();
    fs::write(store.join("thesis.txt"), "years of work").unwrap();
    refused(&site.config()).await.says(1, &[&told, "other things in it"]);
    assert_eq!(fs::read_to_string(store.join("thesis.txt")).unwrap(), "years of work");
    fs::remove_dir_all(&store).unwrap();
    fs::create_dir(&store).unwrap();
    if let Some(_mounted) = Mounted::tmpfs(&store, "ro,size=1m") {
        refused(&site.config()).await.says(1, &[&told, "read-only", "mount it writable"]);
    }
    assert!(!site.dir.path().join("admin.sock").exists(), "what refused to start left a socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_go_on_while_the_disk_is_full_and_writing_goes_on_by_itself() {
    let site = Site::new().await;
    let store = site.dir.path().join("store");
    fs::create_dir(&store).unwrap();
    let Some(mounted) = Mounted::tmpfs(&store, "size=96m") else { return };
    let server = site.serve().await;
    assert_eq!(server.cli("sync").await.code, 1);
    assert_eq!(server.ask("viz-suite", story::WIM).await.says(), "active subscription_active");

    let filler = store.join("exports/filler");
    let full = vec![0; 1 << 20];
    let mut grown = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut grown, &full).is_ok() {}
    drop(grown);
    let contoso = story::CONTOSO.tenant;
    site.microsoft(|it| it.assign(contoso, story::DAN.user, story::SYNOPTIC_SKU, &[])).unwrap();
    let sync = format!("sync --tenant {contoso}");
    let told = errors(&server, &sync).await;
    assert!(told[0].contains("full") && told[0].contains("free some space"), "{told:?}");
    assert_eq!(server.ask("synoptic-panel", story::BEN).await.says(), "active seat_by_group");
    assert_eq!(server.ask("synoptic-panel", story::DAN).await.says(), "unlicensed not_licensed");
    assert_eq!(server.ask("viz-suite", story::WIM).await.says(), "active subscription_active");
    let refused = server.ask("viz-suite", story::XIA).await;
    assert_eq!((refused.status, &refused.body["type"]), (503, &"unavailable".into()));
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    let (status, ready) = server.ops("/readyz").await;
    assert!(status == 503 && ready.contains("free some space"), "{ready}");
    assert_eq!(server.ops("/healthz").await.0, 200);
    server.cli("status").await.ok();

    fs::remove_file(&filler).unwrap();
    server.cli(&sync).await.ok();
    assert_eq!(server.ask("viz-suite", story::XIA).await.says(), "active subscription_active");
    assert_eq!(server.ops("/readyz").await.0, 200);
    assert_eq!(server.terminate().await.code(), Some(0));
    let server = site.serve().await;
    assert_eq!(server.ask("synoptic-panel", story::DAN).await.says(), "active seat_direct");
    server.cli("query viz-suite").await.exits(2);
    drop((server, mounted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_microsofts_that_is_none_removes_nothing() {
    let (site, server) = Site::synced().await;
    let before = server.cli("seats --json").await.ok().out;
    let faults = Faults::default();
    let faults = faults.with(Fault::Marketplace503Html, 1.0).with(Fault::GraphTruncated, 1.0);
    site.microsoft(|it| it.set_faults(faults));
    let told = errors(&server, "sync").await;
    let of = |words: &[&str]| {
        told.iter().filter(|it| words.iter().all(|word| it.contains(word))).count()
    };
    assert_eq!(told.len(), story::CUSTOMERS.len() + 1);
    assert_eq!(of(&["marketplace", "503", "HTML"]), 1, "{told:?}");
    assert!(of(&["subscribedSkus", "cut off"]) >= story::CUSTOMERS.len() - 1, "{told:?}");
    assert_eq!(server.cli("seats --json").await.ok().out, before);
    assert_eq!(server.ask("synoptic-panel", story::GIL).await.says(), "grace seat_grace");
    let status = server.cli("status").await.ok().out;
    assert!(status.contains("HTML") && status.contains("cut off"), "{status}");
    site.microsoft(|it| it.set_faults(Faults::default()));
    server.cli("sync subscriptions").await.ok();
}

fn bought(id: &str, status: &str, tenant: uuid::Uuid) -> Value {
    json!({
        "id": id, "publisherId": "vizmaker", "offerId": "viz-suite", "name": "Viz Suite",
        "saasSubscriptionStatus": status, "planId": "company", "aNewField": {"of": ["tomorrow"]},
        "beneficiary": {"emailId": "mia@customer.example", "objectId": story::MIA.user,
                        "tenantId": tenant, "puid": null},
        "purchaser": {"emailId": "mia@customer.example", "tenantId": tenant},
        "term": {"termUnit": "P7Y", "startDate": "2026-03-05", "endDate": null},
        "autoRenew": true, "isFreeTrial": false, "quantity": null,
        "allowedCustomerOperations": ["Read", "Teleport"], "created": "2026-03-04T09:15:02.1234567Z"
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_nobody_understands_are_kept_reported_and_stop_nothing() {
    let site = Site::new().await;
    let pretend = MockServer::start().await;
    let from = format!("marketplace = \"{}/marketplace\"", site.sandbox.base());
    site.edit(&from, &format!("marketplace = \"{}/marketplace\"", pretend.uri()));
    let (first, second) =
        ("a1a1a1a1-4289-581c-2cb7-db784599a7bd", "b2b2b2b2-4289-181c-fcb7-db784599a7bd");
    let mut nameless = bought("x", "Subscribed", story::LAMNA.tenant);
    nameless.as_object_mut().unwrap().remove("id");
    let address = bought("eve@customer.example", "Subscribed", story::LAMNA.tenant);
    let records = [
        bought(first, "Subscribed", story::PROSEWARE.tenant),
        nameless,
        address,
        json!("no record at all"),
        bought(&second.to_uppercase(), "Hibernating", story::RELECLOUD.tenant),
    ];
    let list = json!({"subscriptions": records});
    let answer = ResponseTemplate::new(200).set_body_json(list);
    let on = method("GET");
    let list = path("/marketplace/api/saas/subscriptions");
    Mock::given(on).and(list).respond_with(answer).mount(&pretend).await;
    let server = site.serve().await;
    let told = errors(&server, "sync subscriptions").await;
    assert!(told[0].contains("3 record(s) could not be understood"), "{told:?}");

    let rows = server.cli("subscriptions --json").await.ok().rows();
    let statuses: Vec<_> = rows.iter().map(|it| (&it["id"], &it["status"])).collect();
    assert_eq!(
        statuses,
        [(&first.into(), &"Subscribed".into()), (&second.into(), &"Hibernating".into())]
    );
    let shown = server.cli(&format!("subscriptions show {second} --json")).await.ok().rows();
    assert_eq!(shown[0]["raw"]["aNewField"], json!({"of": ["tomorrow"]}));
    assert_eq!(shown[0]["raw"]["id"], second.to_uppercase(), "as it came");
    assert!(server.cli("subscriptions").await.ok().out.contains("Hibernating"));
    let status = server.cli("status --json").await.ok().rows();
    assert!(status[0]["odd_records"].as_u64().unwrap() >= 3, "{status:?}");
    assert_eq!(server.ask("viz-suite", story::MIA).await.says(), "active subscription_active");
    let asleep = server.ask("viz-suite", story::PIA).await;
    assert_eq!((asleep.status, &asleep.body["usable"]), (200, &false.into()), "{}", asleep.text);
    assert_ne!(asleep.body["reason"], "not_licensed", "there is evidence: {}", asleep.text);
    let people = server.cli("status").await.ok().out;
    for text in [people, server.log()] {
        let line = text.lines().find(|it| it.contains("customer.example"));
        assert!(line.is_none(), "{line:?}");
    }

    // A portal in between that answers for Microsoft.
    pretend.reset().await;
    let html = "<html><title>Sign in to the hotel's network</title></html>";
    let portal = ResponseTemplate::new(200).set_body_raw(html, "text/html");
    Mock::given(wiremock::matchers::any()).respond_with(portal).mount(&pretend).await;
    let told = errors(&server, "sync subscriptions").await;
    assert!(told[0].contains("HTML") && told[0].contains("check [microsoft]"), "{told:?}");
    assert_eq!(server.cli("subscriptions --json").await.ok().rows().len(), 2);
    let body = json!({"product": "viz-suite", "host": "web", "tenant": story::MIA.tenant,
                      "user": story::MIA.user});
    let answer = server.post("/v1/entitlements", Some(CALLER_KEY), &body).await;
    assert_eq!(answer.says(), "active subscription_active");
}

#[tokio::test]
async fn a_command_without_a_daemon_says_how_to_start_one() {
    let site = Site::new().await;
    let query = format!("query viz-suite --tenant {NEVER} --user {NEVER}");
    for line in [
        "status",
        "sync",
        "log",
        "changes",
        "seats",
        "subscriptions",
        "tenants",
        "keys list",
        &query,
    ] {
        run(&site.config(), line).await.says(1, &["not running", "entitled serve --config"]);
    }
}

/// A file system of its own, unmounted with this.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said aloud, where this process may not mount.
    fn tmpfs(folder: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).output();
        if mount.as_ref().is_ok_and(|it| it.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        eprintln!("skipped: this process may not mount a tmpfs ({mount:?})");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
