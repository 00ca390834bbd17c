//! The commands, as a process against the daemon.

use std::process::Command;

use super::*;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn row(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(self.out.trim()).unwrap_or_else(|_| panic!("{}", self.out))
    }

    #[track_caller]
    fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(says.iter().all(|it| self.err.contains(it)), "{says:?} in {}", self.err);
    }
}

impl Bought {
    /// Runs `entitled subscriptions` with these words; `ID` stands for the purchase.
    async fn run(&self, line: &str) -> Ran {
        let line = line.replace("ID", &self.id.to_string());
        let config = self.world.config_path();
        let ran = tokio::task::spawn_blocking(move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_entitled"));
            command.env_clear().arg("--config").arg(config).arg("subscriptions");
            command.args(line.split_whitespace()).stdin(std::process::Stdio::null());
            command.output().unwrap()
        });
        let output = ran.await.unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_is_activated_moved_filled_and_ended_by_command() {
    let it = Bought::pending("").await;
    let row = it.run("activate ID --json").await.row();
    assert_eq!((&row["status"], &row["outcome"]), (&json!("Subscribed"), &json!("done")));
    let again = it.run("activate ID").await;
    assert_eq!((again.code, again.out.contains("nothing to do")), (0, true), "{}", again.err);

    let plans = it.run("plans ID").await;
    assert!(plans.out.contains("12 EUR a P1M") && plans.out.contains("1 to 500"), "{}", plans.out);
    let moved = it.run("change-plan ID Enterprise").await;
    assert_eq!(moved.code, 0, "{}", moved.err);
    assert_eq!(moved.out, "change of plan done: plan enterprise, 25 seats\n");
    let row = it.run("change-quantity ID 30 --json").await.row();
    assert_eq!((&row["quantity"], &row["outcome"]), (&json!(30), &json!("done")));
    assert!(row["operation"].is_string());
    it.is("enterprise", Some(30), "Subscribed");

    let row = it.run("cancel ID --yes --json").await.row();
    assert_eq!((&row["status"], &row["outcome"]), (&json!("Unsubscribed"), &json!("done")));
    it.is("enterprise", Some(30), "Unsubscribed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_a_terminal_cancels_nothing_without_being_told_to() {
    let it = Bought::new().await;
    it.run("cancel ID").await.fails(2, &["nobody is at a terminal", "--yes"]);
    assert_eq!(it.asked("DELETE", ""), 0);
    it.is("team", Some(25), "Subscribed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why_and_what_to_do() {
    let it = Bought::new().await;
    it.run("change-plan ID gold").await.fails(1, &["company, team, enterprise", "plans ID"]);
    it.run("change-quantity ID 0").await.fails(2, &["0"]);
    it.run("change-quantity ID 999").await.fails(1, &["1 to 500 seats"]);
    let nobody = Uuid::from_u128(0xdead);
    it.run(&format!("activate {nobody}")).await.fails(1, &["Microsoft knows no", "entitled sync"]);
    it.run(&format!("plans {nobody}")).await.fails(1, &["Microsoft knows no"]);
    it.run("follow ID ../x").await.fails(2, &["is no operation"]);
    it.status("Suspended");
    it.run("activate ID").await.fails(1, &["the customer has to pay"]);
    it.run("plans nonsense").await.fails(2, &["nonsense"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_not_waited_for_prints_how_to_follow_it() {
    let it = Bought::new().await;
    let ran = it.run("change-plan ID company --no-wait").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (_, follow) = ran.out.trim().split_once("entitled subscriptions ").unwrap();
    let row = it.run(&format!("{follow} --json")).await.row();
    assert_eq!((&row["plan"], &row["outcome"]), (&json!("company"), &json!("done")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_listed_by_customer_status_and_offer() {
    let it = Bought::new().await;
    let ids = async |line: &str| {
        let ran = it.run(&format!("{line} --json")).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].clone();
        ran.out.lines().map(id).collect::<Vec<_>>()
    };
    let all = ids("").await.len();
    let theirs = ids(&format!("--tenant {}", story::PROSEWARE.tenant)).await;
    assert!(theirs.contains(&json!(it.id)) && theirs.len() < all);
    let live = ids("--status subscribed").await;
    assert!(live.contains(&json!(it.id)) && live.len() < all);
    assert!(!ids("--status susp").await.contains(&json!(it.id)));
    assert_eq!(ids("--offer viz-suite").await.len(), all);
    assert_eq!(ids("--offer another").await.len(), 0);
    let none = it.run("--offer another").await;
    assert!(none.out.contains("no mirrored subscription is like that"), "{}", none.out);
    it.run("--tenant nonsense").await.fails(2, &["nonsense"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_waiting_and_not_the_order() {
    let it = Bought::new().await;
    let config = it.world.config_path();
    // Slow enough to be interrupted: each answer takes its time.
    it.world.microsoft(|world| world.set_faults("slow=300ms".parse().unwrap()));
    let child = Command::new(env!("CARGO_BIN_EXE_entitled"))
        .env_clear()
        .args(["--config", config.to_str().unwrap(), "subscriptions", "change-plan"])
        .args([&it.id.to_string(), "company"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while it.journal().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = ended.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("goes on without us") && said.contains("subscriptions show"), "{said}");
    let mut revisions = it.world.daemon.store.revisions();
    while it.journal().len() < 2 {
        revisions.changed().await.unwrap();
    }
    it.is("company", None, "Subscribed");
}
