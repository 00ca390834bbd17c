//! The commands' `--json`, field by field, and their exit codes.
//!
//! Source: contract sections 1, 4 and 7.

use entitled::sandbox::story;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::harness::*;

/// Each row has each of these fields, in this shape: `name:shape`, where `?` allows `null`.
#[track_caller]
pub(super) fn check(rows: &[Value], fields: &str) {
    for row in rows {
        for field in fields.split_whitespace() {
            let (name, shape) = field.split_once(':').unwrap();
            let value = row.get(name).unwrap_or_else(|| panic!("{name} is absent in {row}"));
            assert!(has_shape(value, shape), "{name} is no {shape} in {row}");
        }
        no_upper_case_ids(row);
    }
}

fn has_shape(value: &Value, shape: &str) -> bool {
    if let Some(shape) = shape.strip_suffix('?') {
        return value.is_null() || has_shape(value, shape);
    }
    if let Some(words) = shape.strip_prefix('=') {
        return value.as_str().is_some_and(|it| words.split('|').any(|word| word == it));
    }
    match (shape, value) {
        ("text", Value::String(text)) => !text.is_empty(),
        ("id", Value::String(text)) => text.parse::<Uuid>().is_ok_and(|it| it.to_string() == *text),
        ("time", Value::String(text)) => {
            text.ends_with('Z') && text.contains('T') && text.parse::<Timestamp>().is_ok()
        }
        ("run", Value::String(text)) => {
            text.strip_prefix('r').is_some_and(|it| it.parse::<u64>().is_ok())
        }
        ("count", Value::Number(number)) => number.is_u64(),
        ("seconds", Value::Number(number)) => number.as_f64().is_some_and(|it| it >= 0.0),
        ("bool", Value::Bool(_)) | ("list", Value::Array(_)) | ("object", Value::Object(_)) => true,
        _ => false,
    }
}

