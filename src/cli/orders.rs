//! `subscriptions activate`, `plans`, `change-plan`, `change-quantity`, `cancel` and `follow`: what
//! is ordered from Microsoft, and how that goes.

use std::io::{self, BufRead, IsTerminal as _, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::output::{Column, Line, Printer, Progress, printable};
use super::remote::{Pairs, Remote, field, number, pairs, switch};
use super::{Advised, Exit};
use crate::domain::SubscriptionId;

/// What can be ordered.
#[derive(Clone, Debug, Subcommand)]
pub enum OrderCommand {
    /// Activate a purchase: from then on the customer pays
    Activate {
        /// Its id
        id: SubscriptionId,
        /// Do not wait until it is live
        #[arg(long)]
        no_wait: bool,
    },
    /// The plans that its customer may move to; the present one may be missing
    Plans {
        /// Its id
        id: SubscriptionId,
    },
    /// Move it to another plan, which the customer has agreed to
    ChangePlan {
        /// Its id
        id: SubscriptionId,
        /// The plan's id, such as team
        plan: String,
        /// How
        #[command(flatten)]
        how: How,
    },
    /// Give it another number of seats, which the customer has agreed to
    ChangeQuantity {
        /// Its id
        id: SubscriptionId,
        /// How many seats
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        quantity: u64,
        /// How
        #[command(flatten)]
        how: How,
    },
    /// End it, for good; asks first what that means
    Cancel {
        /// Its id
        id: SubscriptionId,
        /// Do not ask: for programs
        #[arg(long)]
        yes: bool,
        /// How
        #[command(flatten)]
        how: How,
    },
    /// Go on following an operation that an order became
    Follow {
        /// The subscription's id
        id: SubscriptionId,
        /// The operation's id
        operation: String,
    },
}

/// How an order is carried out.
#[derive(Clone, Copy, Debug, Args)]
pub struct How {
    /// Ask Microsoft even for what it does not offer or says that it does not allow
    #[arg(long)]
    force: bool,
    /// Do not follow it to its end; prints the operation's id
    #[arg(long)]
    no_wait: bool,
}

/// Runs an order.
///
/// # Errors
///
/// It came to nothing, or its end is not known; the daemon cannot be reached.
pub async fn run(
    remote: &Remote,
    printer: Printer,
    command: &OrderCommand,
) -> Result<Exit, anyhow::Error> {
    match command {
        OrderCommand::Activate { id, no_wait } => {
            let asked = pairs([("no_wait", switch(*no_wait))]);
            let path = format!("/subscriptions/{id}/activate");
            carry_out(remote, printer, *id, "activation", (&path, &asked)).await
        }
        OrderCommand::Plans { id } => plans(remote, printer, *id).await,
        OrderCommand::ChangePlan { id, plan, how } => {
            let asked = how.pairs(("plan", plan.clone()));
            order(remote, printer, *id, "change of plan", &asked).await
        }
        OrderCommand::ChangeQuantity { id, quantity, how } => {
            let asked = how.pairs(("quantity", quantity.to_string()));
            order(remote, printer, *id, "change of quantity", &asked).await
        }
        OrderCommand::Cancel { id, yes, how } => {
            let asked = how.pairs(("cancel", "true".to_owned()));
            if !yes && !agreed(remote, *id, &asked).await? {
                printer.line("nothing was done")?;
                return Ok(Exit::Failed);
            }
            order(remote, printer, *id, "cancellation", &asked).await
        }
        OrderCommand::Follow { id, operation } => {
            // It stands in a path.
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if operation.is_empty() || !operation.chars().all(plain) {
                let what = format!("`{operation}` is no operation's id");
                let next = "take it from what the order printed, or from `entitled changes`";
                return Err(advised(what, next, Exit::Usage).into());
            }
            let path = format!("/subscriptions/{id}/operations/{operation}");
            carry_out(remote, printer, *id, "operation", (&path, &Pairs::new())).await
        }
    }
}

impl How {
    fn pairs(self, what: (&'static str, String)) -> Pairs {
        let mut all = pairs([("force", switch(self.force)), ("no_wait", switch(self.no_wait))]);
        all.push(what);
        all
    }
}

async fn plans(
    remote: &Remote,
    printer: Printer,
    id: SubscriptionId,
) -> Result<Exit, anyhow::Error> {
    let path = format!("/subscriptions/{id}/plans");
    let mut rows = Vec::new();
    let take = |more: Vec<Value>| {
        rows.extend(more);
        Ok(())
    };
    remote.rows(Method::GET, &path, &Pairs::new(), take).await?;
    if !printer.is_json() {
        rows.iter_mut().for_each(readable);
    }
    let columns = [
        Column::text("plan", "/plan"),
        Column::text("name", "/name"),
        Column::text("present", "/present"),
        Column::text("seats", "/seats"),
        Column::text("price", "/price"),
        Column::text("private", "/private"),
        Column::text("no longer sold", "/stop_sell"),
    ];
    let empty = "Microsoft offers this customer no plan to move to; the present one goes on";
    printer.rows(&rows, &columns, empty)?;
    Ok(Exit::Done)
}

/// Adds seats and prices as people read them.
fn readable(plan: &mut Value) {
    let seats = match (plan["min_quantity"].as_u64(), plan["max_quantity"].as_u64()) {
        (None, None) => "–".to_owned(),
        (least, None) => format!("{} or more", least.unwrap_or(1)),
        (least, Some(most)) => format!("{} to {most}", least.unwrap_or(1)),
    };
    let terms = plan["terms"].as_array().map(Vec::as_slice).unwrap_or_default();
    let price = |it: &Value| {
        format!("{} {} a {}", field(it, "/price"), field(it, "/currency"), field(it, "/unit"))
    };
    let price = terms.iter().map(price).collect::<Vec<_>>().join(", ");
    if let Value::Object(plan) = plan {
        plan.insert("seats".to_owned(), seats.into());
        plan.insert("price".to_owned(), price.into());
    }
}

/// Shows what an end would mean and asks.
async fn agreed(remote: &Remote, id: SubscriptionId, asked: &Pairs) -> Result<bool, anyhow::Error> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let what = "a cancellation asks first, and nobody is at a terminal to answer".to_owned();
        return Err(advised(what, "add --yes to cancel without being asked", Exit::Usage).into());
    }
    let told = remote.one(Method::GET, &format!("/subscriptions/{id}/order"), asked).await?;
    let agreed = confirm(&told, &mut io::stdin().lock(), &mut io::stderr().lock())?;
    Ok(agreed)
}

