//! The configuration as its operator meets it: files, variables, secrets, messages, exit codes,
//! and the systemd unit that starts with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use entitled::config::{
    Assertion, Config, ConfigError, Credential, Finding, Loaded, Origin, Permission,
};
use entitled::domain::{Channel, Coverage, Policy};
use jiff::SignedDuration;
use serde_json::Value;

const EXAMPLE: &str = "config/entitled.toml";
const KEY: &str = "ent_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

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
    let folder = credentials.to_str().unwrap().to_owned();
    let variables = [("CREDENTIALS_DIRECTORY".to_owned(), folder)];
    Config::load(Path::new(EXAMPLE), variables.into_iter()).unwrap()
}

fn entitled(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entitled"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_shipped_example_is_right_and_its_values_are_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = example(folder.path());
    assert_eq!(shipped.warnings, []);
    // Where there is a default, the example shows it, but for these believable values.
    let chosen = ["listen.public_url", "visuals.audience"];
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
fn a_variable_that_names_no_key_is_an_error() {
    let check = |name: &str, key: &str, says: &str| one_problem(under(&[(name, "1")]), key, says);
    check("ENTITLED_STORE__PTH", "store.pth", "`ENTITLED_STORE__PATH`");
    check("ENTITLED_STORE_PATH", "store_path", "`ENTITLED_STORE__PATH`");
    check("ENTITLED_IDENTITY_SECRET", "identity_secret", "`ENTITLED_IDENTITY__SECRET`");
    check(
        "ENTITLED_POLICY__GRACE__X",
        "policy.grace",
        "must be written as one value, not as a table",
    );
    check("ENTITLED_CALLER__1__NAME", "ENTITLED_CALLER__1__NAME", "the next one is 0");
    check("ENTITLED_CALLER__NAME", "caller", "[[caller]]");
    check("ENTITLED_", "ENTITLED_", "names no key");
    check("ENTITLED___", "ENTITLED___", "names no key");
}

#[test]
fn a_secret_in_the_file_is_an_error_that_does_not_repeat_it() {
    let text = format!("{LEAST}secret = \"hunter2\"\n");
    let error = read(&text, &[("ENTITLED_IDENTITY__SECRET_FILE", "/nowhere")]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("identity.secret (line 7): a secret is never read"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let keyed = format!("[[caller]]\nname = \"a\"\nmay = [\"query\"]\nkey = \"{KEY}\"");
    let found = problems(with(&keyed));
    assert!(found.iter().any(|it| it.key == "caller[0].key" && !it.message.contains(KEY)));
    // Under a name that no key has, too.
    let found = problems(read(&format!("{LEAST}client_secret = \"hunter2\""), &[SECRET]));
    assert!(found[0].message.contains("Secrets never stand in this file"), "{found:#?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_secret_file_must_hold_one_secret_and_be_ours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let mode = |it| fs::set_permissions(&file, fs::Permissions::from_mode(it)).unwrap();
    let read = |path: &Path| read(&format!("{LEAST}secret_file = \"{}\"\n", path.display()), &[]);
    let key = "identity.secret_file";
    one_problem(read(&file), key, "cannot be read (No such file");
    fs::write(&file, " \n").unwrap();
    mode(0o600);
    one_problem(read(&file), key, "is empty");
    fs::write(&file, "canary-secret\n").unwrap();
    mode(0o644);
    one_problem(read(&file), key, "chmod 0600");
    one_problem(read(folder.path()), key, "no regular file");
    mode(0o640);
    let loaded = read(&file).unwrap();
    let Credential::Secret(secret) = &loaded.config.identity.credential else { panic!() };
    assert_eq!(secret.expose(), "canary-secret", "trimmed");
    fs::write(&file, "x".repeat(70_000)).unwrap();
    one_problem(read(&file), key, "too large");
    fs::write(&file, [0xff, 0xfe]).unwrap();
    one_problem(read(&file), key, "cannot be read");
}

#[test]
fn a_relative_name_is_a_credential_first_and_then_beside_the_configuration() {
    let credentials = tempfile::tempdir().unwrap();
    let beside = tempfile::tempdir().unwrap();
    let path = beside.path().join("entitled.toml");
    fs::write(&path, format!("{LEAST}secret_file = \"s\"\n")).unwrap();
    let load = || {
        let folder = credentials.path().to_str().unwrap().to_owned();
        Config::load(&path, [("CREDENTIALS_DIRECTORY".to_owned(), folder)].into_iter())
    };
    let secret = || match load().unwrap().config.identity.credential {
        Credential::Secret(it) => it.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    let ours = beside.path().join("s");
    fs::write(&ours, "beside").unwrap();
    one_problem(load(), "identity.secret_file", "everybody on this machine");
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(secret(), "beside");
    // systemd guards its folder itself; nobody else gets in, whatever the file's own mode.
    fs::write(credentials.path().join("s"), "credential").unwrap();
    assert_eq!(secret(), "credential");
    // A name that leads out of the folder is no credential.
    fs::write(credentials.path().parent().unwrap().join("entitled-outside"), "x").unwrap();
    fs::write(&path, format!("{LEAST}secret_file = \"../entitled-outside\"\n")).unwrap();
    assert!(load().is_err());
    fs::remove_file(credentials.path().parent().unwrap().join("entitled-outside")).unwrap();
}

#[test]
fn secrets_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = example(folder.path());
    let everything = format!("{loaded:?}");
    assert!(!everything.contains("canary-secret") && !everything.contains(KEY));
    let folder = folder.path().to_str().unwrap();
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let arguments = [arguments, &["--config", EXAMPLE]].concat();
        let out = entitled(&arguments, &[("CREDENTIALS_DIRECTORY", folder)]);
        let shown = text(&out.stdout) + &text(&out.stderr);
        assert!(out.status.success(), "{shown}");
        assert!(shown.contains("********") && shown.contains("client-secret"), "{shown}");
        assert!(!shown.contains("canary-secret") && !shown.contains(KEY), "{shown}");
    }
}

#[test]
fn each_kind_of_credential_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("app.pem");
    let identity = |lines: &str, variables: &[(&str, &str)]| {
        read(&format!("{LEAST}{lines}\n"), variables).map(|it| it.config.identity.credential)
    };
    let certificate = format!("credential = \"certificate\"\ncertificate_file = {pem:?}");
    let write = |parts: &[&str]| {
        let block = |it: &&str| format!("-----BEGIN {it}-----\nAA==\n-----END {it}-----\n");
        fs::write(&pem, parts.iter().map(block).collect::<String>()).unwrap();
        fs::set_permissions(&pem, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let wrong = |lines: &str, key, says| {
        one_problem(read(&format!("{LEAST}{lines}\n"), &[]), key, says);
    };
    write(&["PRIVATE KEY"]);
    wrong(&certificate, "identity.certificate", "holds no certificate");
    write(&["CERTIFICATE"]);
    wrong(&certificate, "identity.certificate", "holds no private key");
    write(&["CERTIFICATE", "ENCRYPTED PRIVATE KEY"]);
    wrong(&certificate, "identity.certificate", "encrypted");
    write(&["CERTIFICATE", "RSA PRIVATE KEY"]);
    assert!(matches!(identity(&certificate, &[]), Ok(Credential::Certificate { .. })));
    wrong("credential = \"certificate\"", "identity.certificate_file", "app.pem");
    wrong("credential = \"password\"", "identity.credential", "workload_identity");
    wrong(
        "credential = \"workload_identity\"",
        "identity.token_file",
        "AZURE_FEDERATED_TOKEN_FILE",
    );

    let platform = [("AZURE_FEDERATED_TOKEN_FILE", "/var/token")];
    let found = identity("credential = \"workload_identity\"", &platform).unwrap();
    assert!(
        matches!(found, Credential::WorkloadIdentity { token_file } if token_file == Path::new("/var/token"))
    );
    let found = identity("credential = \"managed_identity\"", &platform).unwrap();
    assert!(matches!(found, Credential::ManagedIdentity { client_id: None }));
    let found = identity("credential = \"federated\"\nassertion_file = \"/run/t\"", &[]).unwrap();
    assert!(
        matches!(found, Credential::Federated { assertion: Assertion::File(it) } if it == Path::new("/run/t"))
    );
    let managed = "managed_identity_client_id = \"2D2D2D2D-1111-4222-8333-444455556666\"";
    let found = identity(&format!("credential = \"federated\"\n{managed}"), &[]).unwrap();
    let Credential::Federated { assertion: Assertion::ManagedIdentity { client_id } } = found
    else {
        panic!()
    };
    assert_eq!(client_id.as_deref(), Some("2d2d2d2d-1111-4222-8333-444455556666"));
    wrong(
        &format!("credential = \"federated\"\nassertion_file = \"/run/t\"\n{managed}"),
        "identity.assertion_file",
        "not both",
    );
    let idle =
        read(&format!("{LEAST}credential = \"managed_identity\"\ntoken_file = \"/x\"\n"), &[]);
    warned(idle, "identity.token_file", "no effect");
}

#[test]
fn what_makes_no_sense_is_a_problem_that_says_what_to_do() {
    let check = |more: &str, key: &str, says: &str| one_problem(with(more), key, says);
    check(
        "[microsoft]\ngraph = \"http://graph.microsoft.com\"",
        "microsoft.graph",
        "write https://",
    );
    check("[microsoft]\nlogin = \"login\"", "microsoft.login", "such as https://");
    check("[store]\npath = \"var\"", "store.path", "beginning with `/`");
    check("[store]\npath = \"\"", "store.path", "it is empty");
    check("[listen]\npublic = \"localhost:80\"", "listen.public", "127.0.0.1:8080");
    check("[listen]\nops = \"127.0.0.1:8080\"", "listen.ops", "choose another port");
    check("[listen]\nops = \"0.0.0.0:8080\"", "listen.ops", "choose another port");
    check("[listen]\ntls_key = \"k\"", "listen.tls_key", "both or none");
    check(&format!("[listen]\nadmin = \"/{}\"", "x".repeat(107)), "listen.admin", "107 bytes");
    check("[listen]\npublic_url = \"http://lic.example\"", "listen.public_url", "loopback only");
    check(
        "[sync.directory]\nmax_age = \"5m\"",
        "sync.directory.max_age",
        "shorter than every (`10m`)",
    );
    check("[sync.directory]\nsweep = \"5m\"", "sync.directory.sweep", "shorter than every");
    check(
        "[sync.subscriptions]\ntrust_for = \"30m\"",
        "sync.subscriptions.trust_for",
        "max_age (`1h`)",
    );
    check("[sync.directory]\nremove_limit = \"0%\"", "sync.directory.remove_limit", "out of range");
    check("[policy]\nrelease_after = \"0d\"", "policy.release_after", "zero makes no sense");
    check("[policy]\non_stale = \"ignore\"", "policy.on_stale", "grace, deny");
    check("[policy]\ngrace = 30", "policy.grace", "in quotes");
    check("[marketplace]\naccept_changes = \"never\"", "marketplace.accept_changes", "known_plans");
    check("[visuals]\ncallers = []", "visuals.callers", "871c010f");
    check("[visuals]\naudience = \"x\"", "visuals.audience", "write a list");
    let personal = "[[tenant]]\nid = \"9188040d-6c67-4c5b-b112-36a304b66dad\"";
    check(personal, "tenant[0].id", "personal accounts");
    let twice = "[[tenant]]\nid = \"4F4F4F4F-1111-4222-8333-444455556666\"\n\
                 [[tenant]]\nid = \"4f4f4f4f-1111-4222-8333-444455556666\"";
    check(twice, "tenant[1].id", "twice");
}

#[test]
fn callers_have_a_name_a_key_and_something_they_may() {
    let caller = |at: usize, lines: &str| format!("[[caller]]\nname = \"shop-{at}\"\n{lines}\n");
    let check = |more: &str, keys: &[&str], key: &str, says: &str| {
        let names = ["ENTITLED_CALLER__0__KEY", "ENTITLED_CALLER__1__KEY"];
        let mut variables = vec![SECRET];
        variables.extend(names.into_iter().zip(keys.iter().copied()));
        one_problem(read(&format!("{LEAST}{more}"), &variables), key, says);
    };
    let may = "may = [\"query\"]";
    for bad in ["ent_short", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "ent_!!!!", &KEY[..46]]
    {
        check(&caller(0, may), &[bad], "caller[0].key", "openssl rand 32");
    }
    check(&caller(0, may), &[" "], "caller[0].key", "variable is empty");
    check(&caller(0, "may = []"), &[KEY], "caller[0].may", "write [\"query\"]");
    check(&caller(0, "may = [\"query\", \"all\"]"), &[KEY], "caller[0].may", "entry 2: `all`");
    let both = caller(0, may) + &caller(1, may);
    check(&both, &[KEY, KEY], "caller[1].key", "`shop-0` has the same key");
    let other = KEY.replace("AAEC", "BBEC");
    let namesakes = caller(0, may) + &caller(0, may);
    check(&namesakes, &[KEY, &other], "caller[1].name", "another caller `shop-0`");
}

/// A product with one plan, and an audience.
fn product(product: &str, plan: &str) -> String {
    format!(
        "[visuals]\naudience = [\"x\"]\n[[product]]\nid = \"p\"\n{product}\n[[product.plan]]\n\
         service_id = \"vizmaker.offer.plan\"\n{plan}\n"
    )
}

#[test]
fn a_catalog_that_contradicts_itself_is_refused() {
    let check = |more: &str, key: &str, says: &str| one_problem(with(more), key, says);
    let plain = product("", "channel = \"appsource\"");
    check(
        &plain.replace("vizmaker.offer.plan", "offer.plan"),
        "product[0].plan[0].service_id",
        "publisher.offer.plan",
    );
    check(&product("", "channel = \"store\""), "product[0].plan[0].channel", "isv_app");
    check(&product("", "channel = \"hybrid\""), "product[0].hybrid", "has a plan");
    check(
        &product("features = { hybrid = [\"a\"] }", "channel = \"saas\""),
        "product[0].hybrid",
        "has features",
    );
    check(
        &product("", "channel = \"saas\"\nsku_ids = [\"nope\"]"),
        "product[0].plan[0].sku_ids",
        "entry 1",
    );
    check(&(plain.clone() + "[[product]]\nid = \"p\""), "product[1].id", "another product `p`");
    let again = "[[product]]\nid = \"q\"\n[[product.plan]]\nservice_id = \"VIZMAKER.offer.plan\"\n\
                 channel = \"saas\"";
    check(&(plain.clone() + again), "product[1].plan[0].service_id", "another plan");
    check(&plain.replace("[\"x\"]", "[]"), "visuals.audience", "product `p`");
    assert!(with(&plain).is_ok());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let tls = "[listen]\npublic = \"0.0.0.0:443\"";
    warned(with(tls), "listen.public", "unencrypted");
    warned(with(tls), "listen.public_url", "not set");
    warned(with("[listen]\nops = \"0.0.0.0:9090\""), "listen.ops", "no login");
    warned(with("[sync.directory]\nremove_limit = 1.0"), "sync.directory.remove_limit", "brakes");
    warned(with(""), "product", "no product");
    let plan = "product[0].plan[0]";
    let product = |it: &str| with(&product("", it));
    let coverage = "channel = \"appsource\"\ncoverage = \"tenant\"";
    warned(product(coverage), &format!("{plan}.coverage"), "no effect on channel appsource");
    let release = "channel = \"saas\"\nrelease_after = \"1d\"";
    warned(product(release), &format!("{plan}.release_after"), "coverage = \"seats\"");
    let sku = "channel = \"saas\"\nsku_ids = [\"0b0b0b0b-1111-4222-8333-444455556666\"]";
    warned(product(sku), &format!("{plan}.sku_ids"), "no effect on channel saas");
    let foreign = self::product("", "channel = \"saas\"").replace("vizmaker.", "other.");
    warned(with(&foreign), &format!("{plan}.service_id"), "not with publisher.id `vizmaker`");
}

#[test]
fn what_takes_effect_later_is_noted_only_when_it_is_set() {
    assert_eq!(with("").unwrap().notes, []);
    let loaded = with(
        "[policy]\ngrace = \"10d\"\n[landing]\nclient_id = \"1c1c1c1c-1111-4222-8333-444455556666\"",
    );
    let notes = loaded.unwrap().notes;
    let keys: Vec<_> = notes.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["policy.grace", "landing.client_id"]);
}

#[test]
fn config_check_prints_ok_or_every_problem_and_exits_accordingly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    let check = |content: &str, arguments: &[&str]| {
        fs::write(&path, content).unwrap();
        let arguments =
            [&["config", "check", "--config", path.to_str().unwrap()], arguments].concat();
        let out = entitled(&arguments, &[SECRET]);
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, err) = check(LEAST, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("ok: ") && out.contains("warning: product: "), "{out}");
    let (code, out, err) = check(&format!("{LEAST}colour = 1\nsecret = 2"), &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: ") && err.contains("2 problems"), "{err}");
    assert!(err.contains("identity.colour (line 7)") && err.contains("identity.secret (line 8)"));
    let (code, out, _) = check(&format!("{LEAST}colour = 1"), &["--json"]);
    assert_eq!(code, Some(2));
    let row: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&row["level"], &row["key"]), (&"problem".into(), &"identity.colour".into()));
    fs::remove_file(&path).unwrap();
    let out = entitled(&["config", "show", "--config", path.to_str().unwrap()], &[]);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2));
    assert!(err.contains("--config") && err.contains("because No such file"), "{err}");
}

