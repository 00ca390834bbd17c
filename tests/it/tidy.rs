//! The rules of the house that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// Which floors a floor may import from, itself aside. Read it as the building's section: only
/// downwards.
const FLOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("decision", &["domain"]),
    ("config", &["domain"]),
    ("tokens", &["domain"]),
    ("telemetry", &["domain"]),
    ("store", &["domain", "config", "telemetry"]),
    ("notify", &["domain", "config", "telemetry", "store"]),
    ("microsoft", &["domain", "config", "telemetry"]),
    ("sync", &["domain", "config", "tokens", "telemetry", "store", "microsoft"]),
    ("http", &["domain", "decision", "config", "tokens", "telemetry", "store", "notify", "sync"]),
    (
        "daemon",
        &[
            "domain",
            "decision",
            "config",
            "tokens",
            "telemetry",
            "store",
            "notify",
            "microsoft",
            "sync",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "decision",
            "config",
            "tokens",
            "telemetry",
            "store",
            "notify",
            "microsoft",
            "sync",
            "http",
            "daemon",
            "sandbox",
        ],
    ),
    ("sandbox", &[]),
];

/// The longest a file may be, in lines.
const LONGEST: usize = 500;

/// Words that mean "not finished".
const UNFINISHED: &[&str] = &["TODO", "FIXME", "todo!", "unimplemented!"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// `src/store/mod.rs` is on floor `store`, as is `src/store.rs`; `src/main.rs` on none.
    fn floor(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src").ok()?.iter().next()?.to_str()?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == name)
    }

    /// Its lines of code, numbered from 1: neither comments nor the tests at its end, whose
    /// scaffolding may come from anywhere.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// `path:line: what`.
    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|it| it.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_sources() -> Vec<Source> {
    let all: Vec<_> =
        ["src", "tests", "benches", "examples"].into_iter().flat_map(sources).collect();
    assert!(all.len() > 20, "these are not all files: {}", all.len());
    all
}

#[track_caller]
fn nothing(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

/// The floors that a line names: `crate::store::…`, and each of `use crate::{store, sync::…}`.
fn named_floors(line: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let heads: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => {
                // Only heads count: `{domain::{Run, Policy}, store}` names domain and store.
                let mut depth = 0;
                let mut heads = vec![list];
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => heads.push(list[at + 1..].trim_start()),
                        _ => {}
                    }
                }
                heads
            }
            None => vec![rest],
        };
        for head in heads {
            let name: String =
                head.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.extend(FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == name));
        }
    }
    found
}

#[test]
fn imports_only_run_downwards() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some(floor) = source.floor() else { continue };
        let (_, allowed) = FLOORS.iter().find(|(it, _)| *it == floor).unwrap();
        // An import may be broken over lines: what is between `use crate::{` and `;` is one.
        let mut import: Option<(usize, String)> = None;
        for (line, code) in source.code() {
            let (line, text) = match import.take() {
                Some((first, so_far)) => (first, so_far + code.trim()),
                None => (line, code.to_owned()),
            };
            if text.contains("use crate::{") && !text.contains(';') {
                import = Some((line, text));
                continue;
            }
            for named in named_floors(&text) {
                if named != floor && !allowed.contains(&named) {
                    wrong.push(source.at(line, &format!("{floor} must not know {named}")));
                }
            }
        }
    }
    nothing(&wrong, "a floor uses only floors below it (src/lib.rs)");
}

#[test]
fn the_check_of_imports_sees_every_way_to_write_one() {
    assert_eq!(named_floors("use crate::store::Store;"), ["store"]);
    assert_eq!(named_floors("let it = crate::http::serve(crate::sync::now());"), ["http", "sync"]);
    assert_eq!(
        named_floors("use crate::{domain::{Run, store}, sync, tokens::Signer};"),
        ["domain", "sync", "tokens"]
    );
    assert!(named_floors("pub(crate) fn store()").is_empty());
}

#[test]
fn every_floor_of_the_codemap_is_in_the_table_and_exists() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    for (floor, _) in FLOORS {
        assert!(map.contains(&format!("pub mod {floor};")), "{floor}");
        assert!(map.contains(&format!("[`{floor}`]")), "{floor} is not in the codemap");
    }
    let modules = map.lines().filter(|line| line.starts_with("pub mod ")).count();
    assert_eq!(modules, FLOORS.len(), "a module of src/lib.rs has no row in FLOORS");
}

#[test]
fn every_file_says_what_lives_there() {
    let silent = |it: &&Source| !it.text.starts_with("//! ");
    let wrong: Vec<_> =
        all_sources().iter().filter(silent).map(|it| it.at(1, "no `//!`")).collect();
    nothing(&wrong, "each file opens with `//!`: what lives there");
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST {
            wrong.push(source.at(lines, "split it by subject"));
        }
    }
    nothing(&wrong, &format!("no file has more than {LONGEST} lines"));
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for source in all_sources().iter().filter(|it| !it.path.ends_with("tidy.rs")) {
        for (at, line) in source.text.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
                wrong.push(source.at(at + 1, word));
            }
        }
    }
    nothing(&wrong, "nothing is left for later without an issue");
}

/// Lines of code outside `allowed` folders or files that contain a word.
fn uses(word: &str, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources("src") {
        if allowed.iter().any(|it| source.path.starts_with(it)) {
            continue;
        }
        let lines = source.code().filter(|(_, line)| line.contains(word));
        found.extend(lines.map(|(line, code)| source.at(line, code.trim())));
    }
    found
}

