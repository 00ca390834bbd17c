//! `config check`, `config show`, usage and exit codes of the real binary.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{LEAST, SECRET, text};

pub(super) fn entitled(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entitled"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn config_check_prints_ok_or_every_problem_and_exits_accordingly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    let check = |content: &str, arguments: &[&str]| {
        fs::write(&path, content).unwrap();
        let arguments =
            [&["config", "check", "--config", path.to_str().unwrap()], arguments].concat();
        let out = entitled(&arguments, &[SECRET]);
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, err) = check(LEAST, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("ok: ") && out.contains("warning: product: "), "{out}");
    let (code, out, err) = check(&format!("{LEAST}colour = 1\nsecret = 2"), &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: ") && err.contains("2 problems"), "{err}");
    assert!(err.contains("identity.colour (line 7)") && err.contains("identity.secret (line 8)"));
    let (code, out, _) = check(&format!("{LEAST}colour = 1"), &["--json"]);
    assert_eq!(code, Some(2));
    let row: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&row["level"], &row["key"]), (&"problem".into(), &"identity.colour".into()));
    fs::remove_file(&path).unwrap();
    let out = entitled(&["config", "show", "--config", path.to_str().unwrap()], &[]);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2));
    assert!(err.contains("--config") && err.contains("because No such file"), "{err}");
}

#[test]
fn config_show_tells_every_value_and_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    fs::write(&path, LEAST).unwrap();
    let arguments = ["config", "show", "--json", "--config", path.to_str().unwrap()];
    let out = entitled(&arguments, &[SECRET, ("ENTITLED_STORE__PATH", "/b")]);
    let rows: Vec<Value> =
        text(&out.stdout).lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let row = |key: &str| {
        let row = rows.iter().find(|it| it["key"] == key).unwrap_or_else(|| panic!("{key}"));
        (row["value"].clone(), row["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("publisher.id"), ("vizmaker".into(), "line 3".into()));
    assert_eq!(row("store.path"), ("/b".into(), "environment ENTITLED_STORE__PATH".into()));
    assert_eq!(row("identity.secret"), ("********".into(), format!("environment {}", SECRET.0)));
    assert_eq!(row("sync.directory.trust_for"), ("72h".into(), "default".into()));
    assert_eq!(row("listen.public_url"), (Value::Null, "default".into()));
    assert_eq!(
        row("marketplace.app_id"),
        ("1c1c1c1c-1111-4222-8333-444455556666".into(), "default".into())
    );
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let code = |arguments: &[&str]| entitled(arguments, &[]).status.code();
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["dance"]), Some(2));
    assert_eq!(code(&["query", "p"]), Some(2));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    let listed = text(&entitled(&["--help"], &[]).stdout);
    assert!(listed.contains("serve") && listed.contains("Exit codes"), "{listed}");
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    fs::write(&path, LEAST).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_entitled"))
        .args(["config", "show", "--config", path.to_str().unwrap()])
        .env(SECRET.0, SECRET.1)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}
