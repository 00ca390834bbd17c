//! The admin socket: file permissions are the login.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use crate::domain::Cause;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error(
        "a daemon already answers on the admin socket {}: stop it first, or set another \
         listen.admin", path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error(
        "{} is there and is no socket: remove it, or set another listen.admin", path.display()
    )]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {doing} {}: check that the user entitled runs as may write there, or set another listen.admin", path.display())]
    Refused {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Who is at the other end, as the system says: for the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Operator {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|it| it.uid()))
    }
}

impl Operator {
    /// What the journal says of what this operator did.
    pub(super) fn cause(self) -> Cause {
        self.0.map_or(Cause::Command, Cause::Operator)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(uid) => write!(f, "user id {uid}"),
            None => f.write_str("an unknown user id"),
        }
    }
}

/// A bound admin socket; the file goes away with it.
#[derive(Debug)]
pub struct Listener {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket that this process bound.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another daemon may have taken the place meanwhile: its file stays.
        if fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

impl Listener {
    /// Binds the socket: mode 0600, in a folder that is made with 0700 if it is missing. A file
    /// that a dead daemon left behind is replaced; one on which somebody answers is not.
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let refused = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| SocketError::Refused { doing, path, source }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(refused("create", folder))?;
        }
        check_free(path)?;
        // Bound under another name and renamed, so that nobody ever meets a half-made socket or
        // one with the wrong mode.
        let fresh = folder.join(format!(".e{}", std::process::id()));
        drop(fs::remove_file(&fresh));
        let listener = UnixListener::bind(&fresh).map_err(refused("bind", path))?;
        let named = fs::set_permissions(&fresh, Permissions::from_mode(0o600))
            .and_then(|()| fs::symlink_metadata(&fresh))
            .and_then(|it| fs::rename(&fresh, path).map(|()| it.ino()));
        let inode = named.map_err(|source| {
            drop(fs::remove_file(&fresh));
            refused("bind", path)(source)
        })?;
        Ok(Self { listener, file: SocketFile { path: path.to_owned(), inode } })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Nobody answers there, and nothing but a dead socket is in the way.
fn check_free(path: &Path) -> Result<(), SocketError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::InTheWay { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_answered) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            Err(SocketError::Refused { doing: "look at", path: path.to_owned(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_owner_gets_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let socket = Listener::bind(&path).unwrap();
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = Listener::bind(&path).unwrap();
        let second = Listener::bind(&path);
        assert!(matches!(second, Err(SocketError::InUse { .. })), "{second:?}");
        assert!(path.exists());
        drop(first);
        fs::write(&path, "a note").unwrap();
        let third = Listener::bind(&path);
        assert!(matches!(third, Err(SocketError::InTheWay { .. })), "{third:?}");
        assert!(path.exists());
    }
}
