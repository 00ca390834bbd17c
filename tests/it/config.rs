//! The configuration as its operator meets it: files, variables, secrets, messages, exit codes,
//! and the systemd unit that starts with it.

mod command;
mod secrets;
mod sense;
mod unit;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use entitled::config::{Config, ConfigError, Finding, Loaded, Origin, Permission};
use entitled::domain::{Channel, Coverage, Policy};
use jiff::SignedDuration;

const EXAMPLE: &str = "config/entitled.toml";
const KEY: &str = "ent_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The least that is a configuration, with the secret in the environment.
const LEAST: &str = r#"
[publisher]
id = "vizmaker"
tenant = "0b0b0b0b-1111-4222-8333-444455556666"
[identity]
client_id = "1c1c1c1c-1111-4222-8333-444455556666"
"#;
const SECRET: (&str, &str) = ("ENTITLED_IDENTITY__SECRET", "canary-secret");

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::parse(text, variables)
}

/// The least with more lines, and the secret.
fn with(more: &str) -> Result<Loaded, ConfigError> {
    read(&format!("{LEAST}{more}"), &[SECRET])
}

/// The least with more variables, and the secret.
fn under(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    read(LEAST, &[variables, &[SECRET]].concat())
}

fn problems(result: Result<Loaded, ConfigError>) -> Vec<Finding> {
    match result {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid { problems, .. }) => problems,
        Err(other) => panic!("{other}"),
    }
}

/// Exactly one problem, about this key, that says this.
#[track_caller]
fn one_problem(result: Result<Loaded, ConfigError>, key: &str, says: &str) {
    let found = problems(result);
    let fits = found.len() == 1 && found[0].key == key && found[0].to_string().contains(says);
    assert!(fits, "wanted {key}: {says}; got {found:#?}");
}

/// No problem, and a warning about this key that says this.
#[track_caller]
fn warned(result: Result<Loaded, ConfigError>, key: &str, says: &str) {
    let found = result.unwrap().warnings;
    let fits = |it: &Finding| it.key == key && it.message.contains(says);
    assert!(found.iter().any(fits), "wanted {key}: {says}; got {found:#?}");
}

