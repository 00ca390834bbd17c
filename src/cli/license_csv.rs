//! `products license-csv`: the two files by which a solution package demands licences.
//!
//! Source: `visuals-and-isv.md` section 4.2.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use url::Url;

use super::output::Printer;
use super::{Advised, Exit, environment};
use crate::config::{Config, Install, Solution};
use crate::domain::Product;

/// How long publisher and offer may be together.
///
/// Source: visuals-and-isv.md section 4.2.
const IDS_MAX: usize = 40;
/// How long a plan's display name may be, in the UTF-16 units that Dataverse counts.
const NAME_MAX: usize = 300;
/// How long an address may be.
const LINK_MAX: usize = 2048;

/// The two files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    definition: Vec<u8>,
    mapping: Vec<u8>,
}

/// Runs `products license-csv`.
///
/// # Errors
///
/// The configuration lacks something that the files need, or they cannot be written.
pub(super) fn run(
    product: &str,
    out: &Path,
    config: &Path,
    json: bool,
) -> Result<Exit, anyhow::Error> {
    let config = Config::load(config, environment())?.config;
    let found = config.catalog.product(product).ok_or_else(|| {
        let known: Vec<_> = config.catalog.products().map(|it| it.id.as_str()).collect();
        let what = format!("`{product}` is no product; known are: {}", known.join(", "));
        advised(what, "use an id of a [[product]] (entitled config show)")
    })?;
    let none = Solution::default();
    let solution = config.solutions.get(&found.id).unwrap_or(&none);
    let files = files(found, solution)?;
    let written = |kind: &str, bytes: &[u8]| -> Result<PathBuf, anyhow::Error> {
        let path = out.join(format!("{product}-{kind}.csv"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    let definition = written("plan-definition", &files.definition)?;
    let mapping = written("plan-mapping", &files.mapping)?;
    let printer = Printer::stdout(json);
    if json {
        let row: Value = json!({
            "product": product, "plans": solution.plans.len(),
            "definition": definition.display().to_string(),
            "mapping": mapping.display().to_string(),
        });
        printer.rows(&[row], &[], "")?;
        return Ok(Exit::Done);
    }
    printer.line(&format!("{}\n{}", definition.display(), mapping.display()))?;
    printer.line(&format!(
        "next: pac solution add-license --planDefinitionFile {} --planMappingFile {}",
        definition.display(),
        mapping.display()
    ))?;
    Ok(Exit::Done)
}

fn advised(what: String, next: &str) -> Advised {
    Advised { what, next: next.to_owned(), exit: Exit::Usage, because: None }
}

/// The content of both files.
fn files(product: &Product, solution: &Solution) -> Result<Files, Advised> {
    let id = &product.id;
    if solution.install == Install::Anyone {
        let what = format!(
            "`{id}` may be installed without a licence (install = \"anyone\"), so its package must not \
             demand one"
        );
        return Err(advised(
            what,
            "add no licence files to its solution, or set install = \"licensed\"",
        ));
    }
    if solution.plans.is_empty() {
        let what = format!("`{id}` has no plan of channel isv_app: no solution package names one");
        return Err(advised(what, "add the plans as [[product.plan]] with channel = \"isv_app\""));
    }
    let mut definition =
        vec![["ServiceID".to_owned(), "Display name".into(), "More info URL".into()]];
    let mut mapping = vec![["Service ID".to_owned(), "Component name".into()]];
    for plan in &solution.plans {
        let service_id = &plan.service_id;
        let lacks =
            |what: String, next: &str| Err(advised(format!("plan {service_id}: {what}"), next));
        let default = || format!("{} {}", product.name, service_id.plan());
        let name = plan.name.as_ref().map_or_else(default, ToString::to_string);
        let name = name.trim().to_owned();
        if !is_display_name(&name) {
            let what = format!("its name must be one line of 1 to {NAME_MAX} characters");
            return lacks(what, "set or shorten `name` of the plan");
        }
        let ids = service_id.publisher().len().saturating_add(service_id.offer().len());
        if ids > IDS_MAX {
            let what = format!(
                "publisher id and offer id may have {IDS_MAX} characters together, and have {ids}"
            );
            return lacks(what, "look up the Service ID in Partner Center, on the plan's overview");
        }
        let Some(link) = plan.more_info.as_ref().filter(|it| is_link(it)) else {
            let what = format!(
                "it needs an address of the web of at most {LINK_MAX} characters to read more at"
            );
            return lacks(what, "set `more_info` of the plan: who has no licence is sent there");
        };
        if plan.apps.is_empty() {
            let what = "it opens no app".to_owned();
            return lacks(what, "set `apps` of the plan to the unique names of model-driven apps");
        }
        if let Some(odd) = plan.apps.iter().find(|it| !is_unique_name(it)) {
            let what = format!("`{odd}` is no unique name of an app");
            return lacks(what, "use the unique name with its prefix, such as cts_trackerapp");
        }
        definition.push([service_id.to_string(), name, link.to_string()]);
        // Dataverse does not tell names apart by their case alone.
        let mut named = BTreeSet::new();
        let apps = plan.apps.iter().filter(|app| named.insert(app.to_ascii_lowercase()));
        mapping.extend(apps.map(|app| [service_id.to_string(), app.clone()]));
    }
    Ok(Files { definition: csv(&definition), mapping: csv(&mapping) })
}

/// Whether it can be shown in the message to who has no licence. A line break would be one in the
/// file, which not every reader of CSV takes.
fn is_display_name(text: &str) -> bool {
    let length = text.encode_utf16().count();
    (1..=NAME_MAX).contains(&length) && !text.chars().any(char::is_control)
}

fn is_link(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http") && url.as_str().len() <= LINK_MAX
}

/// Dataverse names are plain.
fn is_unique_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn csv<const N: usize>(rows: &[[String; N]]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    for row in rows {
        // A Vec takes every write, and all rows have as many cells.
        drop(writer.write_record(row));
    }
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::config::SolutionPlan;
    use crate::domain::HybridMode;

    fn product() -> Product {
        Product {
            id: "tracker".parse().unwrap(),
            name: "Tracker, \"Pro\"".into(),
            hybrid: HybridMode::None,
            features: BTreeMap::new(),
            plans: Vec::new(),
        }
    }

    fn plan(id: &str, name: Option<&str>, apps: &[&str]) -> SolutionPlan {
        SolutionPlan {
            service_id: id.parse().unwrap(),
            name: name.map(Into::into),
            more_info: Some("https://contoso.test/gold".parse().unwrap()),
            apps: apps.iter().map(ToString::to_string).collect(),
        }
    }

    fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        let row =
            |it: Result<csv::StringRecord, _>| it.unwrap().iter().map(str::to_owned).collect();
        reader.records().map(row).collect()
    }

    #[test]
    fn both_files_read_back_by_the_rules_of_the_tool_that_takes_them() {
        let plans = vec![
            plan("contoso.tracker.gold", Some("Tracker Gold"), &["cts_trackerapp", "cts_admin"]),
            plan("contoso.tracker.silver", None, &["cts_trackerapp"]),
        ];
        let files = files(&product(), &Solution { install: Install::Licensed, plans }).unwrap();
        let (definition, mapping) = (rows(&files.definition), rows(&files.mapping));
        assert_eq!(definition[0], ["ServiceID", "Display name", "More info URL"]);
        assert_eq!(definition[1][1], "Tracker Gold");
        assert_eq!(definition[2][1], "Tracker, \"Pro\" silver");
        assert_eq!(mapping[0], ["Service ID", "Component name"]);
        let defined: BTreeSet<&str> = definition[1..].iter().map(|it| it[0].as_str()).collect();
        let mapped: Vec<(&str, &str)> =
            mapping[1..].iter().map(|it| (it[0].as_str(), it[1].as_str())).collect();
        assert_eq!(
            mapped,
            [
                ("contoso.tracker.gold", "cts_trackerapp"),
                ("contoso.tracker.gold", "cts_admin"),
                ("contoso.tracker.silver", "cts_trackerapp"),
            ]
        );
        assert_eq!(defined, mapped.iter().map(|it| it.0).collect());
        for row in &definition[1..] {
            assert_eq!(row[0].split('.').count(), 3, "{row:?}");
            assert!(row[2].starts_with("https://") && row[1].chars().count() <= NAME_MAX);
        }
    }

    #[test]
    fn what_the_files_need_and_the_configuration_lacks_is_said() {
        let check = |solution: Solution, says: &str| {
            let error = files(&product(), &solution).unwrap_err();
            assert!(error.what.contains(says), "{says} in {}", error.what);
            assert_eq!(error.exit, Exit::Usage);
        };
        let with = |plan| Solution { install: Install::Licensed, plans: vec![plan] };
        let good = || plan("contoso.tracker.gold", None, &["cts_trackerapp"]);
        check(Solution::default(), "no plan of channel isv_app");
        check(Solution { install: Install::Anyone, plans: vec![good()] }, "must not demand one");
        check(with(SolutionPlan { more_info: None, ..good() }), "to read more at");
        check(with(SolutionPlan { apps: Vec::new(), ..good() }), "opens no app");
        check(with(plan("contoso.tracker.gold", None, &["my app"])), "`my app` is no unique name");
        let long = format!("contoso.{}.gold", "x".repeat(41));
        check(with(plan(&long, None, &["a"])), "40 characters");
        check(with(plan("c.t.g", None, &["a", ""])), "`` is no unique name");
        let link = |text: &str| SolutionPlan { more_info: Some(text.parse().unwrap()), ..good() };
        check(with(link("mailto:sales@contoso.test")), "to read more at");
        check(with(link(&format!("https://contoso.test/{}", "x".repeat(2048)))), "read more at");
        let name = |text: &str| with(plan("c.t.g", Some(text), &["a"]));
        for bad in ["", "  ", &"x".repeat(301), &"\u{1f3c5}".repeat(151), "Gold\nSilver", "a\tb"] {
            check(name(bad), "one line of 1 to 300 characters");
        }
        for good in ["x", &"x".repeat(300), &"\u{e9}".repeat(300), &"\u{1f3c5}".repeat(150)] {
            assert!(files(&product(), &name(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn whatever_a_name_holds_every_row_has_its_columns_and_reads_back() {
        let names = [
            "Gold, \"Silver\", Bronze",
            "\"",
            "\"\"quoted\"\"",
            ",",
            "caf\u{e9} \u{91d1} \u{1f3c5} \u{5d0}",
            "=1+1;x|y",
            " padded ",
            "it's 'so'",
        ];
        let plans: Vec<_> = (0..1_000_usize)
            .map(|n| SolutionPlan {
                more_info: Some(
                    format!("https://contoso.test/a,b?q=\"{n}\"&\u{e9}").parse().unwrap(),
                ),
                ..plan(
                    &format!("contoso.tracker.plan{n}"),
                    names.get(n % (names.len() + 1)).copied(),
                    &["cts_trackerapp", "CTS_TrackerApp", "cts_admin"],
                )
            })
            .collect();
        let solution = Solution { install: Install::Licensed, plans };
        let files = files(&product(), &solution).unwrap();
        // The header to the letter, one record a line, UTF-8 without a mark before it.
        let text = String::from_utf8(files.definition.clone()).unwrap();
        assert!(text.starts_with("ServiceID,Display name,More info URL\n"), "{text}");
        assert_eq!(text.lines().count(), 1_001);
        let text = String::from_utf8(files.mapping.clone()).unwrap();
        assert!(text.starts_with("Service ID,Component name\n"), "{text}");
        let (definition, mapping) = (rows(&files.definition), rows(&files.mapping));
        assert_eq!((definition.len(), mapping.len()), (1_001, 2_001), "an app named twice is one");
        for (n, (row, plan)) in definition[1..].iter().zip(&solution.plans).enumerate() {
            let id = plan.service_id.to_string();
            let default = format!("Tracker, \"Pro\" plan{n}");
            let name = plan.name.as_deref().map_or(default.as_str(), str::trim);
            let link = plan.more_info.as_ref().unwrap().as_str();
            assert_eq!(row[..], [id.as_str(), name, link]);
            let apps = [&mapping[1 + 2 * n], &mapping[2 + 2 * n]];
            assert_eq!(apps.map(|it| it[0].as_str()), [id.as_str(), id.as_str()]);
            assert_eq!(apps.map(|it| it[1].as_str()), ["cts_trackerapp", "cts_admin"]);
        }
    }
}
