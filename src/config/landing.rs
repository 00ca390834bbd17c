//! `[landing]`: the page that buyers come to, and the app that signs them in.

use url::Url;

use super::identity::application_id;
use super::secret::{self, Secret};
use super::section::Section;

/// What the purchase landing page needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LandingSection {
    /// The app that signs people in, if it is another than `identity.client_id`.
    pub client_id: Option<String>,
    /// Its secret; `None` where it is `identity.client_id` and has that one's credential.
    pub secret: Option<Secret>,
    /// What the page calls the publisher; by default `publisher.id`.
    pub publisher: Option<String>,
    /// Where the page sends people who need help: `https:` or `mailto:`.
    pub support: Option<Url>,
}

/// The longest name of a publisher, in characters.
const NAME_MAX: usize = 80;

impl LandingSection {
    /// `identity` is `identity.client_id`.
    pub(super) fn read(root: &mut Section<'_>, identity: Option<&str>) -> Self {
        root.section("landing", |it| {
            let client_id = it.optional("client_id");
            let client_id = application_id(it, "client_id", client_id);
            let secret = secret::read(it, "secret", "secret_file");
            let publisher: Option<String> = it.optional("publisher");
            let landing = Self { client_id, secret, publisher, support: support(it) };
            landing.check(it, identity);
            landing
        })
    }

    fn check(&self, it: &mut Section<'_>, identity: Option<&str>) {
        let other = self.client_id.as_deref().is_some_and(|id| Some(id) != identity);
        let missing = secret::is_missing(it, "secret", "secret_file");
        if other && self.secret.is_none() && missing {
            it.warning(
                "client_id",
                "this app has no secret, so nobody can sign in to the landing page; write \
                 `secret_file = \"/etc/entitled/landing-secret\"` under [landing], or set \
                 ENTITLED_LANDING__SECRET",
            );
        }
        let fits = |name: &String| {
            !name.trim().is_empty()
                && name.chars().count() <= NAME_MAX
                && !name.chars().any(char::is_control)
        };
        if !self.publisher.as_ref().is_none_or(fits) {
            it.problem(
                "publisher",
                format!("write the name that buyers know you by, in at most {NAME_MAX} characters"),
            );
        }
    }
}

/// An address of a page, or of a mailbox with or without `mailto:`.
fn support(it: &mut Section<'_>) -> Option<Url> {
    let text: String = it.optional("support")?;
    let mailbox = text.contains('@') && !text.contains([':', '/', ' ']);
    let text = if mailbox { format!("mailto:{text}") } else { text };
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "https" | "mailto") => Some(url),
        Ok(_) | Err(_) => {
            it.problem(
                "support",
                "this is neither a page nor a mailbox; write \"https://vizmaker.example/help\" \
                 or \"help@vizmaker.example\"",
            );
            None
        }
    }
}
