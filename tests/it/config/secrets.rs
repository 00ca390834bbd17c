//! Secrets and credentials: where they may come from, and that they are never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entitled::config::{Assertion, Config, Credential};

use super::command::entitled;
use super::{
    EXAMPLE, KEY, LEAST, SECRET, example, one_problem, problems, read, text, warned, with,
};

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
    warned(read(&file), key, "chmod 0600");
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
    let root = tempfile::tempdir().unwrap();
    let (credentials, beside) = (root.path().join("credentials"), root.path().join("beside"));
    fs::create_dir(&credentials).unwrap();
    fs::create_dir(&beside).unwrap();
    let path = beside.join("entitled.toml");
    fs::write(&path, format!("{LEAST}secret_file = \"s\"\n")).unwrap();
    let load = || {
        let folder = credentials.to_str().unwrap().to_owned();
        Config::load(&path, [("CREDENTIALS_DIRECTORY".to_owned(), folder)].into_iter())
    };
    let secret = || {
        let Credential::Secret(it) = load().unwrap().config.identity.credential else { panic!() };
        it.expose().to_owned()
    };
    let ours = beside.join("s");
    fs::write(&ours, "beside").unwrap();
    warned(load(), "identity.secret_file", "everybody on this machine");
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(secret(), "beside");
    // systemd guards its folder itself; nobody else gets in, whatever the file's own mode.
    fs::write(credentials.join("s"), "credential").unwrap();
    assert_eq!(secret(), "credential");
    // A name that leads out of the folder is no credential, so its mode counts.
    fs::write(root.path().join("outside"), "x").unwrap();
    fs::write(&path, format!("{LEAST}secret_file = \"../outside\"\n")).unwrap();
    warned(load(), "identity.secret_file", "everybody on this machine");
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
