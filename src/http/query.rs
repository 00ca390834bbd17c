//! What stands behind a question mark or in a path, read: what is wrong is named.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use super::problem::Problem;
use crate::domain::{Catalog, Product, Quoted};

/// What has to be there.
pub(super) fn needed<T: FromStr<Err: Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, Problem> {
    let wrong = |error| Problem::invalid(format!("`{field}`: {error}")).of_field(field);
    text.trim().parse().map_err(wrong)
}

/// What may be there.
pub(super) fn parsed<T: FromStr<Err: Display>>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(|text| needed(field, text)).transpose()
}

/// One of the publisher's products.
pub(super) fn product<'a>(catalog: &'a Catalog, id: &str) -> Result<&'a Arc<Product>, Problem> {
    catalog.product(id).ok_or_else(|| {
        let known: Vec<_> = catalog.products().map(|it| it.id.as_str()).collect();
        let detail = format!("{} is no product; known are: {}", Quoted(id), known.join(", "));
        Problem::unknown_product(detail)
    })
}
