//! `[visuals]`: whose tokens are accepted.

use jiff::SignedDuration;

use super::section::Section;

/// Whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visuals {
    /// Audiences: the App ID URI (version 1 tokens), the client id (version 2); one must match.
    pub audience: Vec<String>,
    /// Client ids of the apps that may fetch a token for us.
    pub callers: Vec<String>,
    /// How long one key signs answers before another takes its place.
    pub rotate_keys: SignedDuration,
}

/// The app that fetches tokens for visuals inside Power BI.
///
/// Source: contract section 3; Microsoft's "Authentication API" of Power BI visuals.
const POWER_BI: &str = "871c010f-5e61-4fb1-83ac-98610a7e9110";

/// A quarter: a key that leaked unnoticed does not sign for longer.
const ROTATE_KEYS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// An answer may be kept for a day: no more than two keys are needed to check them all.
const ROTATE_KEYS_LEAST: SignedDuration = SignedDuration::from_hours(2 * 24);

impl Visuals {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("visuals", |it| {
            let audience: Vec<String> = it.or("audience", Vec::new());
            let callers: Vec<String> = it.or("callers", vec![POWER_BI.to_owned()]);
            if callers.is_empty() {
                it.problem(
                    "callers",
                    format!("an empty list lets no visual in; write [\"{POWER_BI}\"] for Power BI"),
                );
            }
            if let Some(wrong) = callers.iter().find(|it| uuid::Uuid::try_parse(it).is_err()) {
                it.problem("callers", format!("`{wrong}` is no GUID; write client ids"));
            }
            let rotate_keys = it.period("rotate_keys", ROTATE_KEYS);
            if rotate_keys < ROTATE_KEYS_LEAST {
                it.problem("rotate_keys", "must be at least 2d: answers are kept for a day");
            }
            Self { audience, callers, rotate_keys }
        })
    }
}