/// The shipped example, with its secrets as systemd would hand them over.
pub(crate) fn example(credentials: &Path) -> Loaded {
    fs::write(credentials.join("client-secret"), "canary-secret\n").unwrap();
    fs::write(credentials.join("web-shop.key"), format!("{KEY}\n")).unwrap();
    fs::write(credentials.join("billing.whsec"), format!("{SIGNING}\n")).unwrap();
    let folder = credentials.to_str().unwrap().to_owned();
    let variables = [("CREDENTIALS_DIRECTORY".to_owned(), folder)];
    Config::load(Path::new(EXAMPLE), variables.into_iter()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_shipped_example_is_right_and_its_values_are_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = example(folder.path());
    assert_eq!(shipped.warnings, []);
    // Where there is a default, the example shows it, but for these believable values, and one
    // that follows from them.
    let chosen = ["listen.public_url", "visuals.audience", "sync.directory.notifications"];
    let own: BTreeMap<_, _> =
        shipped.settings.iter().map(|it| (it.key.as_str(), &it.value)).collect();
    let defaults = with("").unwrap().settings;
    let defaults: Vec<_> = defaults.iter().filter(|it| it.origin == Origin::Default).collect();
    assert!(defaults.len() > 25, "{defaults:#?}");
    for default in defaults.iter().filter(|it| !chosen.contains(&it.key.as_str())) {
        let optional = default.key == "identity.secret_file";
        assert!(optional || own[default.key.as_str()] == &default.value, "{default:?}");
    }
    let config = shipped.config;
    assert_eq!(config.policy(), Policy::default());
    let plan = &config.catalog.product("synoptic-panel").unwrap().plans[0];
    assert_eq!(plan.channel, Channel::Appsource);
    assert_eq!(*plan.features, ["drill".into(), "maps".into()], "the channel's and its own");
    let seats = &config.catalog.product("planner").unwrap().plans[0];
    assert_eq!(seats.coverage, Coverage::Seats);
    assert_eq!(seats.release_after, SignedDuration::from_hours(14 * 24));
    assert_eq!(config.callers[0].may, [Permission::Query, Permission::Licenses]);
    assert_eq!(config.callers[0].key.expose(), KEY);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let check = |more: &str, key: &str, line: usize, nearest: &str| {
        let found = problems(with(more));
        let unknown = found.iter().find(|it| it.key == key);
        let unknown = unknown.unwrap_or_else(|| panic!("{key} in {found:#?}"));
        assert_eq!(unknown.origin, Origin::Line(line), "{unknown}");
        assert!(unknown.message.contains(&format!("`{nearest}`")), "{unknown}");
    };
    check("[stroe]\npath = \"/x\"", "stroe", 7, "store");
    check("[store]\npth = \"/x\"", "store.pth", 8, "store.path");
    check("[sync.directory]\nswep = \"1d\"", "sync.directory.swep", 8, "sync.directory.sweep");
    check("[sync.directroy]\nevery = \"1d\"", "sync.directroy", 7, "sync.directory");
    check("[listen]\naddress = 3\npublik = 1", "listen.publik", 9, "listen.public");
    check("[store]\nrelease_after = \"1d\"", "store.release_after", 8, "policy.release_after");
    check(
        "[[product]]\nid = \"p\"\n[[product]]\nid = \"q\"\n[[product.plan]]\nchanel = \"saas\"",
        "product[1].plan[0].chanel",
        12,
        "product[1].plan[0].channel",
    );
    check(
        "[[product]]\nid = \"p\"\nfeatures = { appsorce = [] }",
        "product[0].features.appsorce",
        9,
        "product[0].features.appsource",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "[publisher]\nid = 3\n[sync.directory]\nevery = \"soon\"\nmax_ag = \"1h\"\n[tenant]";
    let found = problems(read(text, &[("ENTITLED_STORE__PTH", "/x")]));
    let keys: Vec<_> = found.iter().map(|it| it.key.as_str()).collect();
    for key in [
        "publisher.id",
        "publisher.tenant",
        "identity.client_id",
        "identity.secret_file",
        "sync.directory.every",
        "sync.directory.max_ag",
        "tenant",
        "store.pth",
    ] {
        assert!(keys.contains(&key), "{key} in {found:#?}");
    }
    assert_eq!(keys.len(), 8, "{found:#?}");
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    one_problem(
        read(&LEAST.replace("id = \"vizmaker\"", ""), &[SECRET]),
        "publisher.id",
        "write `id = \"vizmaker\"` under [publisher]",
    );
    one_problem(read(LEAST, &[]), "identity.secret_file", "ENTITLED_IDENTITY__SECRET");
    one_problem(
        with("[[product]]\nid = \"p\"\n[[product.plan]]\nservice_id = \"vizmaker.a.b\""),
        "product[0].plan[0].channel",
        "under its [[product.plan]]",
    );
    one_problem(
        with("[[caller]]\nname = \"a\"\nmay = [\"query\"]"),
        "caller[0].key_file",
        "ENTITLED_CALLER__0__KEY",
    );
}

#[test]
fn what_is_no_toml_is_told_by_its_line_and_never_quoted() {
    let error = with("[identity\nsecret = \"hunter2\"").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { line: 7, .. }), "{error}");
    let error = with("[identity]\nsecret = \"hunter2").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn variables_override_single_keys_and_are_typed_like_them() {
    let more = "[store]\npath = \"/a\"\n[visuals]\naudience = [\"x\"]\n[[tenant]]\n\
                id = \"4f4f4f4f-1111-4222-8333-444455556666\"\n";
    let loaded = read(
        &format!("{LEAST}{more}"),
        &[
            SECRET,
            ("ENTITLED_STORE__PATH", "/b"),
            ("ENTITLED_SYNC__DIRECTORY__EVERY", "7m"),
            ("ENTITLED_SYNC__DIRECTORY__REMOVE_LIMIT", "0.5"),
            ("ENTITLED_VISUALS__AUDIENCE", "api://one, api://two"),
            ("ENTITLED_VISUALS__CALLERS", "[\"871c010f-5e61-4fb1-83ac-98610a7e9110\"]"),
            ("ENTITLED_TENANT__0__NAME", "Contoso"),
            ("ENTITLED_TENANT__1__ID", "5f4f4f4f-1111-4222-8333-444455556666"),
            ("ENTITLED_LOG", "debug"),
            ("ENTITLED_LOG_FORMAT", "json"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.store.path, Path::new("/b"));
    assert_eq!(config.sync.directory.every, SignedDuration::from_mins(7));
    assert!(config.sync.directory.remove_limit.is_exceeded_by(51, 100));
    assert!(!config.sync.directory.remove_limit.is_exceeded_by(50, 100));
    assert_eq!(config.visuals.audience, ["api://one", "api://two"]);
    assert_eq!(config.visuals.callers, ["871c010f-5e61-4fb1-83ac-98610a7e9110"]);
    assert_eq!(config.tenants[0].name.as_deref(), Some("Contoso"));
    assert_eq!(config.tenants.len(), 2);
    let path = loaded.settings.iter().find(|it| it.key == "store.path").unwrap();
    assert_eq!(path.origin, Origin::Environment("ENTITLED_STORE__PATH".to_owned()));
}

#[test]
fn every_key_can_be_overridden_by_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = example(folder.path()).settings;
    let written = fs::read_to_string(EXAMPLE).unwrap();
    let folder = folder.path().to_str().unwrap();
    let mut tried = 0;
    for setting in shipped.iter().filter(|it| !it.value.is_null()) {
        let name = setting.key.replace('[', ".").replace(']', "").replace('.', "__");
        let name = format!("ENTITLED_{}", name.to_uppercase());
        let value = match (&setting.value, setting.key.as_str()) {
            (_, "identity.secret") => "canary-secret".to_owned(),
            (_, "caller[0].key") => KEY.to_owned(),
            (_, "notify[0].secret") => SIGNING.to_owned(),
            (value, _) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        let loaded = read(&written, &[("CREDENTIALS_DIRECTORY", folder), (&name, &value)]);
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}={value}: {error}"));
        let now = loaded.settings.iter().find(|it| it.key == setting.key).unwrap();
        assert_eq!(now.value, setting.value, "{name}");
        assert_eq!(now.origin, Origin::Environment(name));
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn a_variable_that_names_no_key_is_an_error() {
    let check = |name: &str, key: &str, says: &str| one_problem(under(&[(name, "1")]), key, says);
    check("ENTITLED_STORE__PTH", "store.pth", "`ENTITLED_STORE__PATH`");
    check("ENTITLED_STORE_PATH", "store_path", "`ENTITLED_STORE__PATH`");
    check("ENTITLED_IDENTITY_SECRET", "identity_secret", "`ENTITLED_IDENTITY__SECRET`");
    check("ENTITLED_POLICY__GRACE__X", "policy.grace", "this is a table");
    check("ENTITLED_CALLER__1__NAME", "ENTITLED_CALLER__1__NAME", "the next one is 0");
    check("ENTITLED_CALLER__NAME", "caller", "[[caller]]");
    check("ENTITLED_", "ENTITLED_", "names no key");
    check("ENTITLED___", "ENTITLED___", "names no key");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// However a file is mangled, the answer is a configuration or problems that name something.
    #[test]
    fn no_file_makes_us_panic(
        edits in proptest::collection::vec((0_usize..150, 0_usize..150, 0_u8..5), 1..6),
    ) {
        let text = fs::read_to_string(EXAMPLE).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, other, edit) in edits {
            let (at, other) = (at % lines.len(), other % lines.len());
            match edit {
                0 => drop(lines.remove(at)),
                1 => lines.swap(at, other),
                2 => lines[at] = lines[other].clone(),
                3 => lines[at] = lines[at].replace(['"', 'e'], "[["),
                _ => lines[at] = lines[at].trim_start_matches("# ").replace("= ", "= -1"),
            }
        }
        match read(&lines.join("\n"), &[SECRET, ("ENTITLED_CALLER__0__KEY", KEY)]) {
            Ok(_) | Err(ConfigError::Syntax { .. }) => {}
            Err(ConfigError::Invalid { problems, .. }) => {
                proptest::prop_assert!(!problems.is_empty());
                proptest::prop_assert!(problems.iter().all(|it| !it.key.is_empty()));
            }
            Err(other @ ConfigError::Unreadable { .. }) => panic!("{other}"),
        }
    }
}
