//! The answer as clients read it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::decision::{Decision, EvidenceKind, Told, Trail};
use crate::domain::{Channel, Filling, Language, Messages, ServiceId};

/// The answer to a question; also what its signed token says.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "product": "synoptic-panel", "state": "active", "usable": true, "reason": "seat_by_group",
    "source": "appsource", "proof": "seat", "plan": "team", "features": ["maps"],
    "period_end": "2027-01-31T00:00:00Z", "grace_end": null, "notice": null,
    "as_of": "2026-11-21T21:58:03Z", "stale": false, "check_after": 3600,
    "valid_until": "2026-11-22T22:00:00Z", "token": "eyJ…",
}))]
pub(super) struct Answer<'a> {
    /// The product asked about.
    product: &'a str,
    /// `active`, `trial`, `grace`, `pending`, `suspended`, `expired`, `unlicensed` or `unknown`.
    state: &'static str,
    /// Whether the product may be used.
    usable: bool,
    /// Why, as one word for programs.
    reason: &'static str,
    /// The channel the right came by; `null` if none was found.
    source: Option<&'static str>,
    /// What the answer stands on: `seat`, `usage_right`, `subscription` or `license`; `null` if
    /// nothing was found.
    proof: Option<&'static str>,
    /// The plan, by the last part of its Service ID.
    plan: Option<&'a str>,
    /// What is unlocked.
    #[schema(value_type = Vec<String>)]
    features: Vec<&'a str>,
    /// When what was paid for ends or ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    period_end: Option<Seconds>,
    /// When the grace after it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    grace_end: Option<Seconds>,
    /// What the visual should show.
    notice: Option<NoticeBody>,
    /// When the facts were true that decided; `null` if they were never completely read.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Seconds>,
    /// Whether that is longer ago than it should be.
    stale: bool,
    /// Seconds after which to ask again: few where a refusal may just be older than the licence,
    /// for then the user is being looked up at Microsoft.
    check_after: u64,
    /// Until when this answer may be kept and worked with offline.
    #[schema(value_type = String, format = DateTime)]
    valid_until: Seconds,
    /// This answer as a compact JWS (ES256), for keeping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'a str>,
    /// How the answer came about, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trail: Option<TrailBody>,
}

/// What the visual should show beside the answer, in the terms of the visuals API.
#[derive(Serialize, ToSchema)]
pub(super) struct NoticeBody {
    /// `General`, `VisualIsBlocked` or `UnsupportedEnv` (`notifyLicenseRequired`), or
    /// `FeatureBanner` (`notifyFeatureBlocked`).
    r#type: &'static str,
    /// What is told, as one word for programs.
    reason: &'static str,
    /// The text, of at most 500 characters.
    text: String,
    /// The text's language.
    language: &'static str,
    /// Days until the right ends, a begun one counted whole.
    days_left: Option<i64>,
}

/// In which words notices are told.
#[derive(Clone, Copy)]
pub(super) struct Wording<'a> {
    /// The texts.
    pub(super) messages: &'a Messages,
    /// The language.
    pub(super) language: Language,
    /// What people call the product.
    pub(super) product: &'a str,
}

impl NoticeBody {
    fn new(shown: Told, wording: Wording<'_>) -> Self {
        let Wording { messages, language, product } = wording;
        let filling = Filling {
            days: shown.days_left.unwrap_or_default(),
            date: shown.date.unwrap_or_default(),
            max: shown.max.unwrap_or_default(),
            product,
        };
        Self {
            r#type: shown.show.as_str(),
            reason: shown.key.as_str(),
            text: messages.text(shown.key, language, &filling),
            language: language.as_str(),
            days_left: shown.days_left,
        }
    }
}

/// How an answer came about.
#[derive(Serialize, ToSchema)]
pub(super) struct TrailBody {
    /// The evidence: what decided first, then what it beat, then what was dropped.
    evidence: Vec<StepBody>,
    /// The sources that could have held evidence.
    sources: Vec<SourceBody>,
}

