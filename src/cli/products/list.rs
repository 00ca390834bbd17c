//! `products`: what the configuration sells, by which plans, and in which ways it can be licensed.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::output::{Column, Printer};
use crate::cli::{Exit, environment};
use crate::config::{Config, Solution};
use crate::decision::host::{Way, ways};
use crate::domain::{Channel, HybridMode, Plan, Product};

/// Runs it.
///
/// # Errors
///
/// There is no configuration (exit code 2), or standard output cannot be written.
pub(super) fn run(config: &Path, json: bool) -> Result<Exit, anyhow::Error> {
    let config = Config::load(config, environment())?.config;
    let printer = Printer::stdout(json);
    let none = Solution::default();
    let products = config.catalog.products().map(|it| {
        let solution = config.solutions.get(&it.id).unwrap_or(&none);
        product(it, solution)
    });
    let products: Vec<Value> = products.collect();
    let rows = if json { products } else { products.iter().flat_map(lines).collect() };
    let columns = [
        Column::text("product", "/id"),
        Column::text("name", "/name"),
        Column::text("hybrid", "/hybrid"),
        Column::text("install", "/install"),
        Column::text("licensed by", "/ways"),
        Column::text("plan", "/service_id"),
        Column::text("channel", "/channel"),
        Column::text("coverage", "/coverage"),
        Column::text("features", "/features"),
    ];
    printer.rows(&rows, &columns, "no products; add a [[product]] to the configuration")?;
    Ok(Exit::Done)
}

/// A product for programs.
fn product(it: &Product, solution: &Solution) -> Value {
    let features = it.features.iter();
    let features: serde_json::Map<String, Value> =
        features.map(|(channel, all)| (channel.to_string(), json!(list(all)))).collect();
    // Only a solution for Dynamics or Power Apps is installed by licence.
    let by_licence = it.sells_on(Channel::IsvApp).then(|| solution.install.to_string());
    json!({
        "id": it.id.as_str(),
        "name": &*it.name,
        "hybrid": it.hybrid.as_str(),
        "install": by_licence,
        "ways": ways(it).into_iter().map(Way::as_str).collect::<Vec<_>>(),
        "features": features,
        "plans": it.plans.iter().map(plan).collect::<Vec<_>>(),
    })
}

fn plan(it: &Plan) -> Value {
    let saas = it.channel == Channel::Saas;
    json!({
        "service_id": it.service_id.as_str(),
        "channel": it.channel.as_str(),
        // Of other channels Microsoft says whom a plan covers.
        "coverage": saas.then(|| it.coverage.as_str()),
        "features": list(&it.features),
        "release_after_s": saas.then(|| it.release_after.as_secs()),
        "sku_ids": it.sku_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "service_plan_ids": it.service_plan_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn list(features: &[std::sync::Arc<str>]) -> Vec<&str> {
    features.iter().map(|it| &**it).collect()
}

/// A product for people: a line for each plan and for its license of the publisher; what is the same
/// is said once.
fn lines(product: &Value) -> Vec<Value> {
    let mut rows: Vec<Value> = product["plans"].as_array().into_iter().flatten().cloned().collect();
    for channel in ["hybrid", "direct"] {
        let own = product.pointer(&format!("/features/{channel}")).cloned().unwrap_or_default();
        if own.is_array() || channel == "hybrid" && product["hybrid"] != HybridMode::None.as_str() {
            rows.push(json!({
                "service_id": "license", "channel": channel, "features": own, "coverage": null,
            }));
        }
    }
    if rows.is_empty() {
        rows.push(json!({}));
    }
    for name in ["id", "name", "hybrid", "install", "ways"] {
        let mut value = product[name].clone();
        for row in &mut rows {
            row[name] = std::mem::replace(&mut value, "".into());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_said_once_and_each_of_its_rights_in_a_line() {
        let product = json!({
            "id": "panel", "name": "Panel", "hybrid": "entra", "install": null,
            "ways": ["appsource", "hybrid entra"], "features": {"direct": ["maps"]},
            "plans": [{"service_id": "p.panel.team", "channel": "appsource", "features": ["maps"]}],
        });
        let rows = lines(&product);
        let said = |it: &Value| format!("{} {} {}", it["id"], it["service_id"], it["channel"]);
        let said: Vec<String> = rows.iter().map(said).collect();
        assert_eq!(
            said,
            [
                r#""panel" "p.panel.team" "appsource""#,
                r#""" "license" "hybrid""#,
                r#""" "license" "direct""#,
            ]
        );
        let bare = json!({"id": "b", "hybrid": "none", "features": {}, "plans": []});
        assert_eq!(lines(&bare).len(), 1);
    }
}
