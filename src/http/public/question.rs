//! From a body to a question: what was asked, by whom it may be asked, and what is wrong with it.

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Public;
use super::packages::Guess;
use crate::config::Permission;
use crate::decision::{Question, Shown};
use crate::domain::{Cause, Host, Language, LicenseId, Product, Quoted, TenantId, UserId};
use crate::http::licenses::fields::host_of;
use crate::http::problem::Problem;
use crate::http::who::Asker;

/// A question. Unknown fields are ignored, so that old daemons serve new visuals.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({ "product": "synoptic-panel", "host": "web", "version": "2.1.0" }))]
pub(super) struct QuestionBody {
    /// The product's id.
    #[schema(value_type = String)]
    product: Option<String>,
    /// Where it runs: `web`, `desktop`, `mobile`, `dashboard`, `embed`, `report_server`,
    /// `publish_to_web` or `export`; or the number of the visuals API's `hostEnv`.
    #[schema(value_type = String)]
    host: Option<Value>,
    /// A license of the publisher.
    license: Option<LicenseProof>,
    /// The signed token that a package carries.
    package: Option<String>,
    /// The tenant asked about; believed only from a caller with a key.
    tenant: Option<String>,
    /// The user asked about, by object id; believed only from a caller with a key.
    user: Option<String>,
    /// The page that embeds the product.
    site: Option<String>,
    /// The locale of the person before the visual (`host.locale`, BCP 47): notices are told in its
    /// language; without one by `Accept-Language`, then in English.
    locale: Option<String>,
    /// The anonymous id that a package made up: by it the users of a license are counted where
    /// nobody signs in.
    anonymous_id: Option<String>,
    /// The capacity that it runs on, as the visual says; recorded, never a ground for the answer.
    capacity: Option<String>,
    /// Whether the answer tells how it came about. It takes no seat: where one would be taken, there is no
    /// token.
    explain: Option<bool>,
}

/// A license of the publisher, as typed by a person.
#[derive(Deserialize, ToSchema)]
struct LicenseProof {
    /// Its id.
    id: Option<String>,
    /// Whom it is made out to.
    licensee: Option<String>,
}

/// A question that may be asked, by somebody who may ask it.
pub(super) struct Asked {
    pub(super) product: Arc<Product>,
    pub(super) host: Host,
    pub(super) tenant: Option<TenantId>,
    pub(super) personal_account: bool,
    pub(super) user: Option<UserId>,
    pub(super) site: Option<String>,
    /// Something was shown as a license or a package that can be none.
    pub(super) license_refused: bool,
    /// In which language notices are told.
    pub(super) language: Language,
    /// The license that was shown, and how.
    pub(super) license: Option<(LicenseId, Showing)>,
    /// What somebody showed who is not trusted, and is no package of ours.
    pub(super) guess: Option<Guess>,
    /// A digest of the anonymous id.
    pub(super) anonymous: Option<[u8; 16]>,
    /// The capacity that the visual named.
    pub(super) capacity: Option<String>,
    pub(super) explain: bool,
    /// What is noted beside a seat that is taken.
    pub(super) cause: Cause,
}

impl Asked {
    /// What the decision looks at.
    pub(super) fn question(&self) -> Question<'_> {
        Question {
            product: &self.product,
            host: self.host,
            tenant: self.tenant,
            personal_account: self.personal_account,
            user: self.user,
            site: self.site.as_deref(),
            license_refused: self.license_refused,
            shown: match &self.license {
                None => Shown::Nothing,
                Some((id, Showing::Typed(licensee))) => Shown::Typed { id: *id, licensee },
                Some((id, Showing::Package)) => Shown::Package(*id),
                Some((id, Showing::Named)) => Shown::Named(*id),
            },
            anonymous: self.anonymous,
        }
    }

    /// Whether a license or a package was shown, right or wrong.
    pub(super) fn shows_something(&self) -> bool {
        self.license.is_some() || self.license_refused
    }

    /// Reads a question. `accepted` is the language that the request's head asks for.
    ///
    /// # Errors
    ///
    /// 401 if nobody asks and no license speaks, 403 for a caller without the right, 400, 404 and
    /// 422 for what is wrong in the body.
    pub(super) fn read(
        body: QuestionBody,
        asker: &Asker,
        accepted: Option<Language>,
        public: &Public,
    ) -> Result<Self, Problem> {
        let typed = body.license.filter(LicenseProof::says_anything);
        let package = body.package.as_deref().map(str::trim).filter(|it| !it.is_empty());
        let shown = typed.is_some() || package.is_some();
        let named = match asker {
            Asker::User(user) => {
                Named { tenant: user.tenant, personal: user.personal, user: Some(user.user) }
            }
            Asker::Caller(caller) => {
                caller.check(Permission::Query)?;
                Named::read(body.tenant.as_deref(), body.user.as_deref())?
            }
            Asker::Nobody if shown => Named { tenant: None, personal: false, user: None },
            Asker::Nobody => {
                let detail =
                    "send a user's token, a caller's key, or a license or package in the body";
                return Err(Problem::unauthorized(detail));
            }
        };
        let trusted = matches!(asker, Asker::Caller(_));
        let product = product(body.product.as_deref(), public)?;
        let carried = package.and_then(|it| public.carried_by(it, &product.id));
        let license = carried.map(|id| (id, Showing::Package));
        let license = license.or_else(|| typed.as_ref().and_then(|it| it.read(trusted)));
        let may_be_guessed = shown && !trusted && carried.is_none();
        let guess = may_be_guessed.then(|| {
            let typed = typed.as_ref().map(LicenseProof::as_typed);
            public.guess(typed, package.unwrap_or_default())
        });
        let cause = match asker {
            Asker::Caller(caller) => Cause::Caller(Arc::clone(&caller.name)),
            Asker::User(_) | Asker::Nobody => Cause::Activation,
        };
        Ok(Self {
            product,
            host: host(body.host.as_ref())?,
            license_refused: shown && license.is_none(),
            license,
            guess,
            anonymous: body.anonymous_id.and_then(|it| anonymous(&it, public)),
            capacity: body.capacity,
            tenant: named.tenant,
            personal_account: named.personal,
            user: named.user,
            language: body
                .locale
                .as_deref()
                .and_then(Language::of_locale)
                .or(accepted)
                .unwrap_or(Language::English),
            site: body.site.map(|it| host_of(&it).unwrap_or(it)),
            explain: body.explain == Some(true),
            cause,
        })
    }
}

