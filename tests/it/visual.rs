//! The client for visuals: what it is made of, and what it does in a real browser.

mod browser;
mod package;

use std::fs;
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
fn the_client_does_what_it_should_without_a_browser() {
    if !works("node") {
        eprintln!("SKIPPED: node is not installed");
        return;
    }
    let tests = Command::new("node").args(["--test", "test/"]).current_dir(CLIENT).output();
    let tests = tests.unwrap();
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stdout));
}