/// Puts the question; only a clear yes is one.
fn confirm(told: &Value, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<bool> {
    let of = |pointer| told.pointer(pointer).unwrap_or(&Value::Null);
    let text = |pointer| printable(field(told, pointer));
    if *of("/already") == json!(true) {
        return Ok(true); // there is nothing to lose
    }
    let seats = of("/subscription/quantity").as_u64();
    let seats = seats.map(|it| format!(", {it} seats")).unwrap_or_default();
    let plan = match field(told, "/plan/name") {
        "" => text("/subscription/plan"),
        name => format!("{} ({})", printable(name), text("/subscription/plan")),
    };
    let ends = of("/subscription/term_end").as_str().and_then(|it| it.get(..10)).unwrap_or("–");
    writeln!(to, "subscription  {}", text("/subscription/id"))?;
    writeln!(to, "name          {}", text("/subscription/name"))?;
    writeln!(to, "plan          {} of {}{seats}", plan, text("/subscription/offer"))?;
    writeln!(to, "customer      {}", text("/subscription/tenant"))?;
    writeln!(to, "status        {}", text("/subscription/status"))?;
    writeln!(to, "term          {}, last day {ends}", text("/subscription/term_unit"))?;
    for note in of("/notes").as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(to, "- {}", printable(note))?;
    }
    write!(to, "End it? Type yes: ")?;
    to.flush()?;
    let mut answer = String::new();
    from.read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

async fn order(
    remote: &Remote,
    printer: Printer,
    id: SubscriptionId,
    what: &'static str,
    asked: &Pairs,
) -> Result<Exit, anyhow::Error> {
    carry_out(remote, printer, id, what, (&format!("/subscriptions/{id}/order"), asked)).await
}

/// Orders, shows how it goes, and says how it ended. Ctrl-C ends the waiting, not the order.
async fn carry_out(
    remote: &Remote,
    printer: Printer,
    id: SubscriptionId,
    what: &'static str,
    (path, asked): (&str, &Pairs),
) -> Result<Exit, anyhow::Error> {
    let shown = Progress::default();
    let mut heard = Heard { line: Some(shown.line(what)), ..Heard::default() };
    let take = |lines: Vec<Value>| {
        heard.lines(&lines);
        Ok(())
    };
    let asked = remote.rows(Method::POST, path, asked, take);
    let left = tokio::select! {
        ended = asked => { ended?; false }
        signal = tokio::signal::ctrl_c() => { signal?; true }
    };
    heard.end(printer, id, what, left)
}

/// What the daemon has said so far.
#[derive(Default)]
struct Heard {
    line: Option<Line>,
    operation: Option<String>,
    ordered: Option<Value>,
    error: Option<(String, String)>,
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
            let operation = step.get("operation").and_then(Value::as_str).map(str::to_owned);
            self.operation = operation.or(self.operation.take());
            if let Some(line) = &self.line {
                line.at(number(step, "/waited_s"), &doing(step));
            }
        } else if let Some(ordered) = line.get("ordered") {
            self.ordered = Some(ordered.clone());
        } else if let Some(error) = line.get("error") {
            let of = |pointer| field(error, pointer).to_owned();
            self.error = Some((of("/type"), of("/detail")));
        } else {
            self.done |= line.get("done").is_some();
        }
    }

    fn end(
        mut self,
        printer: Printer,
        id: SubscriptionId,
        what: &str,
        left: bool,
    ) -> Result<Exit, anyhow::Error> {
        if let Some(line) = self.line.take() {
            line.done();
        }
        let look = match &self.operation {
            Some(it) => format!("follow it again: entitled subscriptions follow {id} {it}"),
            None => format!("look at it: entitled subscriptions show {id}"),
        };
        if let Some((kind, detail)) = self.error {
            let next = next(&kind).map_or(look, str::to_owned);
            return Err(advised(detail, &next, Exit::Failed).into());
        }
        let Some(ordered) = self.ordered.filter(|_| self.done) else {
            let because = if left { "no longer waited for" } else { "the daemon stopped" };
            let what = format!("{because}: the {what} goes on without us, if it was asked for");
            return Err(advised(what, &look, Exit::Failed).into());
        };
        if printer.is_json() {
            printer.rows(&[ordered], &[], "")?;
        } else {
            printer.line(&sentence(&ordered, what))?;
        }
        Ok(Exit::Done)
    }
}

