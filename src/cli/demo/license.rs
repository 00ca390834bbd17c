//! A license that the publisher sells itself: sold, activated in both ways, used, exceeded, lapsed,
//! renewed, carried offline and revoked. After each act two users ask, as visuals do.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::acts::{LEE, Stage};
use super::questions::{self, Answered, Question, SYNOPTIC, WEB, by};
use crate::sandbox::{Faults, story};
use crate::tokens;

const FILTER: (&str, &str) = ("smart-filter", "Smart Filter");
/// What it is made out to; it is typed in another case and with other spaces below.
const LICENSEE: &str = "Woodgrove Bank (jo@woodgrove.example)";
const TYPED: &str = "woodgrove  bank (JO@woodgrove.example) ";

const NONE: &str = "unlicensed not_licensed";
const ACTIVE: &str = "active license_active";
const FULL: &str = "unlicensed over_limit";
const GRACE: &str = "grace license_grace";
const WRONG: &str = "unlicensed license_not_recognized";
const REVOKED: &str = "expired license_revoked";

/// How long the month of the license goes on when it is sold: it is moved here from another system.
const LEFT: SignedDuration = SignedDuration::from_mins(50);
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What has become of the story so far.
pub(super) struct Story<'a> {
    stage: &'a Stage<'a>,
    caller_key: &'a str,
    /// The last answer of each who asked.
    before: BTreeMap<&'static str, String>,
    wrong: usize,
}

/// Plays it; how many answers were not the expected ones.
pub(super) async fn play(stage: &Stage<'_>, caller_key: &str) -> anyhow::Result<usize> {
    stage.out.line("A license's life, sold by the publisher itself:")?;
    let mut story = Story { stage, caller_key, before: BTreeMap::new(), wrong: 0 };
    let license = story.by_key().await?;
    story.by_licensee().await?;
    story.offline(&license).await?;
    stage.out.line("")?;
    Ok(story.wrong)
}

