//! The licence report, through the real daemon.

mod api;
mod import;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::World;

/// What a command left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn rows(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
    }

    #[track_caller]
    fn row(&self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{}", self.out);
        rows.remove(0)
    }

    #[track_caller]
    fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(says.iter().all(|it| self.err.contains(it)), "{says:?} in {}", self.err);
    }
}

/// Runs the binary against the world's daemon; `stdin` is what it reads.
async fn run(world: &World, line: &str, stdin: &[u8]) -> Ran {
    let (config, stdin) = (world.config_path(), stdin.to_owned());
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let ran = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entitled"));
        command.env_clear().arg("--config").arg(config).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&stdin).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = ran.await.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Writes a file beside the configuration and names it.
fn file(world: &World, name: &str, text: &str) -> String {
    let path = world.dir.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// These fields of a row.
fn some(row: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| row[*name].clone()).collect()
}

#[test]
fn some_fields_of_a_row_come_in_order() {
    assert_eq!(some(&json!({"b": 1, "a": "x"}), &["a", "b", "c"]), json!(["x", 1, null]));
}
