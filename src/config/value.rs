//! Single values: durations, shares, links, and how each reads from a file or a variable.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::SignedDuration;
use serde_json::json;
use url::{Host, Url};

use super::tree::{Node, Value};
use super::{AcceptChanges, Install, Origin, Permission, environment};
use crate::domain::{
    Channel, Coverage, HybridMode, NoticeWish, OnStale, OverLimit, ProductId, ServiceId,
    ServicePlanId, Share, SkuId, TenantId,
};

/// A value that a key can have.
pub(super) trait Readable: Sized {
    /// Reads it; the error says what is wrong and what would be right.
    fn read(node: &Node) -> Result<Self, String>;

    /// How `config show` shows it.
    fn show(&self) -> serde_json::Value;
}

fn text<'n>(node: &'n Node, wanted: &str) -> Result<&'n str, String> {
    match &node.value {
        Value::Text(it) => Ok(it.trim()),
        Value::Number(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Switch(_)
        | Value::Other(_) => Err(format!("this is {}; write {wanted}", node.kind())),
    }
}

/// Types that are written as one text: what to write, and how it reads.
macro_rules! from_text {
    ($($type:ty: $wanted:literal, $parse:expr;)+) => {
        $(impl Readable for $type {
            fn read(node: &Node) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$type, String> = $parse;
                parse(text(node, $wanted)?)
            }

            fn show(&self) -> serde_json::Value {
                json!(self.to_string())
            }
        })+
    };
}

/// [`FromStr`] with its error in words.
pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

from_text! {
    TenantId: "a GUID in quotes", parsed;
    SkuId: "a GUID in quotes", parsed;
    ServicePlanId: "a GUID in quotes", parsed;
    ProductId: "an id in quotes", parsed;
    ServiceId: "publisher.offer.plan in quotes", parsed;
    Channel: "a channel in quotes", parsed;
    Coverage: "\"tenant\" or \"seats\"", parsed;
    HybridMode: "\"entra\", \"licensee\" or \"none\"", parsed;
    Install: "\"licensed\" or \"anyone\"", parsed;
    OnStale: "\"grace\" or \"deny\"", parsed;
    OverLimit: "\"warn\" or \"deny\"", parsed;
    AcceptChanges: "\"always\", \"known_plans\" or \"hold\"", parsed;
    Permission: "a permission in quotes", parsed;
    NoticeWish: "an event type in quotes", parsed;
    Url: "a link in quotes", link;
    SocketAddr: "an address in quotes, such as \"127.0.0.1:8080\"", address;
}

impl Readable for String {
    fn read(node: &Node) -> Result<Self, String> {
        match text(node, "a text in quotes")? {
            "" => Err("it is empty; write a value, or leave the key out".to_owned()),
            it => Ok(it.to_owned()),
        }
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Readable for bool {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Switch(it) => Ok(*it),
            // From the environment everything is text.
            Value::Text(it) => match it.trim() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("write true or false".to_owned()),
            },
            Value::Number(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                Err(format!("this is {}; write true or false", node.kind()))
            }
        }
    }

    fn show(&self) -> serde_json::Value {
        json!(self)
    }
}

impl Readable for PathBuf {
    fn read(node: &Node) -> Result<Self, String> {
        String::read(node).map(Self::from)
    }

    fn show(&self) -> serde_json::Value {
        json!(self.display().to_string())
    }
}

impl<T: Readable> Readable for Vec<T> {
    fn read(node: &Node) -> Result<Self, String> {
        let numbered = |(at, it): (usize, &Node)| {
            T::read(it).map_err(|error| format!("entry {}: {error}", at.saturating_add(1)))
        };
        match &node.value {
            Value::List(it) => it.iter().enumerate().map(numbered).collect(),
            Value::Text(it) if matches!(node.origin, Origin::Environment(_)) => {
                environment::list(it, &node.origin)?.iter().enumerate().map(numbered).collect()
            }
            Value::Text(_)
            | Value::Number(_)
            | Value::Table(_)
            | Value::Switch(_)
            | Value::Other(_) => {
                Err(format!("this is {}; write a list: [\"…\", \"…\"]", node.kind()))
            }
        }
    }

    fn show(&self) -> serde_json::Value {
        self.iter().map(T::show).collect()
    }
}

impl Readable for SignedDuration {
    fn read(node: &Node) -> Result<Self, String> {
        duration(text(node, "a number and s, m, h or d in quotes, such as \"15m\"")?)
    }

