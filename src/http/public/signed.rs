//! Signed answers, kept while they say the same: a hot answer costs no signature.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;

use super::Public;
use super::answer::{Answer, TrailBody, Wording};
use super::keys::unsigned;
use super::question::Asked;
use crate::decision::{self, Decision, EvidenceKind, Told, Trail};
use crate::domain::{Host, Language, LicenseId, ProductId, TenantId, UserId, day_of};
use crate::http::metrics::{SignatureLabel, StateLabel};
use crate::http::problem::Problem;
use crate::tokens::Subject;

/// Memory for kept answers, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// About how many answers that is.
const ANSWERS: usize = 8_192;

/// How long an answer is kept at most.
const KEEP_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Questions with a longer page address are answered without looking for a kept answer.
const SITE_MAX: usize = 256;

/// Answers kept by what was asked.
pub(super) struct SignedAnswers(Cache<Identity, Kept, Weight>);

/// What two questions with one answer have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    product: ProductId,
    host: Host,
    tenant: Option<TenantId>,
    personal_account: bool,
    user: Option<UserId>,
    site: Option<Box<str>>,
    license_refused: bool,
    language: Language,
    license: Option<LicenseId>,
    anonymous: Option<[u8; 16]>,
}

#[derive(Clone)]
struct Kept {
    decision: Arc<Decision>,
    told: Option<Told>,
    signed_at: Timestamp,
    token: Arc<str>,
    body: Bytes,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Identity, Kept> for Weight {
    fn weight(&self, _identity: &Identity, kept: &Kept) -> u64 {
        // The decision and the table's own entry weigh about half a kilobyte.
        u64::try_from(kept.body.len().saturating_add(kept.token.len())).unwrap_or(0) + 512
    }
}

impl SignedAnswers {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(ANSWERS, BYTES_MAX, Weight))
    }
}

impl Kept {
    /// Whether it says what the decision says, and was signed lately.
    fn serves(&self, decision: &Decision, told: Option<Told>, now: Timestamp) -> bool {
        let half = i64::try_from(decision.check_after_s / 2).unwrap_or(i64::MAX);
        let keep = SignedDuration::from_secs(half).min(KEEP_MAX);
        let age = now.duration_since(self.signed_at);
        let kept = &self.decision;
        let still = of_its_moment(kept, self.signed_at) && of_its_moment(decision, now);
        let as_of = if still { kept.as_of } else { decision.as_of };
        let moved_on = Decision { valid_until: kept.valid_until, as_of, ..decision.clone() };
        !age.is_negative()
            && age < keep
            && kept.valid_until <= decision.valid_until
            && self.told == told
            && **kept == moved_on
    }
}

/// Whether it rests on nothing that was read from Microsoft, and so is as of the moment it was made: made
/// a moment later it says the same.
fn of_its_moment(decision: &Decision, made: Timestamp) -> bool {
    let ours = decision.proof.is_none_or(|it| it == EvidenceKind::License);
    ours && decision.as_of == Some(made)
}

impl Public {
    /// The body that answers a question with this decision, signed.
    pub(super) fn signed(
        &self,
        asked: &Asked,
        decision: Decision,
        trail: Option<Trail>,
        now: Timestamp,
    ) -> Result<Bytes, Problem> {
        if decision.usable && !asked.explain {
            self.note_use(asked, now);
        }
        self.decided(&decision);
        let told = decision::told(&decision, asked.host, now);
        let identity = Identity::of(asked);
        let kept = identity.as_ref().and_then(|it| self.signed.0.get(it));
        let kept = kept.filter(|it| it.serves(&decision, told, now));
        let signature = if kept.is_some() { "kept" } else { "new" };
        self.metrics.answers.get_or_create(&SignatureLabel { signature }).inc();
        let kept = match kept {
            Some(kept) => kept,
            None => self.sign(asked, decision, told, now)?,
        };
        let body = match trail {
            None => kept.body.clone(),
            Some(trail) => {
                let mut answer = Answer::new(&kept.decision, kept.told, self.wording(asked));
                answer.token = Some(&kept.token);
                answer.trail = Some(TrailBody::from(trail));
                json(&answer)?
            }
        };
        if let Some(identity) = identity.filter(|_| signature == "new") {
            self.signed.0.insert(identity, kept);
        }
        Ok(body)
    }

    /// What would be answered, though a seat would have to be written down for it: to explain writes
    /// nothing, so there is no token that would outlast the explanation.
    pub(super) fn explained(
        &self,
        asked: &Asked,
        decision: &Decision,
        trail: Option<Trail>,
        now: Timestamp,
    ) -> Result<Bytes, Problem> {
        self.decided(decision);
        let told = decision::told(decision, asked.host, now);
        let mut answer = Answer::new(decision, told, self.wording(asked));
        answer.trail = trail.map(TrailBody::from);
        json(&answer)
    }

    fn decided(&self, decision: &Decision) {
        let state = decision.state.as_str();
        self.metrics.decisions.get_or_create(&StateLabel { state }).inc();
    }

    /// Counts that he uses it, and waits for nothing.
    fn note_use(&self, asked: &Asked, now: Timestamp) {
        let who = asked.tenant.zip(asked.user);
        if let (Some(seats), Some((tenant, user))) = (&self.seats, who) {
            seats.note(tenant, user, &asked.product.id, day_of(now));
        }
    }

    fn wording<'a>(&'a self, asked: &'a Asked) -> Wording<'a> {
        let (language, product) = (asked.language, &*asked.product.name);
        Wording { messages: &self.messages, language, product }
    }

    fn sign(
        &self,
        asked: &Asked,
        decision: Decision,
        told: Option<Told>,
        now: Timestamp,
    ) -> Result<Kept, Problem> {
        let mut answer = Answer::new(&decision, told, self.wording(asked));
        let Ok(Value::Object(fields)) = serde_json::to_value(&answer) else {
            return Err(unsigned());
        };
        let subject =
            Subject { product: &asked.product.id, tenant: asked.tenant, user: asked.user };
        let token = self
            .signer()?
            .sign(fields, subject, now, decision.valid_until)
            .map_err(|error| unsigned().because(error))?;
        answer.token = Some(&token);
        let body = json(&answer)?;
        Ok(Kept { token: token.into(), body, told, signed_at: now, decision: Arc::new(decision) })
    }
}

fn json(answer: &Answer<'_>) -> Result<Bytes, Problem> {
    let bytes = serde_json::to_vec(answer).map_err(|error| unsigned().because(error))?;
    Ok(bytes.into())
}

impl Identity {
    fn of(asked: &Asked) -> Option<Self> {
        let site = asked.site.as_deref();
        let short = site.is_none_or(|it| it.len() <= SITE_MAX);
        short.then(|| Self {
            product: asked.product.id.clone(),
            host: asked.host,
            tenant: asked.tenant,
            personal_account: asked.personal_account,
            user: asked.user,
            site: site.map(Into::into),
            license_refused: asked.license_refused,
            language: asked.language,
            license: asked.license.as_ref().map(|(id, _)| *id),
            anonymous: asked.anonymous,
        })
    }
}
