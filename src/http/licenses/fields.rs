//! Reads what is sold, or what is done to a license, field by field: what is wrong is named.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use url::Url;

use crate::domain::{
    BillingCycle, Catalog, LicenseChange, LicenseKind, NewPeriod, OverLimit, Quoted, Sale,
};
use crate::http::problem::Problem;

/// The longest text of a field, in characters.
const LONGEST: usize = 400;

/// The fields of a body; unknown ones are ignored, `null` is as good as absent.
pub(in crate::http) struct Fields<'a>(pub(in crate::http) &'a Map<String, Value>);

fn wrong(field: &'static str, why: impl Display) -> Problem {
    Problem::invalid(format!("`{field}`: {why}")).of_field(field)
}

impl Fields<'_> {
    /// What is sold.
    pub(in crate::http) fn sale(&self, catalog: &Catalog) -> Result<Sale, Problem> {
        let needed = |field, what: &str| wrong(field, format!("it is missing: {what}"));
        let known = || {
            let known: Vec<_> = catalog.products().map(|it| it.id.as_str()).collect();
            format!("the products of this publisher are: {}", known.join(", "))
        };
        let product = self.text("product")?.ok_or_else(|| needed("product", &known()))?;
        let product = catalog.product(&product).ok_or_else(|| {
            wrong("product", format!("{} is no product; {}", Quoted(&product), known()))
        })?;
        let kinds = "it is user, capacity or site";
        let kind = self.word("kind")?.ok_or_else(|| needed("kind", kinds))?;
        let licensee = self.text("licensee")?;
        let licensee = licensee.ok_or_else(|| needed("licensee", "whom it is made out to"))?;
        let tenants = self.number("tenants_max")?.unwrap_or(1);
        Ok(Sale {
            product: product.id.clone(),
            kind,
            max: self.number("max")?,
            node: self.text("node")?,
            licensee,
            billing: self.text("billing")?,
            domain: self.domain()?,
            over_limit: self.word::<OverLimit>("over_limit")?,
            cycle: self.word::<BillingCycle>("cycle")?,
            period_start: self.moment("period_start")?,
            period_end: self.moment("period_end")?,
            trial_end: self.moment("trial_end")?,
            tenants_max: u32::try_from(tenants).unwrap_or(u32::MAX),
        })
    }

    /// A new period.
    pub(super) fn period(&self) -> Result<NewPeriod, Problem> {
        Ok(NewPeriod { end: self.moment("period_end")?, cycle: self.word("cycle")? })
    }

    /// What changes.
    pub(super) fn change(&self) -> Result<LicenseChange, Problem> {
        let tenants = self.number("tenants_max")?;
        Ok(LicenseChange {
            max: self.number("max")?,
            kind: self.word::<LicenseKind>("kind")?,
            node: self.text("node")?,
            domain: self.domain()?,
            over_limit: self.word("over_limit")?,
            tenants_max: tenants.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
            licensee: self.text("licensee")?,
            billing: self.text("billing")?,
            period: self.period()?,
        })
    }

    /// The price of the period that ends.
    pub(super) fn price(&self) -> Result<Option<f64>, Problem> {
        match self.of("price") {
            None => Ok(None),
            Some(Value::String(text)) => amount("price", text).map(Some),
            Some(it) => amount("price", &it.to_string()).map(Some),
        }
    }

    fn of(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|it| !it.is_null())
    }

    pub(super) fn text(&self, field: &'static str) -> Result<Option<Arc<str>>, Problem> {
        let Some(value) = self.of(field) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong(field, "it is no text"))?.trim();
        if text.is_empty() {
            return Err(wrong(field, "it is empty"));
        }
        if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            return Err(wrong(field, "it has 1 to 400 printable characters"));
        }
        Ok(Some(text.into()))
    }

    /// A whole number, also as text: the command line has nothing else.
    fn number(&self, field: &'static str) -> Result<Option<u64>, Problem> {
        let number = match self.of(field) {
            None => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(it) => it.as_u64(),
        };
        number.map(Some).ok_or_else(|| wrong(field, "it is no whole number"))
    }

    pub(super) fn word<T: FromStr<Err: Display>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, Problem> {
        let text = self.text(field)?;
        text.map(|it| it.parse().map_err(|error| wrong(field, error))).transpose()
    }

    /// A moment, or a day: its first moment (UTC).
    pub(super) fn moment(&self, field: &'static str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        moment(&text).map(Some).ok_or_else(|| {
            wrong(field, "write a moment (2026-11-01T08:00:00Z) or a day (2026-11-01)")
        })
    }

    /// A host name as browsers write it: lower case, international names in ASCII.
    fn domain(&self) -> Result<Option<Arc<str>>, Problem> {
        let Some(text) = self.text("domain")? else { return Ok(None) };
        host_of(&text)
            .map(|it| Some(it.into()))
            .ok_or_else(|| wrong("domain", "it is no host name; one looks like bi.contoso.example"))
    }
}