    fn show(&self) -> serde_json::Value {
        json!(in_words(*self))
    }
}

/// How often something is done, or `"off"`: never.
pub(super) struct Often(pub(super) Option<SignedDuration>);

impl Readable for Often {
    fn read(node: &Node) -> Result<Self, String> {
        let wanted = "a number and s, m, h or d in quotes, such as \"30m\", or \"off\"";
        match text(node, wanted)? {
            "off" => Ok(Self(None)),
            it => match duration(it) {
                Ok(it) if it.is_zero() => Err(format!("zero makes no sense here; write {wanted}")),
                Ok(it) => Ok(Self(Some(it))),
                Err(why) => Err(format!("{why}, or \"off\"")),
            },
        }
    }

    fn show(&self) -> serde_json::Value {
        json!(self.0.map_or_else(|| "off".to_owned(), in_words))
    }
}

/// No duration of the configuration is longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

/// A duration as the configuration writes it: a number and `s`, `m`, `h` or `d`.
///
/// # Errors
///
/// It is none, or longer than ten years; the message says what to write.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || {
        let shown: String = text.chars().take(40).collect();
        format!("`{shown}` is no duration; write a number and s, m, h or d, such as \"15m\"")
    };
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default().trim_end();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let total = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds));
    match total.map(SignedDuration::from_secs) {
        Some(it) if it <= LONGEST => Ok(it),
        Some(_) | None => Err(format!("`{text}` is too long; ten years (\"3650d\") is the most")),
    }
}

/// The duration as the configuration would write it; days only from four of them on (`72h`).
pub(super) fn in_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, 4, 'd'), (3_600, 1, 'h'), (60, 1, 'm')];
    let fits = |(size, least, _): &&(i64, i64, char)| {
        seconds % size == 0 && seconds >= size.saturating_mul(*least)
    };
    let whole = units.iter().find(fits).map(|(size, _, unit)| (size, unit));
    whole.map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

impl Readable for Share {
    fn read(node: &Node) -> Result<Self, String> {
        match &node.value {
            Value::Text(it) | Value::Number(it) => it.trim().parse(),
            Value::List(_) | Value::Table(_) | Value::Switch(_) | Value::Other(_) => {
                Err(format!("this is {}; write a percentage such as \"20%\"", node.kind()))
            }
        }
    }

    fn show(&self) -> serde_json::Value {
        json!(self.to_string())
    }
}

/// An address to listen on.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_bad| {
        let shown: String = text.chars().take(60).collect();
        format!("`{shown}` is no address; write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    })
}

/// A link that something may be sent to: https, or http to this very machine.
fn link(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is no link ({error}); write the whole of it, such as https://host.example")
    })?;
    let local = is_loopback(&url);
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err("plain http is for loopback only; write https://".to_owned()),
        other => return Err(format!("`{other}:` is no way to reach it; write https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password; a link is no place for them".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("leave out everything from `?` or `#` on".to_owned());
    }
    Ok(url)
}

/// Whether the link leads to this very machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let check = |text, seconds| {
            assert_eq!(duration(text).ok(), seconds, "{text}");
        };
        let s = |it| Some(SignedDuration::from_secs(it));
        check("90m", s(5_400));
        check("72h", s(259_200));
        check("30d", s(2_592_000));
        check("0s", s(0));
        check("10 m", s(600));
        for wrong in ["", "m", "15", "1.5h", "-1m", "15 minutes", "mm", "1mm", "٣m", "99999d"] {
            check(wrong, None);
        }
        check("9223372036854775807d", None);
    }

    #[test]
    fn a_duration_is_shown_as_it_would_be_written() {
        for text in ["90m", "72h", "7d", "7s", "1h", "0s"] {
            assert_eq!(in_words(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for right in [
            "https://graph.microsoft.com",
            "http://127.0.0.1:4000/graph",
            "http://[::1]:1",
            "http://localhost:9",
        ] {
            assert!(link(right).is_ok(), "{right}");
        }
        for wrong in [
            "http://graph.microsoft.com",
            "http://127.0.0.1.evil.example",
            "ftp://127.0.0.1",
            "graph.microsoft.com",
            "https://me:pw@host.example",
            "https://host.example/?a=b",
            "https://host.example/#x",
            "",
        ] {
            assert!(link(wrong).is_err(), "{wrong}");
        }
    }
}
