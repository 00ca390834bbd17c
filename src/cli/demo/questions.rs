//! The sample questions: one for each channel and each state, asked over HTTP as visuals and
//! servers ask them.

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::daemon::Daemon;
use crate::decision::Reason;
use crate::sandbox::{Sandbox, TokenRequest, TokenVersion, story};

/// A question in words and its answer.
pub(super) struct Answered {
    pub(super) question: String,
    pub(super) usable: bool,
    pub(super) state: String,
    pub(super) source: Option<String>,
    pub(super) features: Vec<String>,
    pub(super) reason: String,
    pub(super) sentence: String,
    /// What the story wants in its place, if it is another: state and reason.
    pub(super) instead_of: Option<&'static str>,
}

pub(super) struct Question {
    who: &'static str,
    tenant: Uuid,
    user: Uuid,
    product: &'static str,
    name: &'static str,
    host: &'static str,
    place: &'static str,
    /// State and reason.
    expected: &'static str,
}

pub(super) const SYNOPTIC: (&str, &str) = ("synoptic-panel", "Synoptic Panel");
pub(super) const SUITE: (&str, &str) = ("viz-suite", "Viz Suite");
const FIELD_APP: (&str, &str) = ("field-app", "Field App");
const CALENDAR: (&str, &str) = ("calendar-pro", "Calendar Pro");
pub(super) const WEB: (&str, &str) = ("web", "on powerbi.com");
const DESKTOP: (&str, &str) = ("desktop", "in Desktop");
const MOBILE: (&str, &str) = ("mobile", "on a phone");

pub(super) const fn by(
    person: story::Person,
    product: (&'static str, &'static str),
    host: (&'static str, &'static str),
    who: &'static str,
    expected: &'static str,
) -> Question {
    let story::Person { tenant, user, .. } = person;
    let ((product, name), (host, place)) = (product, host);
    Question { who, tenant, user, product, name, host, place, expected }
}

impl Answered {
    /// What was answered; `expected` is state and reason.
    pub(super) fn of(question: String, answer: &Value, expected: &'static str) -> Self {
        let text = |field: &str| answer.get(field).and_then(Value::as_str).map(str::to_owned);
        let reason = text("reason").unwrap_or_default();
        let sentence = Reason::ALL.iter().find(|it| it.as_str() == reason).map(|it| it.sentence());
        let features = answer.get("features").and_then(Value::as_array).into_iter().flatten();
        let state = text("state").unwrap_or_default();
        let told = format!("{state} {reason}");
        Self {
            instead_of: (told != expected).then_some(expected),
            question,
            usable: answer.get("usable").and_then(Value::as_bool).unwrap_or_default(),
            state,
            source: text("source"),
            features: features.filter_map(Value::as_str).map(str::to_owned).collect(),
            sentence: sentence.unwrap_or_default().to_owned(),
            reason,
        }
    }

    /// The answer in one line.
    pub(super) fn in_words(&self) -> String {
        let mark = if self.usable { "✔" } else { "✘" };
        let features = match self.features.as_slice() {
            [] => String::new(),
            features => format!(" with {}", features.join(", ")),
        };
        let instead = match self.instead_of {
            Some(expected) => format!(" INSTEAD OF {expected}"),
            None => String::new(),
        };
        format!("{mark} {} ({}){features}{instead}", self.state, self.reason)
    }
}

impl Question {
    /// Who asks.
    pub(super) fn who(&self) -> &'static str {
        self.who
    }
}

/// A tenant that nobody has ever heard of.
const STRANGER: story::Person = story::Person {
    name: "A stranger",
    tenant: Uuid::from_u128(0xdead_0000_0000_4000_8000_0000_0000_0001),
    user: Uuid::from_u128(0xdead_0000_0000_4000_8000_0000_0000_0002),
};

