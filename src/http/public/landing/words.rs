//! The pages that are about no purchase: what went wrong, and what to click.

use axum::http::StatusCode;

use super::seal::Person;
use crate::http::markup::Text;
use crate::http::public::page::Page;

/// How a buyer gets a fresh link.
///
/// Source: `marketplace-saas.md` section 4.
const REOPEN: [&str; 2] = [
    "Bought in the Azure portal: open portal.azure.com, go to SaaS, choose the subscription, and \
     click Configure account now (or Open SaaS account on publisher's site).",
    "Bought in Microsoft AppSource or the Microsoft 365 admin center: open admin.microsoft.com, go \
     to Billing, Your products, choose the subscription, and click Configure account (or Manage).",
];

/// What comes of it.
const COME_BACK: &str = "Either way brings you back to this page, with a new link.";

/// There is no token in the address.
pub(super) fn no_token() -> Page {
    Page::new(StatusCode::BAD_REQUEST, "Please open this page from Microsoft")
        .text(
            "This page completes a purchase that was made at Microsoft. It needs the link that \
             Microsoft makes for you, and that link is missing or incomplete here.",
        )
        .choices(&REOPEN)
        .text(COME_BACK)
}

/// Microsoft does not know the token, or no longer.
pub(super) fn expired() -> Page {
    Page::new(StatusCode::BAD_REQUEST, "This link has expired")
        .state("warn", "Nothing was changed")
        .text(
            "A link from Microsoft is good for 24 hours, and this one is too old or incomplete. \
             Your purchase is safe: you only need a new link.",
        )
        .choices(&REOPEN)
        .text(COME_BACK)
}

/// There is no session, or no longer.
pub(super) fn over() -> Page {
    Page::new(StatusCode::FORBIDDEN, "Please open your purchase again")
        .state("warn", "Nothing was changed")
        .text(
            "For your safety a visit to this page ends after an hour, and your browser has to \
             accept cookies for it. Your purchase is safe.",
        )
        .choices(&REOPEN)
        .text(COME_BACK)
}

/// The form is another visit's.
pub(super) fn other_form() -> Page {
    Page::new(StatusCode::FORBIDDEN, "Please try again").state("warn", "Nothing was changed").text(
        "What was sent does not belong to the purchase that is open in this browser now, \
             perhaps because two purchases were opened at once.",
    )
}

/// Somebody came back from a sign-in that was not begun here.
pub(super) fn other_sign_in(path: &str) -> Page {
    Page::new(StatusCode::BAD_REQUEST, "Please sign in again")
        .state("warn", "Not signed in")
        .text(
            "This sign-in was not begun in this browser, took too long, or another one was begun \
             after it.",
        )
        .button(&format!("{path}/account"), "Sign in")
}

/// The code was not good, or what it brought is not to be believed.
pub(super) fn sign_in_again(path: &str) -> Page {
    Page::new(StatusCode::BAD_REQUEST, "Please sign in again")
        .state("warn", "Not signed in")
        .text("Microsoft did not confirm who you are. That happens when a sign-in takes too long.")
        .button(&format!("{path}/account"), "Sign in")
}

/// Entra sent the person back without signing in. `code` are the digits of its AADSTS code.
pub(super) fn not_signed_in(path: &str, cancelled: bool, code: Option<&str>) -> Page {
    let page = Page::new(StatusCode::FORBIDDEN, "You are not signed in")
        .state("warn", "Nothing was changed");
    let page = if cancelled {
        page.text("You left the sign-in. To complete your purchase, please sign in.")
    } else {
        page.text(
            "Microsoft did not let you sign in. Your organization may require an administrator to \
             approve this app first: please ask your administrator to open this page, or try \
             another account.",
        )
    };
    let page = match code {
        Some(code) => page.text(&format!("Microsoft's reason: AADSTS{code}.")),
        None => page,
    };
    page.button(&format!("{path}/account"), "Sign in")
}

/// The purchase belongs to others.
pub(super) fn not_yours(person: &Person, path: &str) -> Page {
    Page::new(StatusCode::FORBIDDEN, "This purchase belongs to another organization")
        .state("warn", "Nothing was changed")
        .text(
            "It can be seen and activated by the organization it was bought for and by the one \
             that bought it. The account that you are signed in with belongs to neither.",
        )
        .text("Please use the account that you use at Microsoft for this purchase.")
        .button(&format!("{path}/account"), "Use another account")
        .html(&format!("<p class=\"who\">Signed in as {}.</p>\n", shown(person)))
}

/// Microsoft cannot be asked now.
pub(super) fn away(to: &str, has_support: bool) -> Page {
    Page::new(StatusCode::SERVICE_UNAVAILABLE, "Microsoft does not answer at the moment")
        .state("warn", "Please try again")
        .text(&format!(
            "Your purchase is safe and nothing was lost. Please try again in a minute.{}",
            support_line(has_support)
        ))
        .button(to, "Try again")
        .retry_after(60)
}

/// Something that only the publisher can mend. `operator` says what, in words for him.
pub(super) fn trouble(operator: &str, has_support: bool) -> Page {
    Page::new(StatusCode::SERVICE_UNAVAILABLE, "This page does not work at the moment")
        .state("bad", "Nothing was changed")
        .text(&format!(
            "Your purchase is safe. The reason is on our side, and we have to mend it first. \
             Please come back later by the same way.{}",
            support_line(has_support)
        ))
        .html("<h2>For the operator of this page</h2>\n")
        .text(operator)
        .retry_after(600)
}

/// Microsoft refuses, and only people can find out why.
pub(super) fn refused(has_support: bool) -> Page {
    Page::new(StatusCode::CONFLICT, "Microsoft did not accept the activation")
        .state("bad", "Not activated")
        .text(&format!(
            "Microsoft refuses to activate this subscription at the moment. You are not billed \
             for it. Please look at the subscription where you bought it, and try again.{}",
            support_line(has_support)
        ))
}

/// The request is no form of ours.
pub(super) fn malformed() -> Page {
    Page::new(StatusCode::BAD_REQUEST, "That was no form of this page")
        .state("warn", "Nothing was changed")
        .text("Please go back and try again.")
}

/// Points to the address at the foot of the page, if there is one.
pub(super) fn support_line(has_support: bool) -> &'static str {
    if has_support { " If it does not help, write to us: see below." } else { "" }
}

/// Who is signed in, and how to be somebody else.
pub(super) fn person_line(person: &Person, path: &str) -> String {
    let (shown, path) = (shown(person), Text(path));
    format!(
        "<p class=\"who\">Signed in as {shown}. <a href=\"{path}/account\">Use another account</a>\
         </p>\n"
    )
}

/// What a person is called, as HTML.
fn shown(person: &Person) -> String {
    let login = person.login.as_deref().or(person.email.as_deref());
    match (person.name.as_deref(), login) {
        (Some(name), Some(login)) if name != login => {
            format!("<strong>{}</strong> ({})", Text(name), Text(login))
        }
        (Some(one), _) | (None, Some(one)) => format!("<strong>{}</strong>", Text(one)),
        (None, None) => "<strong>an account without a name</strong>".to_owned(),
    }
}
