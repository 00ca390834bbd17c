//! Licenses away and back: the real commands against two daemons.

use std::path::Path;

use serde_json::Value;

use entitled::sandbox::story;
use entitled::store::{Store, StoreOptions};

use crate::cli::with;
use crate::world::{CALLER_KEY, World};

const HEAD: &str = "id,product,kind,max,licensee,cycle";

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn sold(world: &World) {
    let config = world.config_path();
    for line in [
        "--max 20 --licensee Müller(ana@contoso.example) --cycle yearly",
        "--max 5 --licensee =HYPERLINK(\"x\") --period-end 2031-01-31 --over-limit deny",
        "--licensee Trial,comma --cycle trial",
    ] {
        let issue = format!("licenses issue --product synoptic-panel --kind user {line}");
        with(&config, &issue).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_and_imported_elsewhere_is_exported_the_same() {
    let (here, elsewhere) = (World::new().await, World::new().await);
    let (a, b) = (here.config_path(), elsewhere.config_path());
    sold(&here).await;
    let folder = tempfile::tempdir().unwrap();
    for form in ["", " --json"] {
        let away = with(&a, &format!("licenses export{form}")).await.ok().out;
        assert!(!away.contains("EK1-"), "no key leaves: {away}");
        assert!(!form.is_empty() || away.contains("'=HYPERLINK"), "no cell is a formula: {away}");
        let file = write(folder.path(), "licenses", &format!("\u{feff}{away}"));

        let dry = with(&b, &format!("licenses import {file} --dry-run")).await.ok();
        assert!(dry.out.contains("nothing was written"), "{}", dry.out);
        let before = elsewhere.mirror().licenses().count();
        with(&b, &format!("licenses import {file}")).await.ok();
        assert!(before == 0 || !form.is_empty());
        let there = with(&b, &format!("licenses export{form}")).await.ok().out;
        assert_eq!(there, away);
        let again = with(&b, &format!("licenses import {file} --replace --json")).await.ok().rows();
        assert_eq!(again.len(), 3);
        assert!(again.iter().all(|it| it["outcome"] == "same"), "{again:?}");
    }
    let changes = with(&b, "changes --since 2000-01-01 --json").await.ok().rows();
    let imported: Vec<&Value> = changes.iter().filter(|it| it["entity"] == "license").collect();
    assert_eq!(imported.len(), 3);
    assert!(imported.iter().all(|it| it["cause"] == "command"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_many_rows_goes_on_behind_the_odd_ones_and_gives_them_back() {
    let world = World::new().await;
    let config = world.config_path();
    let folder = tempfile::tempdir().unwrap();
    let id = |it: u8| entitled::domain::LicenseId::from_random([it; 18]);
    let row =
        |it: u8, max: &str| format!("{},synoptic-panel,user,{max},Customer {it},monthly\n", id(it));
    let mut text = format!("{HEAD}\n");
    for it in 0..32 {
        let max = if it == 7 { "seven".to_owned() } else { it.max(1).to_string() };
        text.extend([row(it, &max)]);
    }
    // Rows again, so that there is more than one commit: the file says each of them once.
    for it in 0..32 {
        for _ in 0..4 {
            text.extend([row(it, &it.max(1).to_string())]);
        }
    }
    text.extend([format!("{},synoptic-panel,user,99,Somebody else,monthly\n", id(3))]);
    let file = write(folder.path(), "many.csv", &text);
    let rejected = folder.path().join("rejected.csv").display().to_string();
    let line = format!("licenses import {file} --rejected {rejected} --json");
    let ran = with(&config, &line).await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    let count = |word: &str| ran.rows().iter().filter(|it| it["outcome"] == word).count();
    // The first row of customer 7 is odd, and the later ones say something else.
    assert_eq!((count("new"), count("same"), count("refused")), (31, 124, 6), "{}", ran.out);
    assert_eq!(world.mirror().licenses().count(), 31);
    let back = std::fs::read_to_string(&rejected).unwrap();
    assert!(back.starts_with(HEAD) && back.contains(",seven,"), "{back}");
    assert_eq!(back.lines().count(), 7);

    let mended = format!("{HEAD}\n{},synoptic-panel,user,7,Customer 7,monthly\n", id(7));
    let file = write(folder.path(), "mended.csv", &mended);
    let ran = with(&config, &format!("licenses import {file}")).await.ok();
    assert!(ran.out.contains("1 rows: 1 new, 0 changed"), "{}", ran.out);
    let ran = with(&config, &format!("licenses import {rejected} --rejected {file}")).await;
    assert!(
        ran.code == 1 && ran.err.contains("cannot make"),
        "no file is written over: {}",
        ran.err
    );
    let ran = with(&config, "licenses import /nowhere.csv").await;
    assert!(ran.code == 1 && ran.err.contains("/nowhere.csv cannot be imported"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_seat_in_a_tenant_with_a_license_is_covered_twice() {
    let world = World::new().await;
    world.sync().await;
    let config = world.config_path();
    let issue = "licenses issue --product synoptic-panel --kind user --max 50 --licensee Contoso \
                 --cycle yearly --json";
    let row = with(&config, issue).await.ok().rows().remove(0);
    let none = with(&config, "licenses overlap").await.ok();
    assert!(none.out.contains("nobody is covered"), "{}", none.out);

    let body = serde_json::json!({"product": "synoptic-panel", "key": row["key"]});
    let token = world.token(story::ANA.tenant, story::ANA.user);
    assert_eq!(world.post("/v1/activations", &token, &body).await.0, 201);
    let rows = with(&config, "licenses overlap --json").await.ok().rows();
    let of = |user: uuid::Uuid| rows.iter().find(|it| it["user"] == user.to_string());
    let ana = of(story::ANA.user).unwrap();
    assert_eq!((&ana["license"], &ana["seat_state"]), (&row["id"], &"active".into()));
    assert!(ana["license_until"].is_string() && ana["seat_observed_at"].is_string(), "{ana}");
    assert!(of(story::BEN.user).is_some(), "a seat by a group is one");
    for without in [story::CLEO, story::FINN, story::DAN] {
        assert!(of(without.user).is_none(), "{} has no seat that counts", without.name);
    }
    let contoso = story::ANA.tenant.to_string();
    assert!(rows.iter().all(|it| it["tenant"] == contoso.as_str()));
    let other = format!("licenses overlap --tenant {} --json", story::GIL.tenant);
    assert_eq!(with(&config, &other).await.ok().rows().len(), 0);
    let told = with(&config, "licenses overlap --price 2").await.ok().out;
    assert!(told.contains(&format!("pays twice for {} of synoptic-panel, ", rows.len())), "{told}");
    let status = with(&config, "status").await.ok().out;
    assert!(status.contains(&format!("covered twice  {} users", rows.len())), "{status}");

    let listed = got(&world, "/v1/licenses/overlap").await;
    assert_eq!(listed["overlaps"], Value::from(rows.clone()), "over HTTP too");
    assert_eq!(listed["more"], false);
    let count = rows.len();
    let twice = |amount: Value| {
        serde_json::json!([{"tenant": contoso, "product": "synoptic-panel", "users": count,
            "amount_a_month": amount}])
    };
    assert_eq!(listed["paid_twice"], twice(Value::Null));
    let amount = 2.5 * f64::from(u32::try_from(count).unwrap());
    let priced = got(&world, "/v1/licenses/overlap?price=2.5").await;
    assert_eq!(priced["paid_twice"], twice(amount.into()));

    with(&config, &format!("licenses suspend {}", row["id"].as_str().unwrap())).await.ok();
    assert_eq!(with(&config, "licenses overlap --json").await.ok().rows().len(), 0);
}

/// Licenses as the web shop gets them: so many, and then the rest.
async fn in_parts(world: &World, path: &str, limit: usize) -> Vec<Value> {
    let listed = |part: &Value| part["licenses"].as_array().unwrap().clone();
    let part = got(world, &format!("{path}?limit={limit}")).await;
    let next = part["next"].as_str().unwrap();
    let rest = got(world, &format!("{path}?after={next}")).await;
    assert!(listed(&part).len() == limit && rest["next"].is_null(), "{part} {rest}");
    [listed(&part), listed(&rest)].concat()
}

/// What the web shop is answered.
async fn got(world: &World, path: &str) -> Value {
    let (status, answer) = world.get(path, CALLER_KEY).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_led_from_seats_to_a_license_and_nobody_loses_access() {
    let world = World::new().await;
    world.sync().await;
    let config = world.config_path();
    let contoso = story::ANA.tenant;
    let plan = format!("licenses switch-plan {contoso} --product synoptic-panel --price 2.5");
    let json = format!("{plan} --json");
    let first = with(&config, &json).await.ok().rows().remove(0);
    assert_eq!((&first["product"], &first["to"]), (&"synoptic-panel".into(), &"license".into()));
    let seats = first["covered"]["by_seat"].as_u64().unwrap();
    assert!(seats >= 3 && first["needed"] == seats, "{first}");
    let progress = |plan: &Value, act: &str| {
        let step = plan["steps"].as_array().unwrap().iter().find(|it| it["step"] == act).unwrap();
        (step["progress"].as_str().unwrap().to_owned(), step["loses"].as_u64())
    };
    assert_eq!(progress(&first, "issue"), ("next".to_owned(), Some(0)));
    assert_eq!(progress(&first, "lapse"), ("later".to_owned(), Some(seats)));
    let losers = first["users"].as_array().unwrap().iter().filter(|it| it["loses_at"] == "lapse");
    assert_eq!(losers.count() as u64, seats);
    let told = with(&config, &plan).await.ok().out;
    for wanted in ["from seats of AppSource", "covered now", "would lose access", "done when"] {
        assert!(told.contains(wanted), "{wanted} in {told}");
    }

    // The very command that it prints.
    let issue = first["steps"][1]["commands"][0].as_str().unwrap();
    let issue = format!("{} --json", issue.strip_prefix("entitled ").unwrap());
    let issue = issue.replace("'<customer>'", "Contoso");
    let row = with(&config, &issue).await.ok().rows().remove(0);
    assert_eq!((&row["max"], &row["state"]), (&Value::from(seats), &"active".into()), "{row}");
    let body = serde_json::json!({"product": "synoptic-panel", "key": row["key"]});
    let token = world.token(contoso, story::ANA.user);
    assert_eq!(world.post("/v1/activations", &token, &body).await.0, 201);
    let second =
        got(&world, &format!("/v1/licenses/switch-plan?tenant={contoso}&product=synoptic-panel"))
            .await;
    let second = &second["plans"][0];
    assert_eq!(progress(second, "cover"), ("done".to_owned(), Some(0)), "{second}");
    assert_eq!(progress(second, "lapse"), ("next".to_owned(), Some(0)));
    assert_eq!(second["covered"]["by_both"], seats);
    assert_eq!(first["overlap"]["amount_a_month"], 2.5 * f64::from(u32::try_from(seats).unwrap()));

    let none = with(&config, &format!("licenses switch-plan {}", story::NOA.tenant)).await.ok();
    assert!(none.out.contains("neither a seat nor a license"), "{}", none.out);
    // Who may not be read is not said to have no seats.
    let unread =
        format!("licenses switch-plan {} --product synoptic-panel --json", story::KAI.tenant);
    let unread = with(&config, &unread).await.ok().rows().remove(0);
    assert!(unread["covered"]["by_seat"].is_null() && unread["refused"] == true, "{unread}");
    let (status, wrong) = world.get("/v1/licenses/switch-plan", CALLER_KEY).await;
    assert_eq!((status, &wrong["field"]), (422, &"tenant".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_command_does_to_licenses_a_server_does_too_once_and_under_its_name() {
    let world = World::new().await;
    let config = world.config_path();
    let sale = |name: &str| {
        serde_json::json!({"product": "synoptic-panel", "kind": "user",
        "licensee": name, "cycle": "yearly"})
    };
    let mut sold = Vec::new();
    for name in ["One", "Two", "Three"] {
        let (status, row) = world.post("/v1/licenses", CALLER_KEY, &sale(name)).await;
        assert_eq!(status, 201, "{row}");
        sold.push(row);
    }
    let listed = with(&config, "licenses list --json").await.ok().rows();
    assert_eq!(in_parts(&world, "/v1/licenses", 2).await, listed, "the same rows");

    let body = serde_json::json!({"product": "synoptic-panel", "key": sold[0]["key"]});
    let token = world.token(story::ANA.tenant, story::ANA.user);
    let (_, bound) = world.post("/v1/activations", &token, &body).await;
    let of = format!("/v1/activations?tenant={}", story::ANA.tenant);
    assert_eq!(got(&world, &of).await["activations"], serde_json::json!([bound]));
    let of = format!("/v1/licenses?tenant={}", story::ANA.tenant);
    assert_eq!(got(&world, &of).await["licenses"][0]["id"], sold[0]["id"]);
    assert_eq!(got(&world, &of).await["licenses"].as_array().unwrap().len(), 1);

    let id = sold[0]["id"].as_str().unwrap();
    let shown = with(&config, &format!("licenses show {id} --json")).await.ok().rows().remove(0);
    assert!(shown["coverage"].is_object() && shown["bound"].as_array().unwrap().len() == 1);
    assert_eq!(got(&world, &format!("/v1/licenses/{id}")).await, shown, "with who uses it");
    let none = serde_json::json!({});
    let (status, package) =
        world.post(&format!("/v1/licenses/{id}/package"), CALLER_KEY, &none).await;
    assert!(status == 200 && package["token"].as_str().unwrap().contains('.'), "{package}");

    let path = format!("/v1/licenses/{id}/reissue");
    let (status, anew) = world.post_once(&path, CALLER_KEY, "leak-1", &none).await;
    assert_eq!((status, &anew["replaces"]), (200, &sold[0]["id"]), "{anew}");
    let again = world.post_once(&path, CALLER_KEY, "leak-1", &none).await;
    assert_eq!(again, (200, anew.clone()), "the same license and the same key");
    assert_eq!(world.post(&path, CALLER_KEY, &none).await.0, 409, "it is revoked now");

    let path = format!("/v1/activations/{}/remove", bound["id"].as_str().unwrap());
    let (status, gone) = world.post_once(&path, CALLER_KEY, "away-1", &none).await;
    assert_eq!((status, &gone["license"]), (200, &anew["id"]), "{gone}");
    assert_eq!(world.post_once(&path, CALLER_KEY, "away-1", &none).await, (200, gone));
    assert_eq!(world.post(&path, CALLER_KEY, &none).await.0, 404);

    let rows = with(&config, "licenses export --json").await.ok().rows();
    assert_eq!(in_parts(&world, "/v1/licenses/export", 3).await, rows, "the same rows");
    let here = serde_json::json!({"licenses": rows});
    let (status, again) = world.post("/v1/licenses/import", CALLER_KEY, &here).await;
    assert!(status == 200 && again["rows"].as_array().unwrap().len() == 4, "{again}");
    assert!(again["rows"].as_array().unwrap().iter().all(|it| it["outcome"] == "same"), "{again}");
    let mut larger = rows[0].clone();
    larger["max"] = 77.into();
    let import = serde_json::json!({"licenses": [larger], "replace": true});
    let (_, done) = world.post("/v1/licenses/import", CALLER_KEY, &import).await;
    assert_eq!(done["rows"][0]["outcome"], "changed", "{done}");

    let changes = with(&config, "changes --since 2000-01-01 --json").await.ok().rows();
    let of_book = |it: &&Value| it["entity"] == "license" || it["entity"] == "activation";
    let causes: Vec<&str> =
        changes.iter().filter(of_book).filter_map(|it| it["cause"].as_str()).collect();
    assert_eq!(causes.iter().filter(|it| **it == "activation").count(), 1);
    let by_shop = causes.iter().filter(|it| **it == "caller web-shop").count();
    assert_eq!(by_shop, causes.len() - 1, "{causes:?}");
    // Somebody's own token is none of a shop.
    assert_eq!(world.get("/v1/licenses", &token).await.0, 403);
    assert_eq!(world.get("/v1/licenses", "ent_none").await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_given_twice_with_one_word_is_carried_out_once() {
    let world = World::new().await;
    let config = world.config_path();
    let issue = "licenses issue --product synoptic-panel --kind user --licensee One --period-end \
                 2031-01-31 --once order-1 --json";
    let first = with(&config, issue).await.ok().rows().remove(0);
    assert!(first["key"].is_string(), "{first}");
    assert_eq!(with(&config, issue).await.ok().rows()[0], first, "with the same key");
    assert_eq!(world.mirror().licenses().count(), 1);
    let other = with(&config, &issue.replace("One", "Two")).await;
    assert!(other.code == 1 && other.err.contains("Idempotency-Key"), "{}", other.err);
    let another = with(&config, &issue.replace("order-1", "order-2")).await.ok().rows();
    assert_ne!(another[0]["id"], first["id"], "another order is another license");

    let id = first["id"].as_str().unwrap();
    for line in [
        format!("licenses renew {id} --cycle yearly --once pay-1 --json"),
        format!("licenses change {id} --max 7 --once up-1 --json"),
        format!("licenses reissue {id} --once leak-1 --json"),
    ] {
        let once = with(&config, &line).await.ok().rows();
        assert_eq!(with(&config, &line).await.ok().rows(), once, "{line}");
    }
    assert_eq!(world.mirror().licenses().count(), 3, "issued anew once");
    let changes = with(&config, &format!("changes --license {id} --json")).await.ok().rows();
    assert_eq!(changes.len(), 4, "sold, paid, changed, revoked: {changes:?}");
    let wrong = with(&config, &format!("licenses renew {id} --once \u{e9}")).await;
    assert!(wrong.code == 2 && wrong.err.contains("ASCII"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_daemon_is_restored_by_the_commands() {
    let world = World::new().await;
    let config = world.config_path();
    sold(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entitled.backup").display().to_string();
    let made = with(&config, &format!("backup {file} --json")).await.ok().rows();
    assert_eq!(made[0]["bytes"], std::fs::metadata(&file).unwrap().len());
    let again = with(&config, &format!("backup {file}")).await;
    assert!(again.code == 1 && again.err.contains("cannot make"), "{}", again.err);
    let left = std::fs::read_dir(world.daemon.store.folder()).unwrap();
    assert_eq!(
        left.flatten().filter(|it| it.path().extension() == Some("part".as_ref())).count(),
        0
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let restored = crate::world::config(&elsewhere, "http://127.0.0.1:9", "").store.path;
    let there = elsewhere.path().join("entitled.toml");
    with(&there, &format!("restore {file}")).await.ok();
    let occupied = with(&there, &format!("restore {file}")).await;
    assert_eq!(occupied.code, 1, "{}", occupied.out);
    let (store, _) = Store::open(StoreOptions::new(&restored), world.now()).unwrap();
    assert_eq!(store.mirror().licenses().count(), 3);
    let kids = |it: &Store| it.keys().list().iter().map(|it| it.kid.clone()).collect::<Vec<_>>();
    assert_eq!(kids(&store), kids(&world.daemon.store));
    store.close().await;

    std::fs::write(&file, b"no backup").unwrap();
    let empty = tempfile::tempdir().unwrap();
    crate::world::config(&empty, "http://127.0.0.1:9", "");
    let wrong = with(&empty.path().join("entitled.toml"), &format!("restore {file}")).await;
    assert!(wrong.code == 1 && wrong.err.contains(&file), "{}", wrong.err);
}
