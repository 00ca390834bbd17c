//! What tenants permit our app: a bar for each permission, and the tenants that lack one with what
//! still works there.

use super::page::{SHOWN, legend, table};
use super::svg::{self, Bar, Part, Text, float};
use crate::domain::{Access, Cloud, Consent, Grant, Mirror, Permission};

/// A tenant that lacks a permission.
struct Lacking {
    /// What it is called; its id if it has no name.
    name: String,
    consent: Consent,
    access: Access,
}

/// Permissions over all tenants of the public cloud.
#[derive(Default)]
pub(super) struct Permits {
    /// Tenants by permission, in the permissions' order: granted, missing, not told yet.
    counts: [[u64; 3]; Permission::ALL.len()],
    /// Those where most is missing first; no more than are shown.
    lacking: Vec<Lacking>,
    /// How many there are in all.
    all_lacking: usize,
}

impl Permits {
    pub(super) fn of(mirror: &Mirror) -> Self {
        let mut permits = Self::default();
        let public = mirror.tenants().filter(|it| it.tenant.cloud == Cloud::Public);
        let mut lacking = Vec::new();
        for view in public {
            for (counts, (_, grant)) in permits.counts.iter_mut().zip(view.access.all()) {
                let [granted, missing, unknown] = counts;
                *match grant {
                    Grant::Granted => granted,
                    Grant::Missing => missing,
                    Grant::Unknown => unknown,
                } += 1;
            }
            if view.access.missing().next().is_some() {
                lacking.push(view);
            }
        }
        permits.all_lacking = lacking.len();
        lacking.sort_by_key(|it| (worst(&it.access), it.tenant.id));
        permits.lacking = lacking
            .into_iter()
            .take(SHOWN)
            .map(|it| Lacking {
                name: it
                    .tenant
                    .name
                    .as_deref()
                    .map_or_else(|| it.tenant.id.to_string(), str::to_owned),
                consent: it.tenant.consent,
                access: it.access,
            })
            .collect();
        permits
    }

    pub(super) fn picture(&self) -> String {
        let most = self.counts.iter().map(|it| it.iter().sum::<u64>()).max().unwrap_or(0);
        let bars: Vec<Bar> = Permission::ALL
            .iter()
            .zip(self.counts)
            .map(|(permission, [granted, missing, unknown])| {
                let part = |value: u64, class, word: &str| Part {
                    value: float(value),
                    class,
                    title: format!("{value} {word}"),
                };
                Bar {
                    name: permission.to_string(),
                    parts: vec![
                        part(granted, "ok", "granted"),
                        part(missing, severity(*permission), "missing"),
                        part(unknown, "gone", "not told yet"),
                    ],
                    note: format!("{missing} missing"),
                }
            })
            .collect();
        let mut names = vec!["tenant", "consent"];
        names.extend(Permission::ALL.iter().map(|it| it.as_str()));
        names.push("what works without");
        let more = match self.all_lacking.saturating_sub(self.lacking.len()) {
            0 => String::new(),
            more => format!("<p>and {more} tenants that lack no more than these</p>\n"),
        };
        svg::bars(&bars, float(most), &[])
            + &legend(&[
                ("ok", "granted"),
                ("bad", "missing, and needed"),
                ("warn", "missing, and can be done without"),
                ("gone", "not told yet"),
            ])
            + &table(&names, self.lacking.iter().map(row))
            + &more
    }
}

/// Its place: where nobody's licence can be told comes first, then where more is missing.
fn worst(access: &Access) -> (bool, usize) {
    (access.blinding().is_none(), Permission::ALL.len().saturating_sub(access.missing().count()))
}

const fn severity(permission: Permission) -> &'static str {
    if permission.is_needed() { "bad" } else { "warn" }
}

fn row(it: &Lacking) -> String {
    let blind = it.access.blinding().is_some();
    let marks = it.access.all().fold(String::new(), |marks, (permission, grant)| {
        let (class, word) = match grant {
            Grant::Granted => ("ok", "yes"),
            Grant::Missing if blind => (severity(permission), "no"),
            Grant::Missing => ("warn", "no"),
            Grant::Unknown => ("gone", "?"),
        };
        marks + &format!("<td><i class=\"{class}\"></i>{word}</td>")
    });
    // Where nobody's licence can be told, what else is missing makes no difference.
    let works: Vec<&str> = match it.access.blinding() {
        Some(permission) => vec![it.access.without(permission)],
        None => it.access.missing().map(|missing| it.access.without(missing)).collect(),
    };
    format!(
        "<tr><td>{}</td><td>{}</td>{marks}<td>{}</td></tr>",
        Text(&it.name),
        it.consent,
        Text(&works.join("; ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Commit, Tenant, TenantId};
    use uuid::Uuid;

    const ALL: [&str; 4] =
        ["User.Read.All", "LicenseAssignment.Read.All", "Organization.Read.All", "Group.Read.All"];

    fn mirror(tenants: &[(&str, Option<&[&str]>)]) -> Mirror {
        let mut commit = Commit::default();
        for (number, (name, roles)) in (1_u128..).zip(tenants) {
            let id = TenantId::from_uuid(Uuid::from_u128(number)).unwrap();
            commit.tenants.push(Tenant::heard_of(id, Some((*name).into())));
            let roles = roles.map(|it| Access::of_roles(it.iter().copied()));
            commit.access.extend(roles.map(|it| (id, it)));
        }
        Mirror::default().applied(&commit)
    }

    #[test]
    fn each_permission_has_its_bar_and_who_lacks_one_a_row_with_marks_the_worst_first() {
        let [user, assignment, organization, group] = ALL;
        let permits = Permits::of(&mirror(&[
            ("Whole", Some(&ALL)),
            ("NoGroups", Some(&[user, assignment, organization])),
            ("<b>None", Some(&[])),
            ("Blind", Some(&[assignment, organization, group])),
            ("Unheard", None),
        ]));
        assert_eq!(permits.counts, [[2, 2, 1], [3, 1, 1], [3, 1, 1], [2, 2, 1]]);
        let html = permits.picture();
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}: {html}"));
        assert!(at("&lt;b&gt;None") < at("Blind") && at("Blind") < at("NoGroups"));
        assert!(!html.contains("Whole") && !html.contains("Unheard"));
        let marks = "<td><i class=\"ok\"></i>yes</td><td><i class=\"warn\"></i>no</td>";
        assert!(html.contains(marks), "{html}");
        assert_eq!(html.matches("nobody&#39;s licence can be seen").count(), 2, "{html}");
        assert!(html.contains(">2 missing</text>"), "{html}");
    }

    #[test]
    fn many_tenants_are_counted_and_not_all_shown() {
        let many: Vec<(&str, Option<&[&str]>)> = vec![("T", Some(&[])); SHOWN + 7];
        let html = Permits::of(&mirror(&many)).picture();
        assert_eq!(html.matches("<tr><td>").count(), SHOWN);
        assert!(html.contains("and 7 tenants"), "{html}");
    }
}
