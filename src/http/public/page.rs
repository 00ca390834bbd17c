//! What all pages share: the frame, the style, and the headers that keep a page to itself. No
//! script, no asset from anywhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::http::markup::Text;

const STYLE: &str = include_str!("page.css");

/// Nothing may be loaded, run or framed; only this style counts, and forms lead to us alone.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

/// What one page says.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) title: String,
    /// HTML of what stands below the title.
    pub(super) content: String,
    /// A word or two above the title, and its colour: `ok`, `warn` or `bad`.
    pub(super) state: Option<(&'static str, &'static str)>,
    /// After how many seconds the browser looks again by itself.
    pub(super) refresh_s: Option<u32>,
    /// After how many seconds trying again makes sense.
    pub(super) retry_after_s: Option<u32>,
}

impl Page {
    /// A page with nothing on it but its title.
    pub(super) fn new(status: StatusCode, title: impl Into<String>) -> Self {
        Self {
            status,
            title: title.into(),
            content: String::new(),
            state: None,
            refresh_s: None,
            retry_after_s: None,
        }
    }

    #[must_use]
    pub(super) fn state(self, class: &'static str, words: &'static str) -> Self {
        Self { state: Some((class, words)), ..self }
    }

    #[must_use]
    pub(super) fn refresh(self, seconds: u32) -> Self {
        Self { refresh_s: Some(seconds), ..self }
    }

    #[must_use]
    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// A paragraph more.
    #[must_use]
    pub(super) fn text(self, text: &str) -> Self {
        let text = Text(text);
        self.html(&format!("<p>{text}</p>\n"))
    }

    /// More HTML.
    #[must_use]
    pub(super) fn html(mut self, html: &str) -> Self {
        self.content.push_str(html);
        self
    }

    /// Numbered steps.
    #[must_use]
    pub(super) fn steps(self, steps: &[&str]) -> Self {
        self.html(&format!("<ol>{}</ol>\n", items(steps)))
    }

    /// One of these.
    #[must_use]
    pub(super) fn choices(self, choices: &[&str]) -> Self {
        self.html(&format!("<ul>{}</ul>\n", items(choices)))
    }

    /// A link that looks like the thing to do.
    #[must_use]
    pub(super) fn button(self, to: &str, text: &str) -> Self {
        let (to, text) = (Text(to), Text(text));
        self.html(&format!("<p><a class=\"button\" href=\"{to}\">{text}</a></p>\n"))
    }

    /// The whole answer.
    pub(super) fn into_response(self, publisher: &str, support: Option<&Url>) -> Response {
        let mut response = (self.status, self.document(publisher, support)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        keep_to_itself(headers);
        response
    }

    fn document(&self, publisher: &str, support: Option<&Url>) -> String {
        let (name, title) = (Text(publisher), Text(&self.title));
        let refresh = self.refresh_s.map_or_else(String::new, |seconds| {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">\n")
        });
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n{refresh}\
             <title>{title} – {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header>{name}</header>\n<main>\n"
        );
        if let Some((class, words)) = self.state {
            push(&mut html, format_args!("<p class=\"state {class}\">{words}</p>\n"));
        }
        push(&mut html, format_args!("<h1>{title}</h1>\n{}</main>\n<footer>", self.content));
        if let Some(support) = support {
            let shown = support.as_str().trim_start_matches("mailto:");
            let shown = shown.trim_start_matches("https://").trim_end_matches('/');
            let (to, shown) = (Text(support.as_str()), Text(shown));
            push(&mut html, format_args!("<p>Need help? <a href=\"{to}\">{shown}</a></p>"));
        }
        html.push_str("</footer>\n</body>\n</html>\n");
        html
    }
}

fn items(texts: &[&str]) -> String {
    let mut html = String::new();
    for text in texts {
        push(&mut html, format_args!("<li>{}</li>", Text(text)));
    }
    html
}

fn push(html: &mut String, what: std::fmt::Arguments<'_>) {
    let written = html.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes every write");
}

/// The headers of every answer here, pages or not: the addresses and what they show are for this
/// one person.
pub(super) fn keep_to_itself(headers: &mut axum::http::HeaderMap) {
    const ALWAYS: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Somebody comes too often.
pub(super) fn too_many(wait_s: u32) -> Page {
    Page::new(StatusCode::TOO_MANY_REQUESTS, "Please wait a moment")
        .text("This page was opened too often from your network. Nothing was changed.")
        .retry_after(wait_s)
}

/// The query's or a form's field of this name.
pub(super) fn field(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(pairs.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The digits of the code in what Entra says; the rest of it may name somebody.
pub(super) fn aadsts(said: &str) -> Option<String> {
    let code = said.split_once("AADSTS")?.1;
    let digits: String = code.chars().take_while(char::is_ascii_digit).take(10).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_somebody_wrote_becomes_markup() {
        let evil = "<script>\"'&";
        let support = Url::parse("https://x.example/?a=\"<b>&c").unwrap();
        let page = Page::new(StatusCode::OK, evil).text(evil).steps(&[evil]).button(evil, evil);
        let html = page.document(evil, Some(&support));
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("\"'&"), "{html}");
        assert!(html.contains("&lt;script&gt;&quot;&#39;&amp;"), "{html}");
    }

    #[test]
    fn the_policy_names_the_style_that_is_sent() {
        let html = Page::new(StatusCode::OK, "x").document("p", None);
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        assert!(POLICY.to_str().unwrap().contains(&format!("'sha256-{hash}'")));
    }
}