/// One piece of evidence.
#[derive(Serialize, ToSchema)]
pub(super) struct StepBody {
    /// `subscription`, `seat`, `license` or `usage_right`.
    kind: &'static str,
    /// Its id at its source.
    id: String,
    /// The channel it speaks for.
    channel: &'static str,
    /// The plan it is one of, by the last part of its Service ID.
    plan: Option<String>,
    /// What its source says of it.
    says: String,
    /// What it was judged.
    state: &'static str,
    /// Why.
    reason: &'static str,
    /// When what was paid for ends or ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    period_end: Option<Seconds>,
    /// When the grace after it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    grace_end: Option<Seconds>,
    /// When what it says was true.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Seconds>,
    /// Whether that is longer ago than it should be.
    stale: bool,
    /// `decided`, `beaten` or `dropped`.
    fate: &'static str,
    /// The rule that made it so.
    rule: String,
}

/// A source that could have held evidence.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceBody {
    /// Which source.
    source: &'static str,
    /// When its last complete read began.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_complete: Option<Seconds>,
    /// What that means for the answer.
    says: &'static str,
}

/// A moment, in whole seconds: RFC 3339, UTC. Rounded down, so that nothing lasts longer than it
/// does.
#[derive(Clone, Copy)]
pub(super) struct Seconds(Timestamp);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = Timestamp::from_second(self.0.as_second()).unwrap_or(self.0);
        serializer.collect_str(&whole)
    }
}

impl<'a> Answer<'a> {
    /// The answer that a decision is, and what is to be shown beside it.
    pub(super) fn new(decision: &'a Decision, shown: Option<Told>, wording: Wording<'_>) -> Self {
        Self {
            product: decision.product.as_str(),
            state: decision.state.as_str(),
            usable: decision.usable,
            reason: decision.reason.as_str(),
            source: decision.source.map(Channel::as_str),
            proof: decision.proof.map(EvidenceKind::as_str),
            plan: decision.plan.as_ref().map(ServiceId::plan),
            features: decision.features.iter().map(|it| &**it).collect(),
            period_end: decision.period_end.map(Seconds),
            grace_end: decision.grace_end.map(Seconds),
            notice: shown.map(|it| NoticeBody::new(it, wording)),
            as_of: decision.as_of.map(Seconds),
            stale: decision.stale,
            check_after: decision.check_after_s,
            valid_until: Seconds(decision.valid_until),
            token: None,
            trail: None,
        }
    }
}

/// The answer that a decision is, as JSON for the command line: with the fields of the public
/// answer, but not signed, since nobody is to work offline with it.
pub fn answer_json(
    decision: &Decision,
    shown: Option<Told>,
    (messages, language, product): (&Messages, Language, &str),
    trail: Option<Trail>,
) -> serde_json::Value {
    let mut answer = Answer::new(decision, shown, Wording { messages, language, product });
    answer.trail = trail.map(TrailBody::from);
    let mut answer = serde_json::to_value(&answer).unwrap_or_default();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("token".to_owned(), serde_json::Value::Null);
    }
    answer
}

impl From<Trail> for TrailBody {
    fn from(trail: Trail) -> Self {
        let evidence = trail.steps.into_iter().map(|it| StepBody {
            kind: it.evidence.as_str(),
            id: it.id,
            channel: it.channel.as_str(),
            plan: it.plan.map(|it| it.plan().to_owned()),
            says: it.says,
            state: it.state.as_str(),
            reason: it.reason.as_str(),
            period_end: it.period_end.map(Seconds),
            grace_end: it.grace_end.map(Seconds),
            as_of: it.as_of.map(Seconds),
            stale: it.stale,
            fate: it.fate.as_str(),
            rule: it.rule,
        });
        let sources = trail.sources.into_iter().map(|it| SourceBody {
            source: it.source.as_str(),
            last_complete: it.last_complete.map(Seconds),
            says: it.says,
        });
        Self { evidence: evidence.collect(), sources: sources.collect() }
    }
}
