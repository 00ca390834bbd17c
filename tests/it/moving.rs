//! Licenses away and back: the real commands against two daemons.

use std::path::Path;

use serde_json::Value;

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
        assert!(form != "" || away.contains("'=HYPERLINK"), "no cell is a formula: {away}");
        let file = write(folder.path(), "licenses", &format!("\u{feff}{away}"));

        let dry = with(&b, &format!("licenses import {file} --dry-run")).await.ok();
        assert!(dry.out.contains("nothing was written"), "{}", dry.out);
        let before = elsewhere.mirror().licenses().count();
        with(&b, &format!("licenses import {file}")).await.ok();
        assert!(before == 0 || form != "");
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
    let mut text = format!("{HEAD}\n");
    for it in 0..32 {
        let max = if it == 7 { "seven".to_owned() } else { it.max(1).to_string() };
        text += &format!("{},synoptic-panel,user,{max},Customer {it},monthly\n", id(it));
    }
    // Rows again, so that there is more than one commit: the file says each of them once.
    for it in 0..32 {
        for _ in 0..4 {
            text +=
                &format!("{},synoptic-panel,user,{},Customer {it},monthly\n", id(it), it.max(1));
        }
    }
    text += &format!("{},synoptic-panel,user,99,Somebody else,monthly\n", id(3));
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
