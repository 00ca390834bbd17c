//! `[identity]`: the app that talks to Microsoft, and how it proves who it is.

use std::path::PathBuf;

use super::secret::{self, Secret};
use super::section::Section;

/// The app that talks to Microsoft.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its application (client) id.
    pub client_id: String,
    /// How it proves who it is.
    pub credential: Credential,
}

/// How the app proves who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A client secret.
    Secret(Secret),
    /// A certificate with its private key.
    Certificate {
        /// Both, as PEM.
        pem: Secret,
    },
    /// The managed identity of the Azure machine we run on.
    ManagedIdentity {
        /// Which one, if it is user-assigned.
        client_id: Option<String>,
    },
    /// A Kubernetes service account.
    WorkloadIdentity {
        /// Where its token is; replaced by the platform, so read anew for each use.
        token_file: PathBuf,
    },
    /// A token of another identity provider, exchanged for one of the app.
    Federated {
        /// Where that token comes from.
        assertion: Assertion,
    },
}

/// Where the token of a federated credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assertion {
    /// A file that something else keeps fresh; read anew for each use.
    File(PathBuf),
    /// The managed identity of the Azure machine we run on: the way for a multi-tenant app.
    ManagedIdentity {
        /// Which one, if it is user-assigned.
        client_id: Option<String>,
    },
}

/// Where the platform says the service account's token is.
///
/// Source: Azure Workload Identity, "Mutating admission webhook".
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The words of `identity.credential`.
const KINDS: &[&str] =
    &["secret", "certificate", "managed_identity", "workload_identity", "federated"];

impl Identity {
    pub(super) fn read(root: &mut Section<'_>) -> Option<Self> {
        root.section("identity", |it| {
            let client_id = it.required("client_id", "\"<the app's application (client) id>\"");
            let client_id = application_id(it, "client_id", client_id);
            let kind = it.or("credential", "secret".to_owned());
            let all = Keys::read(it);
            let credential = all.choose(it, &kind);
            Some(Self { client_id: client_id?, credential: credential? })
        })
    }
}

/// An application id that was read: a GUID, as Microsoft spells it.
pub(super) fn application_id(
    it: &mut Section<'_>,
    key: &str,
    text: Option<String>,
) -> Option<String> {
    match uuid::Uuid::try_parse(&text?) {
        Ok(id) if !id.is_nil() => Some(id.hyphenated().to_string()),
        Ok(_) | Err(_) => {
            it.problem(
                key,
                "this is no GUID; Entra shows the application (client) id on the app \
                 registration's overview",
            );
            None
        }
    }
}

/// The keys of all kinds together: those of another kind are read, so that they can be named.
struct Keys {
    secret: Option<Secret>,
    certificate: Option<Secret>,
    managed_identity: Option<String>,
    token_file: Option<PathBuf>,
    assertion_file: Option<PathBuf>,
}

impl Keys {
    fn read(it: &mut Section<'_>) -> Self {
        let managed = it.optional("managed_identity_client_id");
        Self {
            secret: secret::read(it, "secret", "secret_file"),
            certificate: secret::read(it, "certificate", "certificate_file"),
            managed_identity: application_id(it, "managed_identity_client_id", managed),
            token_file: it.or_variable("token_file", TOKEN_FILE),
            assertion_file: it.optional("assertion_file"),
        }
    }

    fn choose(self, it: &mut Section<'_>, kind: &str) -> Option<Credential> {
        let (credential, uses): (_, &[&str]) = match kind {
            "secret" => (self.secret(it), &["secret", "secret_file"]),
            "certificate" => (self.certificate(it), &["certificate", "certificate_file"]),
            "managed_identity" => (
                Some(Credential::ManagedIdentity { client_id: self.managed_identity }),
                &["managed_identity_client_id"],
            ),
            "workload_identity" => (self.workload(it), &["token_file"]),
            "federated" => (self.federated(it), &["assertion_file", "managed_identity_client_id"]),
            _ => {
                let kinds = KINDS.join(", ");
                it.problem("credential", format!("there is no such kind; write one of {kinds}"));
                return None;
            }
        };
        for key in [
            "secret",
            "secret_file",
            "certificate",
            "certificate_file",
            "managed_identity_client_id",
            "token_file",
            "assertion_file",
        ] {
            let unused = it.is_set_by_hand(key) && !uses.contains(&key);
            let twice =
                matches!(key, "secret" | "certificate") && it.is_set(&format!("{key}_file"));
            if unused && !twice {
                it.warning(
                    key,
                    format!("it has no effect with credential = \"{kind}\"; remove it"),
                );
            }
        }
        credential
    }

    fn secret(&self, it: &mut Section<'_>) -> Option<Credential> {
        if self.secret.is_none() && secret::is_missing(it, "secret", "secret_file") {
            it.problem(
                "secret_file",
                "it is missing; write `secret_file = \"/etc/entitled/client-secret\"` under \
                 [identity], or set ENTITLED_IDENTITY__SECRET, or choose another credential",
            );
        }
        self.secret.clone().map(Credential::Secret)
    }

    fn certificate(&self, it: &mut Section<'_>) -> Option<Credential> {
        let Some(pem) = self.certificate.clone() else {
            if secret::is_missing(it, "certificate", "certificate_file") {
                it.problem(
                    "certificate_file",
                    "it is missing; write `certificate_file = \"/etc/entitled/app.pem\"` under \
                     [identity]: the certificate and its private key in one PEM file",
                );
            }
            return None;
        };
        let has = |what: &str| pem.expose().contains(what);
        let missing = if !has("-----BEGIN CERTIFICATE-----") {
            "it holds no certificate (-----BEGIN CERTIFICATE-----)"
        } else if has("ENCRYPTED PRIVATE KEY-----") {
            "its private key is encrypted; write it without a passphrase (openssl pkey)"
        } else if !has("PRIVATE KEY-----") {
            "it holds no private key (-----BEGIN PRIVATE KEY-----)"
        } else {
            return Some(Credential::Certificate { pem });
        };
        it.problem(
            "certificate",
            format!("{missing}; put certificate and private key, as PEM, into one file"),
        );
        None
    }

    fn workload(self, it: &mut Section<'_>) -> Option<Credential> {
        match self.token_file {
            Some(token_file) => {
                let (token_file, _) = secret::locate(&token_file, it.places());
                Some(Credential::WorkloadIdentity { token_file })
            }
            None if it.is_set("token_file") => None,
            None => {
                it.problem(
                    "token_file",
                    "it is missing, and AZURE_FEDERATED_TOKEN_FILE is not set; enable workload \
                     identity for the pod, or name the file of the service account's token",
                );
                None
            }
        }
    }

    fn federated(self, it: &mut Section<'_>) -> Option<Credential> {
        let assertion = match self.assertion_file {
            Some(_) if self.managed_identity.is_some() => {
                it.problem("assertion_file", "the assertion comes from the file or from the managed identity, not both; remove one");
                return None;
            }
            Some(file) => Assertion::File(secret::locate(&file, it.places()).0),
            None => Assertion::ManagedIdentity { client_id: self.managed_identity },
        };
        Some(Credential::Federated { assertion })
    }
}