/// Wherever a GUID stands as a value, it is in lower case.
fn no_upper_case_ids(value: &Value) {
    match value {
        Value::String(text) => {
            let ids = text.parse::<Uuid>().ok().filter(|_| text.len() == 36);
            assert!(ids.is_none_or(|it| it.to_string() == *text), "{text}");
        }
        Value::Array(all) => all.iter().for_each(no_upper_case_ids),
        // The record as Microsoft sent it stays as it came.
        Value::Object(all) => {
            all.iter().filter(|it| it.0 != "raw").for_each(|it| no_upper_case_ids(it.1));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

const STATES: &str = "active|trial|grace|pending|suspended|expired|unlicensed|unknown";
const CHANNELS: &str = "appsource|saas|isv_app|direct|hybrid";
const LOG: &str = "run:run source:=subscriptions|directory|reports|groups tenant:id? \
    trigger:=start|schedule|webhook|notification|manual started:time ended:time \
    outcome:=complete|partial|failed seen:count added:count changed:count removed:count \
    requests:count throttled_s:seconds error:text?";

async fn rows(server: &Server, line: &str, fields: &str) -> Vec<Value> {
    let rows = server.cli(&format!("{line} --json")).await.ok().rows();
    assert!(!rows.is_empty(), "{line}");
    check(&rows, fields);
    rows
}

fn one<'a>(rows: &'a [Value], field: &str, value: &str) -> &'a Value {
    let mut found = rows.iter().filter(|it| it[field] == value);
    let first = found.next().unwrap_or_else(|| panic!("no {field} {value} in {rows:?}"));
    assert!(found.next().is_none(), "more than one {field} {value}");
    first
}

/// `product … decided by whom, from when, until when`: the answer of section 5.
pub(super) fn answer_fields() -> String {
    format!(
        "product:text state:={STATES} usable:bool reason:text source:={CHANNELS}? plan:text? \
         features:list period_end:time? grace_end:time? notice:object? as_of:time? stale:bool \
         check_after:count valid_until:time token:text?"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_and_tenants_read_as_agreed() {
    let (site, server) = Site::synced().await;
    let listed = rows(
        &server,
        "subscriptions",
        "id:id offer:text plan:text name:text \
         status:=Subscribed|PendingFulfillmentStart|Suspended|Unsubscribed quantity:count? \
         tenant:id? user:id? term_start:time? term_end:time? term_unit:text? auto_renew:bool \
         free_trial:bool created:time? observed_at:time",
    )
    .await;
    assert_eq!(listed.len(), 9);
    let wingtip = one(&listed, "tenant", &story::WINGTIP.tenant.to_string());
    assert_eq!((&wingtip["quantity"], &wingtip["plan"]), (&3.into(), &"team".into()));
    assert_eq!(wingtip["user"], story::WIM.user.to_string());
    assert_eq!(wingtip["offer"], story::SUITE_OFFER);
    let lamna = one(&listed, "tenant", &story::LAMNA.tenant.to_string());
    assert_eq!((&lamna["term_start"], &lamna["quantity"]), (&Value::Null, &Value::Null));
    let id = wingtip["id"].as_str().unwrap();
    // The same record on the wire, with whatever Microsoft adds one day.
    let shown = rows(&server, &format!("subscriptions show {id}"), "id:id raw:object").await;
    let sent = site.microsoft(|it| it.subscription(id.parse().unwrap())).unwrap();
    assert_eq!(shown[0]["raw"]["saasSubscriptionStatus"], sent.saas_subscription_status);
    assert_eq!(shown[0]["name"], sent.name);

    let listed = rows(
        &server,
        "tenants",
        "id:id name:text? consent:=granted|missing|revoked|unknown last_complete:time? stale:bool",
    )
    .await;
    assert_eq!(listed.len(), story::CUSTOMERS.len());
    let contoso = one(&listed, "id", &story::CONTOSO.tenant.to_string());
    assert_eq!((&contoso["consent"], &contoso["stale"]), (&"granted".into(), &false.into()));
    let litware = one(&listed, "id", &story::LITWARE.tenant.to_string());
    assert_eq!((&litware["consent"], &litware["stale"]), (&"missing".into(), &true.into()));
    assert_eq!(litware["last_complete"], Value::Null);

    site.microsoft(|it| it.consent(story::CONTOSO.tenant, None)).unwrap();
    assert_eq!(server.cli(&format!("sync --tenant {}", story::CONTOSO.tenant)).await.code, 1);
    let listed = server.cli("tenants --json").await.ok().rows();
    let contoso = one(&listed, "id", &story::CONTOSO.tenant.to_string());
    assert_eq!((&contoso["consent"], &contoso["stale"]), (&"revoked".into(), &false.into()));
    assert_eq!(server.ask("synoptic-panel", story::ANA).await.says(), "active seat_direct");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_read_as_agreed() {
    let (_site, server) = Site::synced().await;
    let shape = format!(
        "tenant:id user:id product:text plan:=team|pro channel:={CHANNELS} state:={STATES} \
         paths:list observed_at:time"
    );
    let seats = rows(&server, "seats", &shape).await;
    for seat in &seats {
        let paths = seat["paths"].as_array().unwrap();
        assert!(!paths.is_empty(), "{seat}");
        check(paths, "via:text state:=Active|ActiveWithError|Disabled|Error error:text?");
        for path in paths {
            assert!(path["via"] == "direct" || has_shape(&path["via"], "id"), "{path}");
        }
    }
    let of = |seats: &[Value], person: story::Person, product: &str| {
        let is = |it: &&Value| it["user"] == person.user.to_string() && it["product"] == product;
        seats.iter().filter(is).cloned().collect::<Vec<_>>()
    };
    let synoptic = "synoptic-panel";
    let vias = |seat: &Value| {
        let paths = seat["paths"].as_array().unwrap().iter();
        paths.map(|it| it["via"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(vias(&of(&seats, story::ANA, synoptic)[0]), ["direct"]);
    assert_eq!(vias(&of(&seats, story::BEN, synoptic)[0]), [story::BI_USERS.to_string()]);
    let both = vias(&of(&seats, story::EVA, synoptic)[0]);
    assert!(both.len() == 2 && both.contains(&"direct".to_owned()), "{both:?}");
    let field_app = of(&seats, story::IVO, "field-app");
    assert_eq!(
        (&field_app[0]["channel"], &field_app[0]["plan"]),
        (&"isv_app".into(), &"pro".into())
    );
    for (person, product, state) in [
        (story::ANA, "calendar-pro", "active"),
        (story::GIL, synoptic, "grace"),
        (story::HANA, synoptic, "suspended"),
        (story::LENA, "calendar-pro", "suspended"),
    ] {
        assert_eq!(of(&seats, person, product)[0]["state"], state, "{}", person.name);
    }
    for person in [story::CLEO, story::DAN, story::FINN] {
        assert!(of(&seats, person, synoptic).is_empty(), "{}", person.name);
    }
    let failed = rows(&server, "seats --errors", &shape).await;
    let path = &of(&failed, story::CLEO, synoptic)[0]["paths"][0];
    assert_eq!(path["via"], story::FINANCE.to_string());
    assert_eq!((&path["state"], &path["error"]), (&"Error".into(), &"CountViolation".into()));

    let tenant = story::FABRIKAM.tenant.to_string().to_uppercase();
    let filtered = rows(&server, &format!("seats --tenant {tenant}"), &shape).await;
    assert_eq!((filtered.len(), &filtered[0]["user"]), (1, &story::GIL.user.to_string().into()));
    let filtered = rows(&server, &format!("seats --group {}", story::BI_USERS), &shape).await;
    assert_eq!(filtered.len(), 2);
    let filtered = rows(&server, "seats --product field-app", &shape).await;
    assert_eq!(filtered.len(), 1);
    server.cli("seats --product nothing").await.says(2, &["nothing", "synoptic-panel"]);
    server.cli("seats --tenant nonsense").await.says(2, &["nonsense"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_journal_name_each_other() {
    let (site, server) = Site::synced().await;
    let contoso = story::CONTOSO.tenant;
    site.microsoft(|it| it.assign(contoso, story::DAN.user, story::SYNOPTIC_SKU, &[])).unwrap();
    let ran = rows(&server, &format!("sync directory --tenant {contoso}"), LOG).await;
    assert_eq!((ran.len(), &ran[0]["outcome"]), (1, &"complete".into()));
    assert_eq!((&ran[0]["trigger"], &ran[0]["added"]), (&"manual".into(), &1.into()));
    let run = ran[0]["run"].as_str().unwrap();
    assert_eq!(server.cli(&format!("log show {run} --json")).await.ok().rows(), ran);

    let log = rows(&server, "log", LOG).await;
    assert!(log.iter().any(|it| it["trigger"] == "start"));
    let of_list = log.iter().find(|it| it["source"] == "subscriptions").unwrap();
    assert_eq!((&of_list["tenant"], &of_list["seen"]), (&Value::Null, &9.into()));
    for row in &log {
        let moment = |name: &str| row[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert!(moment("started") <= moment("ended"), "{row}");
        assert_eq!(row["error"].is_null(), row["outcome"] == "complete", "{row}");
    }
    let failed = rows(&server, "log --failed", LOG).await;
    assert!(failed.iter().all(|it| it["tenant"] == story::LITWARE.tenant.to_string()));
    let lately = rows(&server, &format!("log --since 1h --tenant {contoso}"), LOG).await;
    assert!(lately.iter().all(|it| it["tenant"] == contoso.to_string()));
    assert_eq!(server.cli("log --since 2100-01-01 --json").await.ok().out, "");

    let shape = "at:time cause:text by:text? entity:text id:text tenant:id? user:id?";
    let changes = rows(&server, "changes", shape).await;
    for change in &changes {
        let cause = change["cause"].as_str().unwrap();
        let by_run =
            cause.strip_prefix("run ").is_some_and(|run| log.iter().any(|it| it["run"] == run));
        assert!(by_run || cause == "command", "{change}");
        let facts = [&change["before"], &change["after"]];
        assert!(facts.iter().any(|it| !it.is_null()), "{change}");
    }
    let line = format!("changes --tenant {contoso} --user {}", story::DAN.user);
    let change = rows(&server, &line, shape).await;
    assert_eq!((change.len(), &change[0]["cause"]), (1, &format!("run {run}").into()));
    assert_eq!((&change[0]["before"], &change[0]["after"].is_object()), (&Value::Null, &true));
    let list = server.cli("subscriptions --json").await.ok().rows();
    let id = list[0]["id"].as_str().unwrap();
    let change = rows(&server, &format!("changes --subscription {id}"), shape).await;
    assert_eq!((change.len(), &change[0]["entity"]), (1, &"subscription".into()));
    assert_eq!(change[0]["after"]["status"], list[0]["status"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_answers_as_the_public_listener_does() {
    let (_site, server) = Site::synced().await;
    let fields = answer_fields();
    let before = "2020-01-01T00:00:00Z";
    let asked = [
        ("synoptic-panel", story::ANA, "", 0, "active seat_direct"),
        ("synoptic-panel", story::GIL, "", 0, "grace seat_grace"),
        ("synoptic-panel", story::CLEO, "", 3, "unlicensed seat_in_error"),
        ("synoptic-panel", story::KAI, "", 3, "unknown no_consent"),
        ("synoptic-panel", story::ANA, "--host publish_to_web", 3, "unlicensed host_unsupported"),
        ("viz-suite", story::NOA, "--host 4", 0, "trial subscription_trial"),
        ("viz-suite", story::PAT, "", 3, "unlicensed"),
        ("synoptic-panel", story::ANA, &format!("--at {before}"), 3, "unknown never_read"),
    ];
    for (product, person, rest, code, says) in asked {
        let line = format!(
            "query {product} --tenant {} --user {} {rest} --json",
            person.tenant, person.user
        );
        let ran = server.cli(&line).await.exits(code);
        let answer = &ran.rows()[0];
        check(std::slice::from_ref(answer), &fields);
        let said =
            format!("{} {}", answer["state"].as_str().unwrap(), answer["reason"].as_str().unwrap());
        assert!(said.starts_with(says), "{line}: {answer}");
        assert_eq!(answer["usable"], code == 0, "{line}");
        assert!(answer.get("trail").is_none(), "{line}");
        if rest.is_empty() {
            let mut public = server.ask(product, person).await.body;
            let mut shown = answer.clone();
            // Who asks in public and is refused is looked up, and told when it pays to ask again.
            for moving in ["token", "valid_until", "check_after"] {
                public[moving] = Value::Null;
                shown[moving] = Value::Null;
            }
            assert_eq!(shown, public, "{line}");
        }
    }
    let line = format!(
        "query synoptic-panel --tenant {} --user {} --explain --json",
        story::BEN.tenant,
        story::BEN.user
    );
    let answer = &server.cli(&line).await.ok().rows()[0];
    check(std::slice::from_ref(&answer["trail"]), "evidence:list sources:list");
    for wrong in [
        format!("query nothing --tenant {} --user {}", story::BEN.tenant, story::BEN.user),
        format!("query synoptic-panel --tenant x --user {}", story::BEN.user),
        "query synoptic-panel".to_owned(),
        line.replace("--explain", "--host moon"),
        line.replace("--explain", "--at 2100-01-01T00:00:00Z"),
    ] {
        server.cli(&wrong).await.says(2, &["error: "]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_takes_no_seat() {
    let (_site, server) = Site::synced().await;
    for person in [story::WIM, story::XIA, story::YAN, story::ZOE, story::ABE] {
        let line = format!("query viz-suite --tenant {} --user {}", person.tenant, person.user);
        server.cli(&line).await.ok();
    }
    for (person, says) in [
        (story::ABE, "active subscription_active"),
        (story::ZOE, "active subscription_active"),
        (story::YAN, "active subscription_active"),
        (story::WIM, "unlicensed no_free_seat"),
    ] {
        assert_eq!(server.ask("viz-suite", person).await.says(), says, "{}", person.name);
    }
    let line = format!("query viz-suite --tenant {} --user {}", story::XIA.tenant, story::XIA.user);
    server.cli(&line).await.exits(3);
    let changes = server.cli("changes --json").await.ok().rows();
    let taken: Vec<_> = changes.iter().filter(|it| it["cause"] == "caller web-shop").collect();
    assert_eq!(taken.len(), 3, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_configuration_read_as_agreed_and_tell_no_secret() {
    let (site, server) = Site::synced().await;
    let keys = rows(&server, "keys list", "kid:text created:time retired:time? current:bool").await;
    let new = rows(&server, "keys rotate", "kid:text created:time").await;
    let after =
        rows(&server, "keys list", "kid:text created:time retired:time? current:bool").await;
    assert_eq!((keys.len(), after.len()), (1, 2));
    assert_eq!(one(&after, "kid", new[0]["kid"].as_str().unwrap())["current"], true);
    let set = server.get("/.well-known/jwks.json").await;
    assert_eq!(set.body["keys"].as_array().unwrap().len(), 2);
    assert!(!set.text.contains("\"d\""), "{}", set.text);

    server.cli("config check").await.ok();
    let shown = rows(&server, "config show", "key:text origin:text").await;
    let client = one(&shown, "key", "identity.client_id");
    assert_eq!(client["value"], story::CLIENT_ID.to_string());
    let text = server.cli("config show").await.ok().out;
    for secret in [story::CLIENT_SECRET, crate::world::CALLER_KEY] {
        assert!(!text.contains(secret) && !format!("{shown:?}").contains(secret));
    }
    let status = rows(&server, "status", "sources:list runs:object store:object").await;
    assert_eq!(status.len(), 1);
    site.edit("[store]", "[stoer]");
    for line in ["config check", "config show", "status", "serve"] {
        server.cli(line).await.says(2, &["stoer", "did you mean `store`", "entitled.toml"]);
    }
}