/// What to do about an error, where its text does not say it all.
fn next(kind: &str) -> Option<&'static str> {
    match kind {
        "away" | "busy" | "locked" => Some("run the command again in some minutes"),
        "not_offered" | "stop_sell" | "seats" | "flat_rate" => {
            Some("see what there is: entitled subscriptions plans ID")
        }
        "registration" => Some("correct that in Partner Center or Entra, then run it again"),
        "unknown" => Some("read the list: entitled sync subscriptions"),
        _ => None,
    }
}

fn doing(step: &Value) -> String {
    match field(step, "/step") {
        "accepted" => "s: Microsoft took it".to_owned(),
        "looked" => format!("s: {}", field(step, "/status")),
        "reading_back" => format!("s: reading back what is true ({})", field(step, "/because")),
        "unseen" => "s: done, the subscription does not show it yet".to_owned(),
        _ => String::new(),
    }
}

fn sentence(ordered: &Value, what: &str) -> String {
    let now = match (field(ordered, "/status"), ordered["quantity"].as_u64()) {
        ("Subscribed", Some(seats)) => format!("plan {}, {seats} seats", field(ordered, "/plan")),
        ("Subscribed", None) => format!("plan {}", field(ordered, "/plan")),
        (status, _) => status.to_owned(),
    };
    let operation = field(ordered, "/operation");
    let id = field(ordered, "/id");
    match field(ordered, "/outcome") {
        "already" => format!("nothing to do, it is so already: {now}"),
        "done_unseen" => format!(
            "{what} done, says Microsoft; the subscription does not show it yet ({now}): \
             look again with entitled subscriptions show {id}"
        ),
        "under_way" if operation.is_empty() => format!(
            "{what} accepted and under way ({now}): look again with entitled subscriptions show {id}"
        ),
        "under_way" => format!(
            "{what} accepted and under way as operation {operation} ({now}): follow it with \
             entitled subscriptions follow {id} {operation}"
        ),
        _ => format!("{what} done: {now}"),
    }
}