#[test]
fn only_the_store_knows_sled() {
    for word in ["sled::", "use sled"] {
        nothing(&uses(word, &["src/store"]), "sled is named in src/store only");
    }
    assert!(Path::new("src/store").is_dir());
}

#[test]
fn only_the_daemon_and_the_command_line_read_the_clock() {
    let allowed = ["src/cli", "src/daemon.rs", "src/daemon"];
    for clock in ["Timestamp::now", "SystemTime::now", "Zoned::now"] {
        nothing(&uses(clock, &allowed), "time is an argument");
    }
}

#[test]
fn only_the_command_line_knows_anyhow() {
    nothing(&uses("anyhow::", &["src/cli", "src/main.rs"]), "errors below cli are enums");
}

/// The tables and keys of the example, those commented out included.
fn documented_keys() -> Vec<String> {
    let text = fs::read_to_string("config/entitled.toml").unwrap();
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        let header = line.strip_prefix("[[").and_then(|it| it.split_once("]]"));
        let header = header.map(|(name, _)| name.replace('.', "[].") + "[]");
        let plain = line.strip_prefix('[').and_then(|it| it.split_once(']'));
        if let Some(name) = header.or_else(|| plain.map(|(name, _)| name.to_owned())) {
            table = name;
        } else if let Some((key, value)) = line.trim_start_matches(['#', ' ']).split_once(" = ") {
            keys.push(format!("{table}.{key}"));
            // Keys of a table in one line: features = { appsource = […], … }.
            let inner = value.split([' ', '{', ',']).collect::<Vec<_>>();
            let inner = inner.windows(2).filter(|it| it[1] == "=");
            keys.extend(inner.map(|it| format!("{table}.{key}.{}", it[0])));
        }
    }
    keys
}

#[test]
fn every_key_of_the_configuration_is_in_the_example() {
    let secrets = tempfile::tempdir().unwrap();
    let loaded = crate::config::example(secrets.path());
    let documented = documented_keys();
    // What only the environment may hold, and the lists themselves.
    let elsewhere = [
        "identity.secret",
        "identity.certificate",
        "caller[].key",
        "notify[].secret",
        "notify[].second_secret",
        "caller",
        "landing.secret",
        "notify",
        "product",
        "tenant",
    ];
    for key in loaded.keys {
        // Notices are alike: the example names each, with its text in one language.
        let notice = key.strip_prefix("notices.").and_then(|it| it.rsplit_once('.'));
        let notice = notice.map(|(name, _)| format!("notices.{name}.en"));
        let known = documented.contains(&key)
            || notice.is_some_and(|it| documented.contains(&it))
            || elsewhere.contains(&key.as_str())
            || key == "product[].plan";
        assert!(known, "{key} is missing in config/entitled.toml; it has {documented:?}");
    }
}

/// The commands that a text names in backticks, each on one line.
fn told_commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", "").replace("///", "").replace("//!", "");
    let told = joined.split("`entitled ").skip(1).filter_map(|it| it.split_once('`'));
    let words = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
    // What is hashed of a license's id begins so too.
    told.map(|(said, _)| words(said)).filter(|it| it != "revocation").collect()
}

/// What of a command's line the program does not know: a subcommand, or a flag of the last one.
fn unknown_word(program: &clap::Command, said: &str) -> Option<String> {
    let (mut at, mut ended) = (vec![program], false);
    for word in said.split_whitespace() {
        let word = word.trim_matches(['[', ']']);
        let has = |flag: &str| {
            let mut all = at.iter().chain([&program]).flat_map(|it| it.get_arguments());
            all.any(|it| it.get_long() == Some(flag))
        };
        if let Some(flag) = word.split(['|', '\\']).next().and_then(|it| it.strip_prefix("--")) {
            ended = true;
            if !has(flag) {
                return Some(word.to_owned());
            }
        }
        let is_word = word.chars().all(|it| it.is_ascii_lowercase() || "-|\\".contains(it));
        ended |= !is_word || !at.iter().any(|it| it.has_subcommands());
        if ended {
            continue;
        }
        let alternatives = word.split('|').map(|it| it.trim_end_matches('\\'));
        let found: Option<Vec<_>> =
            alternatives.map(|it| at.iter().find_map(|at| at.find_subcommand(it))).collect();
        let Some(found) = found else { return Some(word.to_owned()) };
        at = found;
    }
    None
}

#[test]
fn every_command_that_is_told_of_exists() {
    let mut program = <entitled::cli::args::Cli as clap::CommandFactory>::command();
    program.build();
    let check = |said: &str, unknown: Option<&str>| {
        assert_eq!(unknown_word(&program, said).as_deref(), unknown, "{said}");
    };
    check("webhooks dead", None);
    check("webhooks list", Some("list"));
    check("keys list\\|rotate", None);
    check("keys list\\|renew", Some("list\\|renew"));
    check("usage [--subscription --till]", Some("--till"));
    check("changes --user U --since 7d", None);
    let mut files = sources("src");
    let path = PathBuf::from("README.md");
    files.push(Source { text: fs::read_to_string(&path).unwrap(), path });
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in &files {
        for said in told_commands(&file.text) {
            seen += 1;
            let unknown = unknown_word(&program, &said);
            wrong.extend(unknown.map(|it| file.at(1, &format!("`{said}`: no {it}"))));
        }
    }
    assert!(seen > 100, "these are not all commands: {seen}");
    nothing(&wrong, "commands that do not exist are recommended");
}