#[test]
fn config_show_tells_every_value_and_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    fs::write(&path, LEAST).unwrap();
    let arguments = ["config", "show", "--json", "--config", path.to_str().unwrap()];
    let out = entitled(&arguments, &[SECRET, ("ENTITLED_STORE__PATH", "/b")]);
    let rows: Vec<Value> =
        text(&out.stdout).lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let row = |key: &str| {
        let row = rows.iter().find(|it| it["key"] == key).unwrap_or_else(|| panic!("{key}"));
        (row["value"].clone(), row["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("publisher.id"), ("vizmaker".into(), "line 3".into()));
    assert_eq!(row("store.path"), ("/b".into(), "environment ENTITLED_STORE__PATH".into()));
    assert_eq!(row("identity.secret"), ("********".into(), format!("environment {}", SECRET.0)));
    assert_eq!(row("sync.directory.trust_for"), ("72h".into(), "default".into()));
    assert_eq!(row("listen.public_url"), (Value::Null, "default".into()));
    assert_eq!(
        row("marketplace.app_id"),
        ("1c1c1c1c-1111-4222-8333-444455556666".into(), "default".into())
    );
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let code = |arguments: &[&str]| entitled(arguments, &[]).status.code();
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["dance"]), Some(2));
    assert_eq!(code(&["query", "p"]), Some(2));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    let listed = text(&entitled(&["--help"], &[]).stdout);
    assert!(listed.contains("serve") && listed.contains("Exit codes"), "{listed}");
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entitled.toml");
    fs::write(&path, LEAST).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_entitled"))
        .args(["config", "show", "--config", path.to_str().unwrap()])
        .env(SECRET.0, SECRET.1)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}

