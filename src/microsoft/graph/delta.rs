//! Delta sequences: what changed since a cursor, page by page. Source: graph-licensing.md section 5.

use std::sync::Arc;

use serde_json::Value;

use super::endpoint::Endpoint;
use super::verdict::Linked;
use super::{Graph, Rows, UserRow, address};
use crate::domain::TenantId;
use crate::microsoft::error::MicrosoftError;
use crate::microsoft::http::{Answer, Outgoing};
use crate::microsoft::json::{self, Read};
use crate::microsoft::link::Link;
use crate::microsoft::meter::Meter;

/// Where a delta sequence begins or goes on.
#[derive(Clone, Copy, Debug)]
pub enum DeltaFrom<'a> {
    /// Everything.
    Start,
    /// What changed since the sequence that ended with this [`PageEnd::Delta`].
    Cursor(&'a str),
    /// The next page.
    Next(&'a Link),
}

/// A page of a delta sequence.
#[derive(Clone, Debug)]
pub struct DeltaPage<T = UserRow> {
    /// In Microsoft's order; the same object may come more than once.
    pub rows: Vec<Read<T>>,
    /// What follows.
    pub end: PageEnd,
}

/// What follows a page of a delta sequence.
#[derive(Clone, Debug)]
pub enum PageEnd {
    /// Another page, even when this one was empty.
    Next(Link),
    /// Nothing: the cursor of the next round. Stands for the pages before it, so it is kept only
    /// together with them.
    Delta(Arc<str>),
}

impl Graph {
    /// One page of a sequence that begins with the request `first`. From a cursor on, only changed
    /// properties come (`return=minimal`).
    pub(super) async fn sequence<T>(
        &self,
        meter: &Meter,
        tenant: TenantId,
        (endpoint, from): (Endpoint, DeltaFrom<'_>),
        first: impl Future<Output = Result<Outgoing, MicrosoftError>>,
        row: fn(&Value) -> Result<T, String>,
    ) -> Result<DeltaPage<T>, MicrosoftError> {
        let (mut request, before, minimal) = match from {
            DeltaFrom::Start => (first.await?, None, false),
            DeltaFrom::Cursor(cursor) => {
                (self.requests.along(&self.base.target(cursor)?).await?, None, true)
            }
            DeltaFrom::Next(link) => {
                (self.requests.along(link.as_str()).await?, Some(link), link.is_minimal())
            }
        };
        if minimal {
            request = request.with("prefer", "return=minimal");
        }
        let read = |answer: &Answer| {
            let page: Rows<'_> = json::body(endpoint.name, answer)?;
            let rows = page.value.ok_or_else(|| json::no_json(endpoint.name, answer))?;
            let next = address(endpoint, answer, page.next)?;
            let delta = address(endpoint, answer, page.delta)?;
            let end = match (next, delta) {
                (Some(next), _) => {
                    PageEnd::Next(Link::after(before, self.base.target(&next)?, minimal)?)
                }
                (None, Some(delta)) => PageEnd::Delta(self.base.target(&delta)?.into()),
                // Neither link: cut off, not finished.
                (None, None) => return Err(json::no_json(endpoint.name, answer)),
            };
            let rows = rows.into_iter().map(|raw| Read::of(raw, row)).collect();
            Ok(DeltaPage { rows, end })
        };
        let linked = match from {
            DeltaFrom::Start => Linked::No,
            DeltaFrom::Cursor(_) => Linked::Cursor,
            DeltaFrom::Next(_) => Linked::Page,
        };
        self.call(meter, tenant, endpoint, &request, linked, read).await
    }
}
