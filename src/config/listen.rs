//! `[listen]`: where we can be reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use super::secret;
use super::section::Section;
use super::store::absolute;

/// Where we can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Visuals, webhooks, landing page.
    pub public: SocketAddr,
    /// What the outside calls us.
    pub public_url: Option<Url>,
    /// Status page, metrics, health.
    pub ops: SocketAddr,
    /// The command line's socket, absolute.
    pub admin: PathBuf,
    /// TLS on the public listener; without it something before us ends TLS.
    pub tls: Option<Tls>,
}

/// TLS on the public listener. The files are read when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// The longest path of a Unix socket, in bytes: `sun_path` of `unix(7)` without its end.
const LONGEST_SOCKET: usize = 107;

impl Listen {
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        root.section("listen", |it| {
            let public = it.or("public", SocketAddr::from(([127, 0, 0, 1], 8080)));
            let public_url = it.optional("public_url");
            let ops = it.or("ops", SocketAddr::from(([127, 0, 0, 1], 9090)));
            let admin = it.or("admin", PathBuf::from("/run/entitled/admin.sock"));
            let tls = Tls::read(it);
            let listen = Self { public, public_url, ops, admin, tls };
            listen.check(it);
            listen
        })
    }

    fn check(&self, it: &mut Section<'_>) {
        absolute(it, "admin", &self.admin);
        if self.admin.as_os_str().len() > LONGEST_SOCKET {
            it.problem("admin", format!("no socket's path may be longer than {LONGEST_SOCKET} bytes; choose a shorter one"));
        }
        let wild = self.public.ip().is_unspecified() || self.ops.ip().is_unspecified();
        let same_ip = self.public.ip() == self.ops.ip() || wild;
        if same_ip && self.public.port() == self.ops.port() && self.public.port() != 0 {
            it.problem("ops", "it is the same address as listen.public; choose another port, such as 127.0.0.1:9090");
        } else if !self.ops.ip().is_loopback() {
            it.warning("ops", "status page and metrics ask for no login; listen on loopback (127.0.0.1), or let a firewall guard this address");
        }
        if !self.public.ip().is_loopback() && self.tls.is_none() {
            it.warning("public", "users' tokens arrive here unencrypted; put a proxy that ends TLS before it, or set tls_certificate and tls_key");
        }
    }
}

impl Tls {
    fn read(it: &mut Section<'_>) -> Option<Self> {
        let certificate: Option<PathBuf> = it.optional("tls_certificate");
        let key: Option<PathBuf> = it.optional("tls_key");
        let (given, missing) = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let certificate = secret::locate(&certificate, it.places()).0;
                return Some(Self { certificate, key: secret::locate(&key, it.places()).0 });
            }
            (Some(_), None) => ("tls_certificate", "tls_key"),
            (None, Some(_)) => ("tls_key", "tls_certificate"),
            (None, None) => return None,
        };
        it.problem(given, format!("it needs listen.{missing} beside it; set both or none"));
        None
    }
}
