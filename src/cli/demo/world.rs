//! The demo's folder: a configuration, its secrets and a store, gone when the demo ends.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::sandbox::story;

/// The configuration, with `@name@` where the sandbox and the folder come in.
const TEMPLATE: &str = include_str!("entitled.toml");

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
        let values = [
            ("folder", self.folder.display().to_string()),
            ("sandbox", sandbox.to_owned()),
            ("publisher", story::PUBLISHER.to_owned()),
            ("home", story::PUBLISHER_TENANT.to_string()),
            ("client", story::CLIENT_ID.to_string()),
            ("marketplace", story::MARKETPLACE_APP_ID.to_string()),
            ("audience", story::VISUAL_AUDIENCE.to_owned()),
            ("visual", story::VISUAL_CLIENT_ID.to_string()),
            ("power_bi", story::POWER_BI_WEB.to_owned()),
            ("synoptic", story::SYNOPTIC_SERVICE_ID.to_owned()),
            ("calendar", story::CALENDAR_SERVICE_ID.to_owned()),
            ("fieldapp", story::FIELDAPP_SERVICE_ID.to_owned()),
            ("suite", story::SUITE_OFFER.to_owned()),
            ("company", story::SUITE_COMPANY.to_owned()),
            ("team", story::SUITE_TEAM.to_owned()),
        ];
        let fill = |text: String, (name, value): &(&str, String)| {
            text.replace(&format!("@{name}@"), value)
        };
        let text = values.iter().fold(TEMPLATE.to_owned(), fill);
        let named = story::CUSTOMERS.iter().filter(|it| !it.has_subscription);
        let tables = named
            .map(|it| format!("\n[[tenant]]\nid = \"{}\"\nname = \"{}\"\n", it.tenant, it.name));
        text + &tables.collect::<String>()
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
