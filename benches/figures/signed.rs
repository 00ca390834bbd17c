//! An answer in-process, unsigned and signed anew. What a kept signature costs is seen over HTTP, in
//! `start`: there the whole answer is kept.

use std::hint::black_box;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use entitled::decision::{Question, answer, told};
use entitled::domain::{Host, Language, Messages, Mirror, Policy};
use entitled::http::answer_json;
use entitled::tokens::{Signer, Subject};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::{self, median_ns, row, title, user};

pub fn run() {
    title("An answer in-process (median of 41 batches of 500)");
    let now = Timestamp::from_second(1_795_000_000).unwrap();
    let mirror = Mirror::default().applied(&support::commit(0, 1_000, 0, now));
    let (product, policy, messages) = (support::product(), Policy::default(), Messages::default());
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let signer = Signer::new("k", key.unwrap().as_ref(), "https://lic.example.test", &[7; 32]);
    let signer = signer.unwrap();
    let mut next = 0;
    let mut one = |signed: bool| {
        next += 1;
        let (tenant, user) = (support::tenant(0), user(0, next % 1_000));
        let question = Question::of_user(&product, Host::Web, tenant, Some(user));
        let decision = answer(&mirror, &question, &policy, now);
        let shown = told(&decision, Host::Web, now);
        let told = (&messages, Language::English, &*product.name);
        let mut json = answer_json(&decision, shown, told, None);
        if signed {
            let subject = Subject { product: &product.id, tenant: Some(tenant), user: Some(user) };
            let fields = json.as_object().unwrap().clone();
            let token = signer.sign(fields, subject, now, decision.valid_until).unwrap();
            json["token"] = Value::from(token);
        }
        black_box(serde_json::to_vec(&json).unwrap());
    };
    let unsigned = median_ns(41, 500, || one(false));
    let anew = median_ns(41, 500, || one(true));
    row("unsigned", &format!("{:.1} µs", unsigned / 1e3));
    row("signed anew", &format!("{:.1} µs ({:.1} x)", anew / 1e3, anew / unsigned));
}
