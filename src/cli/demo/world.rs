//! The demo's folder: a configuration, its secrets and a store, gone when the demo ends.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::sandbox::{Options, story};

/// The temporary folder and what it holds.
pub(super) struct World {
    folder: PathBuf,
    caller_key: String,
}

impl World {
    /// A new folder that nobody else can read.
    pub(super) fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut random = [0_u8; 40];
        aws_lc_rs::rand::fill(&mut random).map_err(|_none| anyhow::anyhow!("no randomness"))?;
        let text = URL_SAFE_NO_PAD.encode(random);
        let (name, key) = text.split_at(8);
        let folder = std::env::temp_dir().join(format!("entitled-demo-{name}"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("create {}", folder.display()))?;
        let world = Self { folder, caller_key: format!("ent_{key}") };
        world.write("client-secret", story::CLIENT_SECRET)?;
        world.write("web-shop-key", &world.caller_key)?;
        Ok(world)
    }

    pub(super) fn sandbox_options(&self) -> Options {
        Options::default()
    }

    pub(super) fn caller_key(&self) -> &str {
        &self.caller_key
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.join("entitled.toml")
    }

    /// Writes the configuration and reads it as the daemon would.
    pub(super) fn config(&self, sandbox: &str) -> anyhow::Result<Config> {
        self.write("entitled.toml", &self.text(sandbox))?;
        let loaded = Config::load(&self.config_path(), std::iter::empty())?;
        Ok(loaded.config)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.folder.join(name);
        let options = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        let written =
            options.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))
    }

    fn text(&self, sandbox: &str) -> String {
        let folder = self.folder.display();
        let mut text = format!(
            r#"# Written by `entitled demo`; gone when it ends.
[publisher]
id = "{publisher}"
tenant = "{home}"

[identity]
client_id = "{client}"
credential = "secret"
secret_file = "{folder}/client-secret"

[microsoft]
login = "{sandbox}/login"
issuer_v1 = "{sandbox}/sts"
marketplace = "{sandbox}/marketplace"
graph = "{sandbox}/graph"

[store]
path = "{folder}/store"

[listen]
public = "127.0.0.1:0"
ops = "127.0.0.1:0"
admin = "{folder}/admin.sock"

[marketplace]
app_id = "{marketplace}"

[visuals]
audience = ["{audience}", "{visual}"]
callers = ["{power_bi}"]

[[caller]]
name = "web-shop"
key_file = "{folder}/web-shop-key"
may = ["query", "licenses"]

[[product]]
id = "synoptic-panel"
name = "Synoptic Panel"
features = {{ appsource = ["maps"], hybrid = ["maps", "storage"] }}
hybrid = "entra"
[[product.plan]]
service_id = "{synoptic}"
channel = "appsource"

[[product]]
id = "calendar-pro"
name = "Calendar Pro"
features = {{ appsource = ["themes"] }}
hybrid = "none"
[[product.plan]]
service_id = "{calendar}"
channel = "appsource"

[[product]]
id = "field-app"
name = "Field App"
features = {{ isv_app = ["routes"] }}
hybrid = "none"
[[product.plan]]
service_id = "{fieldapp}"
channel = "isv_app"

[[product]]
id = "viz-suite"
name = "Viz Suite"
features = {{ saas = ["dashboards"] }}
hybrid = "none"
[[product.plan]]
service_id = "{publisher}.{suite}.{company}"
channel = "saas"
coverage = "tenant"
[[product.plan]]
service_id = "{publisher}.{suite}.{team}"
channel = "saas"
coverage = "seats"
features = ["alerts"]
"#,
            publisher = story::PUBLISHER,
            home = story::PUBLISHER_TENANT,
            client = story::CLIENT_ID,
            marketplace = story::MARKETPLACE_APP_ID,
            audience = story::VISUAL_AUDIENCE,
            visual = story::VISUAL_CLIENT_ID,
            power_bi = story::POWER_BI_WEB,
            synoptic = story::SYNOPTIC_SERVICE_ID,
            calendar = story::CALENDAR_SERVICE_ID,
            fieldapp = story::FIELDAPP_SERVICE_ID,
            suite = story::SUITE_OFFER,
            company = story::SUITE_COMPANY,
            team = story::SUITE_TEAM,
        );
        for customer in story::CUSTOMERS.iter().filter(|it| !it.has_subscription) {
            let (id, name) = (customer.tenant, customer.name);
            text.push_str(&format!("\n[[tenant]]\nid = \"{id}\"\nname = \"{name}\"\n"));
        }
        text
    }

    /// Whether this path is inside the folder: what is removed at the end.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            let folder = self.folder().display();
            tracing::warn!(error = &error as &dyn std::error::Error, "Could not remove {folder}");
        }
    }
}