fn advised(what: String, next: &str, exit: Exit) -> Advised {
    Advised { what, next: next.to_owned(), exit, because: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Value {
        json!({
            "already": false, "notes": ["It ends at once.", "You pay\u{1b}[31m."],
            "plan": {"name": "Team"},
            "subscription": {
                "id": "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10", "name": "Viz\u{1b}[2J", "plan": "team",
                "offer": "viz-suite", "quantity": 25, "status": "Subscribed",
                "term_unit": "P1M", "term_end": "2026-12-14T00:00:00Z", "tenant": "0b0b",
            },
        })
    }

    #[test]
    fn only_a_clear_yes_cancels_and_the_question_says_what_it_means() {
        let ask = |answer: &str| {
            let mut said = Vec::new();
            let yes = confirm(&told(), &mut answer.as_bytes(), &mut said).unwrap();
            (yes, String::from_utf8(said).unwrap())
        };
        for yes in ["yes\n", " YES \r\n"] {
            assert!(ask(yes).0, "{yes:?}");
        }
        for no in ["", "\n", "y\n", "no\n", "yes please\n"] {
            assert!(!ask(no).0, "{no:?}");
        }
        let (_, said) = ask("");
        for part in ["Team (team) of viz-suite, 25 seats", "last day 2026-12-14", "- It ends"] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert!(!said.contains('\u{1b}'), "a name cannot steer the terminal: {said:?}");
    }

    #[test]
    fn what_has_ended_is_not_asked_about() {
        let mut told = told();
        told["already"] = json!(true);
        let mut said = Vec::new();
        assert!(confirm(&told, &mut io::empty(), &mut said).unwrap() && said.is_empty());
    }

    #[test]
    fn an_order_ends_well_only_with_its_end() {
        let id = "5d0c1f22-7a31-4c8e-1b2f-90aa3344ee10".parse().unwrap();
        let end = |lines: &[Value], left| {
            let mut heard = Heard::default();
            heard.lines(lines);
            let ended = heard.end(Printer::stdout(true), id, "cancellation", left);
            ended.map_err(|error| {
                let advised = error.downcast_ref::<Advised>().unwrap();
                format!("{} | {}", advised.what, advised.next)
            })
        };
        let step = json!({"progress": {"step": "accepted", "operation": "op-1"}});
        let ordered = json!({"ordered": {"outcome": "done"}});
        let done = json!({"done": true});
        assert_eq!(end(&[step.clone(), ordered.clone(), done.clone()], false), Ok(Exit::Done));
        assert!(end(&[ordered], false).is_err(), "cut off");
        let left = end(std::slice::from_ref(&step), true).unwrap_err();
        assert!(left.contains("goes on without us"), "{left}");
        assert!(left.ends_with(&format!("entitled subscriptions follow {id} op-1")), "{left}");
        let error = json!({"error": {"type": "locked", "detail": "it is locked"}});
        let failed = end(&[error, done], false).unwrap_err();
        assert_eq!(failed, "it is locked | run the command again in some minutes");
    }

    #[test]
    fn each_end_is_said_in_words() {
        let say = |outcome: &str, operation: Value| {
            let row = json!({"id": "i", "status": "Subscribed", "plan": "team", "quantity": 30,
                "outcome": outcome, "operation": operation});
            sentence(&row, "change of plan")
        };
        assert_eq!(say("done", json!("o")), "change of plan done: plan team, 30 seats");
        assert!(say("already", Value::Null).starts_with("nothing to do"));
        assert!(say("done_unseen", json!("o")).contains("does not show it yet"));
        assert!(say("under_way", json!("o")).ends_with("subscriptions follow i o"));
        assert!(say("under_way", Value::Null).ends_with("subscriptions show i"));
    }

    #[test]
    fn prices_and_seats_are_readable() {
        let mut plan = json!({"min_quantity": 1, "max_quantity": 500,
            "terms": [{"price": "12", "currency": "EUR", "unit": "P1M"}]});
        readable(&mut plan);
        assert_eq!((&plan["seats"], &plan["price"]), (&json!("1 to 500"), &json!("12 EUR a P1M")));
        let mut flat = json!({"min_quantity": null, "max_quantity": null, "terms": []});
        readable(&mut flat);
        assert_eq!(flat["seats"], json!("–"));
    }
}
