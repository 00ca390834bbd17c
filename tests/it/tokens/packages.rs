//! Tokens that are built into packages.

use entitled::tokens::{Package, PackageError, PublicKey, Signer, verify_package};
use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::answers::signer;
use super::now;

fn package() -> Package {
    Package { product: "synoptic-panel".parse().unwrap(), license: "L-7Q2M".into() }
}

fn built(signer: &Signer) -> String {
    let until = now() + SignedDuration::from_hours(24 * 365);
    signer.package(&package(), "user", ["maps"], now(), Some(until)).unwrap()
}

#[test]
fn a_package_is_known_by_the_key_that_signed_it_however_old() {
    let ((old, old_public), (new, new_public)) = (signer("k1"), signer("k2"));
    let keys = [old_public.clone(), new_public.clone()];
    for signer in [&old, &new] {
        let token = built(signer);
        assert!(token.len() < 600, "it is built into a visual: {}", token.len());
        assert_eq!(verify_package(&token, &keys), Ok(package()));
    }
    assert_eq!(verify_package(&built(&old), &[new_public]), Err(PackageError::Key));
    let renamed = PublicKey { kid: "k2".to_owned(), ..old_public };
    assert_eq!(verify_package(&built(&new), &[renamed]), Err(PackageError::Signature));
}

#[test]
fn whatever_is_changed_in_a_package_makes_it_none() {
    let (signer, public) = signer("k1");
    let (token, keys) = (built(&signer), [public]);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify_package(&changed, &keys).is_err(), "at {at}");
    }
    for text in ["", "a.b.c", &token[..token.len() - 1], &format!("{token}."), &"x".repeat(5_000)] {
        assert!(verify_package(text, &keys).is_err(), "{text}");
    }
}

#[test]
fn an_answer_or_a_list_is_no_package() {
    let (signer, public) = signer("k1");
    let product = "synoptic-panel".parse().unwrap();
    let subject = entitled::tokens::Subject { product: &product, tenant: None, user: None };
    let mut claims = Map::new();
    claims.insert("license".to_owned(), Value::from("L-7Q2M"));
    let until = now() + SignedDuration::from_hours(1);
    let answer = signer.sign(claims, subject, now(), until).unwrap();
    let list = signer.revocations(["L-7Q2M"], now(), until).unwrap();
    for token in [answer, list] {
        assert_eq!(verify_package(&token, std::slice::from_ref(&public)), Err(PackageError::Form));
    }
}
