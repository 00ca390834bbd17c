//! The systemd unit, and that it fits the daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{EXAMPLE, text, with};

/// The unit with the binary under test in place of the installed one; `None`, loudly, without
/// systemd.
fn unit(folder: &Path) -> Option<std::path::PathBuf> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var("CI").is_err(), "systemd-analyze is missing: install systemd");
        eprintln!("NOT TESTED: systemd-analyze is missing; install systemd to check the unit");
        return None;
    }
    let text = fs::read_to_string("systemd/entitled.service").unwrap();
    let installed = "ExecStart=/usr/local/bin/entitled ";
    assert!(text.contains(installed), "ExecStart has changed");
    let here = format!("ExecStart={} ", env!("CARGO_BIN_EXE_entitled"));
    let path = folder.join("entitled.service");
    fs::write(&path, text.replace(installed, &here)).unwrap();
    Some(path)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let Some(unit) = unit(folder.path()) else { return };
    let verify =
        |unit: &Path| Command::new("systemd-analyze").arg("verify").arg(unit).output().unwrap();
    let out = verify(&unit);
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    // That it would see a mistake.
    let wrong = fs::read_to_string(&unit).unwrap().replace("WatchdogSec=", "WatchdogSeconds=");
    fs::write(&unit, wrong).unwrap();
    assert_ne!(text(&verify(&unit).stderr), "");
}

#[test]
fn the_unit_is_as_closed_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let Some(unit) = unit(folder.path()) else { return };
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stdout));
}

#[test]
fn the_unit_and_the_daemon_agree() {
    let unit = fs::read_to_string("systemd/entitled.service").unwrap();
    let defaults = with("").unwrap().config;
    let lines: Vec<_> = unit.lines().collect();
    for line in [
        "Type=notify",
        "WatchdogSec=30s",
        "RestartPreventExitStatus=2",
        "NoNewPrivileges=yes",
        "StateDirectoryMode=0700",
        "SystemCallErrorNumber=ENOSYS",
        "SystemCallFilter=@system-service seccomp",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let denied = lines.iter().find(|it| it.starts_with("SystemCallFilter=~")).unwrap();
    assert!(denied.split(' ').any(|it| it == "sync_file_range"), "{denied}");
    let folder = |key: &str| {
        let prefix = format!("{key}=");
        lines.iter().find_map(|it| it.strip_prefix(&prefix)).unwrap().to_owned()
    };
    assert_eq!(defaults.store.path, Path::new("/var/lib").join(folder("StateDirectory")));
    let run = Path::new("/run").join(folder("RuntimeDirectory"));
    assert_eq!(defaults.listen.admin.parent(), Some(run.as_path()));
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let credential = folder("LoadCredential");
    let name = credential.split(':').next().unwrap();
    assert!(example.contains(&format!("secret_file = \"{name}\"")), "{credential}");
}