/// The unit with the binary under test in place of the installed one; `None`, loudly, without
/// systemd.
fn unit(folder: &Path) -> Option<std::path::PathBuf> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var("CI").is_err(), "systemd-analyze is missing: install systemd");
        eprintln!("NOT TESTED: systemd-analyze is missing; install systemd to check the unit");
        return None;
    }
    let text = fs::read_to_string("systemd/entitled.service").unwrap();
    let installed = "ExecStart=/usr/local/bin/entitled ";
    assert!(text.contains(installed), "ExecStart has changed");
    let here = format!("ExecStart={} ", env!("CARGO_BIN_EXE_entitled"));
    let path = folder.join("entitled.service");
    fs::write(&path, text.replace(installed, &here)).unwrap();
    Some(path)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let Some(unit) = unit(folder.path()) else { return };
    let verify =
        |unit: &Path| Command::new("systemd-analyze").arg("verify").arg(unit).output().unwrap();
    let out = verify(&unit);
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    // That it would see a mistake.
    let wrong = fs::read_to_string(&unit).unwrap().replace("WatchdogSec=", "WatchdogSeconds=");
    fs::write(&unit, wrong).unwrap();
    assert_ne!(text(&verify(&unit).stderr), "");
}

#[test]
fn the_unit_is_as_closed_as_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let Some(unit) = unit(folder.path()) else { return };
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stdout));
}

