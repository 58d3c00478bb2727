//! A folder on a server that speaks SFTP, such as OpenSSH's.
//!
//! An object is a file. It is written and synced under a temporary name, and then renamed: version 3 of the protocol, which is what
//! servers speak, forbids a rename onto a name that is taken, and OpenSSH makes a hard link of it, which is atomic. So nobody sees part
//! of a file, and of racing writers one wins. A server whose renames replace is found by the probe.

mod login;
mod session;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use russh_sftp::protocol::StatusCode;
use tokio::sync::Mutex;

use crate::Settings;
use crate::address::Address;
use crate::remote::{Objects, refuse_large};
use crate::{BoxFuture, Created, StoreError, StoreErrorKind};
use login::Login;
use session::{Failure, Session};

/// Where files wait for their names, in the store's own folder. No key begins with `=`.
const TEMPORARY: &str = "=temporary";
/// So often a folder is made that others remove because it is empty.
const ATTEMPTS: u32 = 16;

/// A folder on a server.
pub(crate) struct Folder {
    login: Login,
    /// Absolute, without a slash at its end.
    path: String,
    /// One connection for all requests, made when it is needed and given up when it fails.
    session: Mutex<Option<Arc<Session>>>,
    secrets: Settings,
}

impl Folder {
    /// `sftp://user@host:port/absolute/folder`, with a key or password from `settings`.
    pub(crate) fn new(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        if address.folder().is_empty() {
            let message = format!(
                "the store URL {} names no folder; write sftp://user@host/absolute/folder",
                address.shown()
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        Ok(Self {
            login: Login::new(address, settings)?,
            path: format!("/{}", address.folder()),
            session: Mutex::new(None),
            secrets: settings.clone(),
        })
    }

    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| session.is_open()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.login).await?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn failed(&self, action: &str, name: &str, failure: &Failure) -> StoreError {
        let stays = match failure.code() {
            Some(StatusCode::PermissionDenied) => Some(StoreErrorKind::Terminal),
            Some(StatusCode::OpUnsupported) => Some(StoreErrorKind::NotSupported),
            _ => None,
        };
        let message = format!("failed to {action} {name} in {}: {failure}", self.login.server());
        StoreError::of_server(&self.secrets, &message, stays)
    }
}

/// Creates `path` with these bytes unless it exists.
async fn create(session: &Arc<Session>, root: &str, path: &str, bytes: Bytes) -> Result<Created, Failure> {
    let temporary = format!("{root}/{TEMPORARY}/{:032x}", fastrand::u128(..));
    if let Err(failure) = session.write(&temporary, bytes.clone()).await {
        if !failure.is_absent() {
            return Err(failure);
        }
        make_folder(session, &format!("{root}/{TEMPORARY}")).await?;
        session.write(&temporary, bytes).await?;
    }
    let created = publish(session, &temporary, path).await;
    if !matches!(created, Ok(Created::New)) {
        // What can't be removed now only takes space: nobody looks there.
        let _ = session.remove(&temporary).await;
    }
    created
}

/// Gives a file its name, if that is free; durably, whoever won.
async fn publish(session: &Arc<Session>, temporary: &str, path: &str) -> Result<Created, Failure> {
    let parent = folder_of(path);
    let mut attempt = 1;
    let created = loop {
        match session.rename(temporary, path).await {
            Ok(()) => break Created::New,
            Err(failure) if failure.is_absent() && attempt < ATTEMPTS => make_folder(session, parent).await?,
            // The protocol has no code of its own for a name that is taken.
            Err(_) if session.exists(path).await? => break Created::Exists,
            Err(failure) => return Err(failure),
        }
        attempt += 1;
    };
    session.sync_folder(parent).await?;
    Ok(created)
}

/// Makes a folder and those above it, durably. It is no error if it exists.
async fn make_folder(session: &Arc<Session>, path: &str) -> Result<(), Failure> {
    let mut missing = vec![path];
    let mut attempts = 0;
    while let Some(last) = missing.last().copied() {
        attempts += 1;
        match session.make_folder(last).await {
            Ok(()) => {
                session.sync_folder(folder_of(last)).await?;
                missing.pop();
            }
            Err(failure) if failure.is_absent() && !folder_of(last).is_empty() && attempts < 64 => {
                missing.push(folder_of(last));
            }
            // The protocol has no code of its own for a folder that exists.
            Err(_) if session.is_folder(last).await? => drop(missing.pop()),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Removes a file, and the folders that are empty without it.
async fn delete(session: &Arc<Session>, root: &str, path: &str) -> Result<(), Failure> {
    match session.remove(path).await {
        Ok(()) => session.sync_folder(folder_of(path)).await?,
        Err(failure) if failure.is_absent() => {}
        // Of a folder that has this name no file is to be removed.
        Err(_) if session.is_folder(path).await? => return Ok(()),
        Err(failure) => return Err(failure),
    }
    let mut folder = folder_of(path);
    while folder.len() > root.len() && session.remove_folder(folder).await.is_ok() {
        folder = folder_of(folder);
    }
    Ok(())
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Objects for Folder {
    fn put_new<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(async move {
            let session = self.session().await?;
            let created = create(&session, &self.path, &self.path(name), bytes).await;
            created.map_err(|failure| self.failed("create", name, &failure))
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        limit_bytes: u64,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let session = self.session().await?;
            let limit = |len_bytes| refuse_large(name, len_bytes, limit_bytes);
            match session.read(&self.path(name), limit).await {
                Err(failure) => Err(failure.refusal().unwrap_or_else(|failure| {
                    let error = self.failed("read", name, &failure);
                    StoreError::new(error.kind(), error.to_string())
                })),
                Ok(found) => Ok(found),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let session = self.session().await?;
            let names = session.list(&self.path(folder)).await;
            names.map_err(|failure| self.failed("list", folder, &failure))
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let session = self.session().await?;
            let deleted = delete(&session, &self.path, &self.path(name)).await;
            deleted.map_err(|failure| self.failed("delete", name, &failure))
        })
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}