const QUESTIONS: [Question; 23] = [
    by(story::ANA, SYNOPTIC, WEB, "Ana of Contoso, licence assigned to her", "active seat_direct"),
    by(
        story::BEN,
        SYNOPTIC,
        DESKTOP,
        "Ben of Contoso, member of the group BI users",
        "active seat_by_group",
    ),
    by(
        story::EVA,
        SYNOPTIC,
        MOBILE,
        "Eva of Contoso, directly and through a group",
        "active seat_direct",
    ),
    by(
        story::CLEO,
        SYNOPTIC,
        WEB,
        "Cleo of Contoso, whose group has run out of licences",
        "unlicensed seat_in_error",
    ),
    by(
        story::FINN,
        SYNOPTIC,
        WEB,
        "Finn of Contoso, with the service plan switched off",
        "unlicensed seat_switched_off",
    ),
    by(story::DAN, SYNOPTIC, WEB, "Dan of Contoso, without a licence", "unlicensed not_licensed"),
    by(story::DAN, CALENDAR, WEB, "Dan of Contoso", "unlicensed not_licensed"),
    by(
        story::ANA,
        SYNOPTIC,
        ("embed", "embedded in a web shop"),
        "Ana of Contoso",
        "unlicensed host_unsupported",
    ),
    by(
        story::ANA,
        SYNOPTIC,
        ("publish_to_web", "on a public web page"),
        "Ana of Contoso",
        "unlicensed host_unsupported",
    ),
    by(
        story::GIL,
        SYNOPTIC,
        WEB,
        "Gil of Fabrikam, whose purchase has expired a few days ago",
        "grace seat_grace",
    ),
    by(
        story::HANA,
        SYNOPTIC,
        WEB,
        "Hana of Northwind, whose purchase is suspended",
        "suspended seat_suspended",
    ),
    by(
        story::LENA,
        CALENDAR,
        WEB,
        "Lena of Adventure, whose purchase is locked out",
        "suspended seat_suspended",
    ),
    by(story::IVO, FIELD_APP, WEB, "Ivo of Tailspin, a Power Apps user", "active seat_direct"),
    by(
        story::JO,
        SYNOPTIC,
        WEB,
        "Jo of Woodgrove, a customer without any licence",
        "unlicensed not_licensed",
    ),
    by(
        story::KAI,
        SYNOPTIC,
        WEB,
        "Kai of Litware, whose administrator did not consent",
        "unknown no_consent",
    ),
    by(
        story::MIA,
        SUITE,
        WEB,
        "Mia of Proseware, whose company subscribed",
        "active subscription_active",
    ),
    by(story::NOA, SUITE, WEB, "Noa of Graphic, in a free trial", "trial subscription_trial"),
    by(
        story::OLI,
        SUITE,
        WEB,
        "Oli of Lamna, bought and not activated",
        "pending subscription_pending",
    ),
    by(
        story::PIA,
        SUITE,
        WEB,
        "Pia of Relecloud, who did not pay",
        "suspended subscription_suspended",
    ),
    by(story::QUIN, SUITE, WEB, "Quin of Lucerne, who cancelled", "expired subscription_ended"),
    by(
        story::WIM,
        SUITE,
        WEB,
        "Wim of Wingtip, first of five on three seats",
        "active subscription_active",
    ),
    by(
        story::RUTH,
        SUITE,
        WEB,
        "Ruth of Coho, bought through a reseller",
        "active subscription_active",
    ),
    by(STRANGER, SYNOPTIC, WEB, "A user of a tenant that nobody knows", "unknown never_read"),
];

/// Asks all of them; then two more of Wingtip sit down, and a third finds no seat.
pub(super) async fn ask_all(
    client: &reqwest::Client,
    daemon: &Daemon,
    sandbox: &Sandbox,
) -> anyhow::Result<Vec<Answered>> {
    let mut answers = Vec::new();
    for question in &QUESTIONS {
        answers.push(ask(client, daemon, sandbox, question).await?);
    }
    let seats = [
        by(story::XIA, SUITE, WEB, "Xia of Wingtip, second", "active subscription_active"),
        by(story::YAN, SUITE, WEB, "Yan of Wingtip, third", "active subscription_active"),
        by(story::ZOE, SUITE, WEB, "Zoe of Wingtip, fourth", "unlicensed no_free_seat"),
    ];
    for question in &seats {
        answers.push(ask(client, daemon, sandbox, question).await?);
    }
    Ok(answers)
}

/// Asks as a visual does: with the user's own token.
pub(super) async fn ask(
    client: &reqwest::Client,
    daemon: &Daemon,
    sandbox: &Sandbox,
    question: &Question,
) -> anyhow::Result<Answered> {
    ask_whole(client, daemon, sandbox, question).await.map(|(answered, _)| answered)
}

/// As [`ask`]; with the whole answer.
pub(super) async fn ask_whole(
    client: &reqwest::Client,
    daemon: &Daemon,
    sandbox: &Sandbox,
    question: &Question,
) -> anyhow::Result<(Answered, Value)> {
    let Question { tenant, user, .. } = *question;
    let token = token(sandbox, story::Person { name: question.who, tenant, user });
    let url = format!("http://{}/v1/entitlements", daemon.public);
    let body = json!({ "product": question.product, "host": question.host });
    let answer = post(client, &url, Some(&token), &body).await?;
    let asked = format!("{}: {} {}", question.who, question.name, question.place);
    Ok((Answered::of(asked, &answer, question.expected), answer))
}

/// The token that Power BI gets for a visual of this person.
pub(super) fn token(sandbox: &Sandbox, person: story::Person) -> String {
    sandbox.user_token(TokenRequest {
        tenant: person.tenant,
        user: person.user,
        audience: story::VISUAL_AUDIENCE.to_owned(),
        caller: story::POWER_BI_WEB.to_owned(),
        scope: story::VISUAL_SCOPE.to_owned(),
        version: TokenVersion::V1,
        expires_in: SignedDuration::from_hours(1),
    })
}

/// Sends a body, and reads what the daemon answers.
pub(super) async fn post(
    client: &reqwest::Client,
    url: &str,
    bearer: Option<&str>,
    body: &Value,
) -> anyhow::Result<Value> {
    let request = client.post(url).json(body);
    let request = match bearer {
        Some(bearer) => request.bearer_auth(bearer),
        None => request,
    };
    let response = request.send().await.context("ask the daemon")?;
    let status = response.status();
    let answer: Value = response.json().await.context("read the daemon's answer")?;
    anyhow::ensure!(status.is_success(), "the daemon answered {status}: {answer}");
    Ok(answer)
}