#[test]
fn the_unit_and_the_daemon_agree() {
    let unit = fs::read_to_string("systemd/entitled.service").unwrap();
    let defaults = with("").unwrap().config;
    let lines: Vec<_> = unit.lines().collect();
    for line in [
        "Type=notify",
        "WatchdogSec=30s",
        "RestartPreventExitStatus=2",
        "NoNewPrivileges=yes",
        "StateDirectoryMode=0700",
        "SystemCallErrorNumber=ENOSYS",
        "SystemCallFilter=@system-service seccomp",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let denied = lines.iter().find(|it| it.starts_with("SystemCallFilter=~")).unwrap();
    assert!(denied.split(' ').any(|it| it == "sync_file_range"), "{denied}");
    let folder = |key: &str| {
        let prefix = format!("{key}=");
        lines.iter().find_map(|it| it.strip_prefix(&prefix)).unwrap().to_owned()
    };
    assert_eq!(defaults.store.path, Path::new("/var/lib").join(folder("StateDirectory")));
    let run = Path::new("/run").join(folder("RuntimeDirectory"));
    assert_eq!(defaults.listen.admin.parent(), Some(run.as_path()));
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let credential = folder("LoadCredential");
    let name = credential.split(':').next().unwrap();
    assert!(example.contains(&format!("secret_file = \"{name}\"")), "{credential}");
}
