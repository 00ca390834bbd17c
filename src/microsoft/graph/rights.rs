//! `users/{id}/usageRights`, of the beta: what a user may use, without saying how he came by it.
//!
//! Source: graph-licensing.md section 3; visuals-and-isv.md section 4.7.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Graph;
use super::batch::{BatchMiss, ITEMS_MAX, Kind, Question};
use crate::domain::{TenantId, UserId};
use crate::microsoft::error::MicrosoftError;
use crate::microsoft::json;
use crate::microsoft::meter::Meter;

/// The most pages of one user's rights that are read: what has more is no list of licences.
const PAGES_MAX: usize = 20;

/// One row of a user's usage rights, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightRow {
    /// `serviceIdentifier`.
    pub identifier: String,
    /// `catalogId`.
    pub catalog: Option<String>,
    /// `state`, whatever the word.
    pub state: String,
}

/// A user's usage rights, or why they were not read.
pub type RightsOf = (UserId, Result<Vec<RightRow>, BatchMiss>);

struct Page {
    rows: Vec<RightRow>,
    next: Option<String>,
}

/// Words added to `state` later come as they are instead of `unknownFutureValue`.
const RIGHTS: Kind<Page> = Kind {
    name: "POST /beta/$batch (usageRights)",
    target: "/beta/$batch",
    prefer: Some("include-unknown-enum-members"),
    read: page,
};

impl Graph {
    /// The usage rights of these users, in the order asked for, each with all its pages. An empty
    /// list says only that this app sees none.
    ///
    /// # Errors
    ///
    /// As [`Graph::assignment_states`]; [`ErrorKind::Consent`](crate::microsoft::ErrorKind) may
    /// also mean that Microsoft does not count this app as the publisher's.
    pub async fn usage_rights(
        &self,
        meter: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> Result<Vec<RightsOf>, MicrosoftError> {
        let mut all = Vec::with_capacity(users.len());
        for chunk in users.chunks(ITEMS_MAX) {
            let mut found = self.rights_of(meter, tenant, chunk).await?;
            all.extend(chunk.iter().filter_map(|user| Some((*user, found.remove(user)?))));
        }
        Ok(all)
    }

    async fn rights_of(
        &self,
        meter: &Meter,
        tenant: TenantId,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Result<Vec<RightRow>, BatchMiss>>, MicrosoftError> {
        let mut found: HashMap<UserId, Result<Vec<RightRow>, BatchMiss>> = HashMap::new();
        let mut open: Vec<Question> =
            users.iter().map(|user| (*user, format!("/users/{user}/usageRights"))).collect();
        for _ in 0..PAGES_MAX {
            if open.is_empty() {
                return Ok(found);
            }
            let pages = self.batch_to_the_end(meter, tenant, &RIGHTS, open).await?;
            let mut next = BTreeMap::new();
            for (user, page) in pages {
                match page {
                    Ok(page) => {
                        next.extend(page.next.map(|link| (user, link)));
                        if let Ok(rows) = found.entry(user).or_insert_with(|| Ok(Vec::new())) {
                            rows.extend(page.rows);
                        }
                    }
                    // Half a list is none.
                    Err(miss) => drop(found.insert(user, Err(miss))),
                }
            }
            open = next.into_iter().collect();
        }
        let endless = || BatchMiss::Odd(format!("his rights have more than {PAGES_MAX} pages"));
        found.extend(open.into_iter().map(|(user, _)| (user, Err(endless()))));
        Ok(found)
    }
}

/// One page of a user's rights. A row without identifier or state makes the whole list one that was
/// not read: what is missing in it might be the row that counts.
fn page(graph: &Graph, user: UserId, body: &Value) -> Result<Page, String> {
    // An empty list says something; `null` does not.
    let rows =
        body.get("value").and_then(Value::as_array).ok_or("it has no `value` with a list")?;
    let next = match body.get("@odata.nextLink") {
        None | Some(Value::Null) => None,
        Some(Value::String(link)) if link.trim().is_empty() => None,
        Some(Value::String(link)) => Some(below(graph, user, link)?),
        Some(_) => return Err("its next link is no text".into()),
    };
    Ok(Page { rows: rows.iter().map(row).collect::<Result<_, _>>()?, next })
}

/// The path of a next page, as an item of a batch names it: below the version. A link to somebody
/// else's rights is not followed.
fn below(graph: &Graph, user: UserId, link: &str) -> Result<String, String> {
    let target = graph.base.target(link).map_err(|bad| MicrosoftError::from(bad).to_string())?;
    let path = target.strip_prefix("/beta").unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    let own = [format!("/users/{user}/usagerights?"), format!("/users('{user}')/usagerights?")];
    let is_own = own.iter().any(|it| lower.starts_with(it));
    is_own.then(|| path.to_owned()).ok_or_else(|| "its next link leads elsewhere".into())
}

fn row(value: &Value) -> Result<RightRow, String> {
    let text = |key| json::word(value, key).filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(RightRow {
        identifier: text("serviceIdentifier").ok_or("a right has no `serviceIdentifier`")?,
        catalog: text("catalogId"),
        state: text("state").ok_or("a right has no `state`")?,
    })
}
