//! What one daemon of a process leaves to the next: its sockets and its store, so that a new
//! configuration costs nobody an answer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use tokio::net::TcpListener;

use super::{DaemonError, settings};
use crate::config::{Config, Listen};
use crate::http::admin;
use crate::store::{Guard, Store, StoreError, StoreOptions};
use crate::sync::Clock;

/// What an earlier daemon of this process left, or nothing.
#[derive(Default)]
pub struct Kept {
    public: Option<Socket>,
    ops: Option<Socket>,
    store: Option<Store>,
}

/// A socket on which the system lets connections wait as long as it is there.
struct Socket {
    /// As the configuration names it: its port may be 0.
    address: SocketAddr,
    listener: std::net::TcpListener,
}

/// The sockets of a daemon.
pub(super) struct Bound {
    pub(super) public: TcpListener,
    pub(super) ops: TcpListener,
    pub(super) admin: admin::Listener,
}

impl Kept {
    /// The sockets that the configuration names: those that are kept, or new ones.
    pub(super) async fn bind(&self, listen: &Listen) -> Result<Bound, DaemonError> {
        Ok(Bound {
            public: bind("listen.public", listen.public, self.public.as_ref()).await?,
            ops: bind("listen.ops", listen.ops, self.ops.as_ref()).await?,
            admin: admin::Listener::bind(&listen.admin)?,
        })
    }

    /// The store that the configuration names: the one that is kept, or another.
    pub(super) async fn open(
        &self,
        config: &Config,
        guard: Guard,
        clock: &Clock,
    ) -> Result<Store, DaemonError> {
        if let Some(store) = self.store.as_ref().filter(|it| it.folder() == config.store.path) {
            match store.writable() {
                Ok(()) | Err(StoreError::DiskFull { .. }) => return Ok(store.clone()),
                // Only one that is opened anew may take writes again.
                Err(_) => store.close().await,
            }
        }
        let options = StoreOptions { guard, ..StoreOptions::new(&config.store.path) };
        let now = clock();
        let opened = tokio::task::spawn_blocking(move || Store::open(options, now)).await;
        let (store, opened) = opened.map_err(DaemonError::Cut)??;
        settings::report_opened(&opened, &store);
        Ok(store)
    }

    /// The store alone; the sockets are closed.
    pub(super) fn into_store(self) -> Option<Store> {
        self.store
    }

    /// Closes the store, unless a daemon has taken it over.
    pub async fn leave(self, to: &super::Daemon) {
        if let Some(store) = self.store.filter(|it| it.folder() != to.store.folder()) {
            store.close().await;
        }
    }

    /// Closes all of it.
    pub async fn close(self) {
        if let Some(store) = self.into_store() {
            store.close().await;
        }
    }
}

impl Bound {
    /// What is to be kept of these.
    pub(super) fn kept(&self, listen: &Listen, store: &Store) -> Result<Kept, DaemonError> {
        Ok(Kept {
            public: Some(kept("listen.public", listen.public, &self.public)?),
            ops: Some(kept("listen.ops", listen.ops, &self.ops)?),
            store: Some(store.clone()),
        })
    }
}

async fn bind(
    key: &'static str,
    address: SocketAddr,
    kept: Option<&Socket>,
) -> Result<TcpListener, DaemonError> {
    let bound = match kept.filter(|it| it.address == address) {
        Some(it) => it.listener.try_clone().and_then(TcpListener::from_std),
        None => TcpListener::bind(address).await,
    };
    bound.map_err(refused(key, address))
}

fn kept(
    key: &'static str,
    address: SocketAddr,
    listener: &TcpListener,
) -> Result<Socket, DaemonError> {
    let listener = listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from);
    Ok(Socket { address, listener: listener.map_err(refused(key, address))? })
}

fn refused(key: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> DaemonError {
    move |source| DaemonError::Bind { key, address: address.to_string(), source }
}