impl LicenseProof {
    fn says_anything(&self) -> bool {
        self.id.as_ref().is_some_and(|id| !id.trim().is_empty())
    }

    /// Its id and the licensee, as they were typed.
    fn as_typed(&self) -> (&str, &str) {
        (self.id.as_deref().unwrap_or_default(), self.licensee.as_deref().unwrap_or_default())
    }

    /// Its id, and the licensee; only who is trusted need not name one.
    fn read(&self, trusted: bool) -> Option<(LicenseId, Showing)> {
        let id = self.id.as_ref()?.parse().ok()?;
        match &self.licensee {
            Some(licensee) => Some((id, Showing::Typed(licensee.clone()))),
            None => trusted.then_some((id, Showing::Named)),
        }
    }
}

/// How a license was shown.
pub(super) enum Showing {
    /// Its id and this licensee were typed.
    Typed(String),
    /// A package carries it that we signed.
    Package,
    /// Somebody who is trusted named it.
    Named,
}

/// What the users of a license are counted by where nobody signs in: never the id itself.
fn anonymous(id: &str, public: &Public) -> Option<[u8; 16]> {
    let id = id.trim();
    let sane = (1..=200).contains(&id.len());
    let digest = sane.then(|| public.digests.anonymous.of(id.as_bytes()))?;
    digest.first_chunk().copied()
}

struct Named {
    tenant: Option<TenantId>,
    personal: bool,
    user: Option<UserId>,
}

impl Named {
    fn read(tenant: Option<&str>, user: Option<&str>) -> Result<Self, Problem> {
        let personal = tenant.is_some_and(TenantId::is_personal);
        let tenant = if personal { None } else { id("tenant", tenant)? };
        Ok(Self { tenant, personal, user: id("user", user)? })
    }
}

fn id<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let wrong = |error: T::Err| Problem::invalid(format!("`{field}`: {error}")).of_field(field);
    text.map(str::parse).transpose().map_err(wrong)
}

pub(super) fn product(id: Option<&str>, public: &Public) -> Result<Arc<Product>, Problem> {
    let id = id.ok_or_else(|| Problem::malformed("name a `product`").of_field("product"))?;
    public.catalog.product(id).map(Arc::clone).ok_or_else(|| {
        let shown = Quoted(id);
        let detail =
            format!("{shown} is no product of this publisher: check its id in [[product]]");
        Problem::unknown_product(detail).of_field("product")
    })
}

/// A host by its word, or by the number of the visuals API, also as text.
fn host(sent: Option<&Value>) -> Result<Host, Problem> {
    let words = || {
        let words: Vec<&str> = Host::ALL.iter().map(|it| it.as_str()).collect();
        let detail = format!("`host` must be one of {}, or the hostEnv number", words.join(", "));
        Problem::unknown_host(detail).of_field("host")
    };
    let found = match sent {
        Some(Value::Number(flags)) => flags.as_u64().and_then(Host::from_env_flags),
        Some(Value::String(text)) => {
            let text = text.trim();
            let flags = text.parse().ok().and_then(Host::from_env_flags);
            flags.or_else(|| text.parse().ok())
        }
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    found.ok_or_else(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_is_a_word_or_a_number() {
        let check = |sent: Value, expected: Option<Host>| {
            assert_eq!(host(Some(&sent)).ok(), expected, "{sent}");
        };
        check(json!("web"), Some(Host::Web));
        check(json!(1), Some(Host::Web));
        check(json!("64"), Some(Host::Mobile));
        check(json!(9), Some(Host::Embed));
        check(json!("report_server"), Some(Host::ReportServer));
        for wrong in
            [json!("Web"), json!(0), json!(-1), json!(1.5), json!(256), json!(""), json!([1])]
        {
            check(wrong, None);
        }
        assert_eq!(host(None).unwrap_err().kind(), "unknown-host");
    }
}
