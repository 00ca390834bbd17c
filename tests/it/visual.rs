//! The client for visuals: what it is made of, and what it does in a real browser.

mod browser;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use entitled::decision::host::{markdown, typescript};

const CLIENT: &str = "clients/visual";

#[test]
fn the_table_of_hosts_in_the_readme_is_the_one_that_decides() {
    let readme = fs::read_to_string("README.md").unwrap();
    let begin = "<!-- hosts: made by `entitled products hosts --markdown` -->\n";
    let (_, rest) = readme.split_once(begin).unwrap();
    let (table, _) = rest.split_once("<!-- /hosts -->").unwrap();
    assert_eq!(table, markdown(), "put `entitled products hosts --markdown` between the markers");
}

#[test]
fn the_table_of_hosts_in_the_client_is_the_one_that_decides() {
    let module = fs::read_to_string(format!("{CLIENT}/src/hosts.ts")).unwrap();
    assert_eq!(
        module,
        typescript(),
        "write `entitled products hosts --typescript` to src/hosts.ts"
    );
}

#[test]
fn the_client_is_smaller_than_five_kilobytes() {
    let built = fs::read(format!("{CLIENT}/dist/entitled-visual.js")).unwrap();
    assert!(built.len() < 5_000, "{} bytes, minified and not compressed", built.len());
}

/// Whether a program is there and works.
fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success())
}

#[test]
fn what_the_readme_says_is_what_runs_all_tests() {
    let (readme, ci) = (fs::read_to_string("README.md").unwrap(), fs::read_to_string(".ci/run"));
    let command = readme.lines().find(|it| it.contains("cargo nextest run")).unwrap();
    assert!(ci.unwrap().lines().any(|it| it == command), ".ci/run lacks: {command}");
    assert!(
        command.starts_with(".ci/browser && "),
        "it would skip what needs a browser: {command}"
    );
}

#[test]
fn what_is_committed_is_what_the_source_builds_to() {
    let modules = Path::new(CLIENT).join("node_modules");
    if !works("npm") || !modules.is_dir() {
        eprintln!("SKIPPED: npm is not installed, or `npm ci` was not run in {CLIENT}");
        return;
    }
    let copy = tempfile::tempdir().unwrap();
    let into = |name: &str| copy.path().join(name);
    fs::create_dir(into("src")).unwrap();
    for name in ["package.json", "tsconfig.json", "src/index.ts", "src/hosts.ts"] {
        fs::copy(Path::new(CLIENT).join(name), into(name)).unwrap();
    }
    symlink(fs::canonicalize(modules).unwrap(), into("node_modules")).unwrap();
    let ran = Command::new("npm").args(["run", "build"]).current_dir(copy.path()).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let all = |folder: &Path| {
        let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
        files.map(|it| (it.file_name().unwrap().to_owned(), fs::read(it).unwrap())).collect()
    };
    let built: BTreeMap<OsString, Vec<u8>> = all(&into("dist"));
    let committed = all(&Path::new(CLIENT).join("dist"));
    assert!(built == committed, "run `npm run build` in {CLIENT} and commit its dist/");
}

#[test]
fn the_client_does_what_it_should_without_a_browser() {
    if !works("node") {
        eprintln!("SKIPPED: node is not installed");
        return;
    }
    let tests = Command::new("node").args(["--test", "test/"]).current_dir(CLIENT).output();
    let tests = tests.unwrap();
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stdout));
}
