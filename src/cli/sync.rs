//! `sync`: read now, show how far it is, end well only if everything is complete.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use super::args::SyncArgs;
use super::log::COLUMNS;
use super::output::{Line, Printer, Progress};
use super::remote::{Remote, field, number, pairs, switch};
use super::{Advised, Exit};

/// Runs `sync`.
///
/// # Errors
///
/// As [`Remote::rows`], or the daemon cannot do what was asked.
pub async fn run(
    remote: &Remote,
    printer: Printer,
    args: &SyncArgs,
) -> Result<Exit, anyhow::Error> {
    let asked = pairs([
        ("source", args.source.map(|it| it.to_string())),
        ("tenant", args.tenant.map(|it| it.to_string())),
        ("full", switch(args.full)),
    ]);
    let mut heard = Heard::default();
    let take = |lines: Vec<Value>| {
        heard.lines(&lines);
        Ok(())
    };
    remote.rows(Method::POST, "/sync", &asked, take).await?;
    heard.end(printer)
}

/// What the daemon has said so far.
#[derive(Default)]
struct Heard {
    shown: Progress,
    under_way: BTreeMap<String, Line>,
    runs: Vec<Value>,
    error: Option<String>,
    done: bool,
}

impl Heard {
    fn lines(&mut self, lines: &[Value]) {
        for line in lines {
            self.line(line);
        }
    }

    fn line(&mut self, line: &Value) {
        if let Some(step) = line.get("progress") {
            self.step(step);
        } else if let Some(run) = line.get("run") {
            self.runs.push(run.clone());
        } else if let Some(error) = line.get("error").and_then(Value::as_str) {
            self.error = Some(error.to_owned());
        } else {
            self.done |= line.get("done").is_some();
        }
    }

    fn step(&mut self, step: &Value) {
        let tenant = Some(field(step, "/tenant")).filter(|it| !it.is_empty());
        let of = tenant.map(|it| format!(" of {it}")).unwrap_or_default();
        let what = format!("{}{of}", field(step, "/source"));
        if step.get("ended").is_some_and(|it| !it.is_null()) {
            if let Some(line) = self.under_way.remove(&what) {
                line.done();
            }
            return;
        }
        let line = self.under_way.entry(what).or_insert_with_key(|it| self.shown.line(it));
        line.at(number(step, "/seen"), &doing(step));
    }

    fn end(mut self, printer: Printer) -> Result<Exit, anyhow::Error> {
        for (_, line) in std::mem::take(&mut self.under_way) {
            line.done();
        }
        let failed = |what: String, next: &str| Advised {
            what,
            next: next.to_owned(),
            exit: Exit::Failed,
            because: None,
        };
        if let Some(error) = self.error {
            return Err(failed(error, "correct that, then run the command again").into());
        }
        if !self.done {
            let what = "the daemon stopped before the runs had ended".to_owned();
            return Err(failed(what, "start it again; what it read is kept").into());
        }
        printer.rows(&self.runs, &COLUMNS, "there is nothing to read")?;
        let incomplete = self.runs.iter().filter(|it| field(it, "/outcome") != "complete").count();
        if incomplete == 0 {
            return Ok(Exit::Done);
        }
        let what = format!("{incomplete} of {} run(s) not complete", self.runs.len());
        Err(failed(what, "the column error says why (entitled log --failed)").into())
    }
}

/// What a run is doing, for people.
fn doing(step: &Value) -> String {
    let waited = step.get("throttled_s").and_then(Value::as_f64).unwrap_or_default();
    let requests = number(step, "/requests");
    if waited > 0.0 {
        format!("read in {requests} requests, made to wait {waited:.0} s by Microsoft")
    } else {
        format!("read in {requests} requests")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_complete_runs_end_well() {
        let end = |lines: Vec<Value>| {
            let mut heard = Heard::default();
            heard.lines(&lines);
            heard.end(Printer::stdout(true)).map_err(|error| error.to_string())
        };
        let run = |outcome: &str| json!({"run": {"run": "r1", "outcome": outcome}});
        let done = || json!({"done": true});
        let step = json!({"progress": {"source": "directory", "seen": 5, "throttled_s": 2.0}});
        assert_eq!(end(vec![step, run("complete"), done()]), Ok(Exit::Done));
        let told = end(vec![run("complete"), run("partial"), done()]);
        assert_eq!(told, Err("1 of 2 run(s) not complete".to_owned()));
        assert_eq!(end(vec![json!({"error": "no"}), done()]), Err("no".to_owned()));
        assert!(end(vec![run("complete")]).is_err());
    }

    #[test]
    fn waiting_for_microsoft_is_said() {
        let step = json!({"requests": 3, "throttled_s": 12.4});
        assert_eq!(doing(&step), "read in 3 requests, made to wait 12 s by Microsoft");
        assert_eq!(doing(&json!({"requests": 3})), "read in 3 requests");
    }
}
