//! Our own signed answers.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _};
use entitled::domain::ProductId;
use entitled::tokens::{PublicKey, Signer, Subject, VerifyAnswerError, jwks, verify_answer};
use jiff::SignedDuration;
use serde_json::{Map, json};

use super::{ANA, CONTOSO, FABRIKAM, now};

pub(super) fn signer(kid: &str) -> (Signer, PublicKey) {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let public = PublicKey {
        kid: kid.to_owned(),
        x: point[1..33].try_into().unwrap(),
        y: point[33..].try_into().unwrap(),
    };
    (Signer::new(kid, pkcs8.as_ref(), "https://lic.example.test", &[7; 32]).unwrap(), public)
}

#[test]
fn an_answer_is_believed_with_its_key_for_its_product_until_its_end() {
    let (signer, public) = signer("k1");
    let (_, other) = self::signer("k1");
    let product: ProductId = "synoptic-panel".parse().unwrap();
    let until = now() + SignedDuration::from_hours(1);
    let answer = json!({ "state": "active", "usable": true, "features": ["maps"] });
    let subject = Subject {
        product: &product,
        tenant: Some(CONTOSO.parse().unwrap()),
        user: Some(ANA.parse().unwrap()),
    };
    let token = signer.sign(answer.as_object().unwrap().clone(), subject, now(), until).unwrap();
    let set = jwks([&public]);
    let check = |token: &str, set: &str, product: &str, at| verify_answer(token, set, product, at);

    let claims = check(&token, &set, "synoptic-panel", now()).unwrap();
    assert_eq!(claims["state"], "active");
    assert_eq!(claims["aud"], "synoptic-panel");
    assert_eq!(claims["exp"], until.as_second());
    let sub = claims["sub"].as_str().unwrap();
    assert!(sub.len() == 43 && !sub.contains(&ANA[..8]), "{sub}");

    assert_eq!(check(&token, &set, "other", now()), Err(VerifyAnswerError::Audience));
    assert_eq!(check(&token, &set, "synoptic-panel", until), Err(VerifyAnswerError::Expired));
    let forged = jwks([&other]);
    assert_eq!(check(&token, &forged, "synoptic-panel", now()), Err(VerifyAnswerError::Signature));
    assert_eq!(
        check(&token, r#"{"keys":[]}"#, "synoptic-panel", now()),
        Err(VerifyAnswerError::Key)
    );
    assert_eq!(check("a.b", &set, "synoptic-panel", now()), Err(VerifyAnswerError::Form));
}

#[test]
fn a_pseudonym_is_one_user_of_one_product() {
    let (signer, public) = signer("k1");
    let sub = |product: &str, tenant: Option<&str>, user: Option<&str>| {
        let product_id: ProductId = product.parse().unwrap();
        let subject = Subject {
            product: &product_id,
            tenant: tenant.map(|it| it.parse().unwrap()),
            user: user.map(|it| it.parse().unwrap()),
        };
        let until = now() + SignedDuration::from_secs(60);
        let token = signer.sign(Map::new(), subject, now(), until).unwrap();
        verify_answer(&token, &jwks([&public]), product, now()).unwrap()["sub"].to_string()
    };
    let ana = sub("a", Some(CONTOSO), Some(ANA));
    assert_eq!(ana, sub("a", Some(CONTOSO), Some(ANA)));
    for other in [
        sub("b", Some(CONTOSO), Some(ANA)),
        sub("a", Some(FABRIKAM), Some(ANA)),
        sub("a", Some(CONTOSO), Some(CONTOSO)),
        sub("a", None, Some(ANA)),
        sub("a", Some(CONTOSO), None),
    ] {
        assert_ne!(ana, other);
    }
}
