//! Licenses away and back: the real commands against two daemons.

use std::path::Path;

use serde_json::Value;

use entitled::sandbox::story;
use entitled::store::{Store, StoreOptions};

use crate::cli::with;
use crate::world::World;

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

    with(&config, &format!("licenses suspend {}", row["id"].as_str().unwrap())).await.ok();
    assert_eq!(with(&config, "licenses overlap --json").await.ok().rows().len(), 0);
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