/// An amount of money, in whatever currency the publisher thinks in.
pub(in crate::http) fn amount(field: &'static str, text: &str) -> Result<f64, Problem> {
    let amount: Option<f64> = text.trim().parse().ok();
    let amount = amount.filter(|it| it.is_finite() && *it >= 0.0);
    amount.ok_or_else(|| wrong(field, "it is no amount"))
}

/// RFC 3339, or a day.
pub(in crate::http) fn moment(text: &str) -> Option<Timestamp> {
    // A date's parser would also take a moment without an offset, and drop its time.
    if text.len() > 10 {
        return text.parse().ok();
    }
    Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The host in a URL or of a host name alone, as browsers write it.
pub(in crate::http) fn host_of(text: &str) -> Option<String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let host = Url::parse(&whole).ok()?.host_str()?.trim_end_matches('.').to_owned();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn moments_are_rfc_3339_or_days() {
        let at = |text: &str| moment(text).map(|it| it.to_string());
        assert_eq!(at("2026-11-01").as_deref(), Some("2026-11-01T00:00:00Z"));
        assert_eq!(at("2026-11-01T08:00:00+01:00").as_deref(), Some("2026-11-01T07:00:00Z"));
        for wrong in ["", "1", "2026-13-01", "2026-02-30", "tomorrow", "2026-11-01T08:00:00"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_domain_is_a_host_however_it_is_written() {
        let host = |text: &str| host_of(text);
        for text in ["BÜCHER.example", "https://bücher.example:8443/x", "xn--bcher-kva.example."]
        {
            assert_eq!(host(text).as_deref(), Some("xn--bcher-kva.example"), "{text}");
        }
        assert_eq!(host("https://a.example@evil.test/").as_deref(), Some("evil.test"));
        assert_eq!((host(""), host("https://"), host("a b")), (None, None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let catalog = Catalog::new([]);
        let check = |body: Value, field: &str| {
            let Value::Object(body) = body else { panic!() };
            let problem = Fields(&body).sale(&catalog).unwrap_err();
            let said = serde_json::to_value(problem.body()).unwrap();
            assert_eq!((said["field"].as_str(), said["status"].as_u64()), (Some(field), Some(422)));
        };
        check(json!({}), "product");
        check(json!({"product": 3}), "product");
        check(json!({"product": "none"}), "product");
        let fields = |body: Value| body.as_object().cloned().unwrap_or_default();
        for (body, field) in [
            (json!({"max": "ten"}), "max"),
            (json!({"max": -1}), "max"),
            (json!({"kind": "team"}), "kind"),
            (json!({"period_end": "soon"}), "period_end"),
            (json!({"cycle": "daily"}), "cycle"),
            (json!({"over_limit": "maybe"}), "over_limit"),
            (json!({"domain": "a b"}), "domain"),
        ] {
            let problem = Fields(&fields(body)).change().unwrap_err();
            assert_eq!(serde_json::to_value(problem.body()).unwrap()["field"], field);
        }
    }
}