impl Story<'_> {
    fn now(&self) -> Timestamp {
        (self.stage.time.clock())()
    }

    /// Entra activation: a key, pasted once; then the users' tokens decide.
    async fn by_key(&mut self) -> anyhow::Result<String> {
        self.users("Woodgrove before", NONE, NONE).await?;
        let now = self.now();
        let end = now.saturating_add(LEFT).context("the month's end")?;
        let sale = json!({
            "product": SYNOPTIC.0, "kind": "user", "max": 1, "over_limit": "deny",
            "licensee": LICENSEE, "period_start": end.saturating_sub(MONTH)?.to_string(),
            "period_end": end.to_string(),
        });
        let sold = self.order("licenses", &sale).await?;
        let id = text(&sold, "id").to_owned();
        let title =
            format!("buys {id}, one user, from the publisher; its month ends in 50 minutes");
        self.users(&title, NONE, NONE).await?;
        let key = json!({ "product": SYNOPTIC.0, "key": sold.get("key") });
        let token = questions::token(self.stage.sandbox, story::JO);
        let bound = self.post("activations", Some(&token), &key).await?;
        let title = format!(
            "activates it, Jo pasting its key, which binds the tenant ({}); Lee exceeds the tier",
            text(&bound, "id")
        );
        self.users(&title, ACTIVE, FULL).await?;
        self.order(
            &format!("licenses/{id}/change"),
            &json!({ "max": 2, "period_end": end.to_string() }),
        )
        .await?;
        self.users("buys the next larger tier", ACTIVE, ACTIVE).await?;
        self.stage.time.skip(LEFT.as_secs() + 60);
        self.users("does not pay: an hour later the month is over", GRACE, GRACE).await?;
        let renewed =
            self.order(&format!("licenses/{id}/renew"), &json!({ "cycle": "monthly" })).await?;
        let until = text(&renewed, "period_end").get(..10).unwrap_or_default();
        self.users(&format!("has paid: renewed until {until}"), ACTIVE, ACTIVE).await?;
        let down = "token.503=1,graph.503=1,marketplace.503_html=1".parse::<Faults>()?;
        self.stage.sandbox.with_world(|world| world.set_faults(down));
        let title = "asks while Microsoft cannot be reached";
        self.users(title, ACTIVE, ACTIVE).await?;
        self.stage.sandbox.with_world(|world| world.set_faults(Faults::default()));
        Ok(id)
    }

    /// Licensee activation: id and licensee, typed in each report; nobody signs in.
    async fn by_licensee(&mut self) -> anyhow::Result<()> {
        let sale = json!({
            "product": FILTER.0, "kind": "user", "max": 5, "licensee": LICENSEE, "cycle": "monthly",
        });
        let sold = self.order("licenses", &sale).await?;
        let id = text(&sold, "id");
        let what = "buys Smart Filter, which is activated by id and licensee; somebody guesses";
        self.typed(what, json!({ "id": id, "licensee": "Woodgrove" }), WRONG).await?;
        let what = "types them as they were mailed, in another case and with more spaces";
        self.typed(what, json!({ "id": id.to_lowercase(), "licensee": TYPED }), ACTIVE).await
    }

    /// A package and a kept answer work while nobody can be asked; a revoked one online no more.
    async fn offline(&mut self, license: &str) -> anyhow::Result<()> {
        let package = self.order(&format!("licenses/{license}/package"), &json!({})).await?;
        let package = text(&package, "token");
        let asked = by(story::JO, SYNOPTIC, WEB, "Jo", ACTIVE);
        let (_, kept) = self.ask(&asked).await?;
        let answer = text(&kept, "token");
        let keys = self.fetch("jwks.json").await?;
        self.stage
            .out
            .line("  Woodgrove goes offline: the daemon is not asked, its keys were kept")?;
        let now = self.now();
        for (when, later) in
            [("now", 0), ("in 12 hours", 12), ("in 2 days", 48), ("in 31 days", 31 * 24)]
        {
            let at = now.saturating_add(SignedDuration::from_hours(later))?;
            let kept = tokens::verify_answer(answer, &keys, SYNOPTIC.0, at).is_ok();
            let carried = tokens::verify_offline(package, &keys, SYNOPTIC.0, at).is_ok();
            let said =
                [("the kept answer", kept, later < 24), ("the package", carried, later < 720)];
            let mut told = Vec::new();
            for (what, holds, wanted) in said {
                self.wrong += usize::from(holds != wanted);
                let instead = if holds == wanted { "" } else { " INSTEAD OF the other" };
                told.push(format!(
                    "{what} {} {}{instead}",
                    mark(holds),
                    if holds { "holds" } else { "is over" }
                ));
            }
            self.stage.out.line(&format!("     {when}: {}", told.join("   ")))?;
        }
        self.order(&format!("licenses/{license}/revoke"), &json!({})).await?;
        self.users("is refunded: the license is revoked", REVOKED, REVOKED).await?;
        let list = self.fetch("revocations").await?;
        let marks = tokens::verify_revocations(&list, &self.fetch("jwks.json").await?, self.now())?;
        let listed = marks.contains(&tokens::mark(license));
        self.wrong += usize::from(!listed);
        self.stage.out.line(&format!(
            "     {} its package is {} the signed list of revoked ones, and refused online",
            mark(!listed),
            if listed { "in" } else { "INSTEAD OF in not in" }
        ))?;
        Ok(())
    }

    /// Both users ask with their own tokens.
    async fn users(
        &mut self,
        what: &str,
        jo: &'static str,
        lee: &'static str,
    ) -> anyhow::Result<()> {
        let title = what.strip_prefix("Woodgrove ").unwrap_or(what);
        self.stage.out.line(&format!("  Woodgrove {title}"))?;
        let mut told = Vec::new();
        for (person, who, expected) in [(story::JO, "Jo", jo), (LEE, "Lee", lee)] {
            let (answered, _) = self.ask(&by(person, SYNOPTIC, WEB, who, expected)).await?;
            told.push(self.told(who, &answered));
        }
        self.stage.out.line(&format!("     {}", told.join("   ")))?;
        Ok(())
    }

    async fn ask(&self, question: &Question) -> anyhow::Result<(Answered, Value)> {
        let Stage { client, daemon, sandbox, .. } = self.stage;
        questions::ask_whole(client, daemon, sandbox, question).await
    }

    /// A visual asks that knows nobody, by what was typed into it.
    async fn typed(
        &mut self,
        what: &str,
        license: Value,
        expected: &'static str,
    ) -> anyhow::Result<()> {
        self.stage.out.line(&format!("  Woodgrove {what}"))?;
        let body = json!({ "product": FILTER.0, "host": "desktop", "license": license });
        let answer = self.post("entitlements", None, &body).await?;
        let answered = Answered::of("a report in Desktop".to_owned(), &answer, expected);
        let told = self.told("The report", &answered);
        self.stage.out.line(&format!("     {told}"))?;
        Ok(())
    }

    /// The answer before, if it was another, and the answer now.
    fn told(&mut self, who: &'static str, answered: &Answered) -> String {
        self.wrong += usize::from(answered.instead_of.is_some());
        let now = answered.in_words();
        let before = self.before.insert(who, now.clone());
        match before.filter(|it| *it != now) {
            Some(before) => format!("{who} {before} → {now}"),
            None => format!("{who} {now}"),
        }
    }

    /// The web shop does something, under its own key.
    async fn order(&self, route: &str, body: &Value) -> anyhow::Result<Value> {
        self.post(route, Some(self.caller_key), body).await
    }

    async fn post(&self, route: &str, bearer: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let Stage { client, daemon, .. } = self.stage;
        let url = format!("http://{}/v1/{route}", daemon.public);
        questions::post(client, &url, bearer, body).await
    }

    /// What anybody may read.
    async fn fetch(&self, name: &str) -> anyhow::Result<String> {
        let Stage { client, daemon, .. } = self.stage;
        let url = format!("http://{}/.well-known/{name}", daemon.public);
        let response = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let response = response.with_context(|| format!("fetch {name}"))?;
        response.text().await.with_context(|| format!("read {name}"))
    }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

const fn mark(good: bool) -> &'static str {
    if good { "✔" } else { "✘" }
}
