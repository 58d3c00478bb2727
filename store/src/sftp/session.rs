//! What is asked of the server, over one connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use russh::client::Handle;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::extensions::FSYNC;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::task::JoinSet;

use super::login::{Greeter, Login};
use crate::{StoreError, StoreErrorKind};

/// So much is written or asked for in one request; servers take 256 KiB.
const CHUNK_BYTES: usize = 128 << 10;
/// So many of them are under way at once.
const AT_ONCE: usize = 32;
/// Below the limit for the whole operation, so that the message says what did not answer.
const TIMEOUT_SECONDS: u64 = 25;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no, or did not say anything.
    Server(Error),
    /// We did not want what it offered.
    Refused(StoreError),
}

impl Failure {
    pub(super) fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Server(Error::Status(status)) => Some(status.status_code),
            _ => None,
        }
    }

    /// The file is not there, or the folder that it would be in.
    pub(super) fn is_absent(&self) -> bool {
        self.code() == Some(StatusCode::NoSuchFile)
    }

    pub(super) fn refusal(self) -> Result<StoreError, Self> {
        match self {
            Self::Refused(error) => Ok(error),
            server @ Self::Server(_) => Err(server),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(Error::Status(status)) => {
                write!(f, "the server says {:?} ({})", status.status_code, status.error_message)
            }
            Self::Server(error) => write!(f, "{error}"),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

/// A connection that is logged in and speaks SFTP.
pub(super) struct Session {
    sftp: Arc<RawSftpSession>,
    ssh: Handle<Greeter>,
    is_broken: AtomicBool,
}

impl Session {
    pub(super) async fn open(login: &Login) -> Result<Self, StoreError> {
        let ssh = login.connect().await?;
        let channel = ssh.channel_open_session().await.map_err(|error| login.failed(&error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| login.failed(&error))?;
        let sftp = RawSftpSession::new(channel.into_stream());
        sftp.set_timeout(TIMEOUT_SECONDS);
        let version = sftp.init().await.map_err(|error| match error {
            Error::Timeout => login.failed(&"the server does not offer SFTP"),
            error => login.failed(&error),
        })?;
        if !version.extensions.contains_key(FSYNC) {
            let message = format!(
                "{} can't be used: it can't sync files to its disk, so what it acknowledged could be lost",
                login.server()
            );
            return Err(StoreError::new(StoreErrorKind::NotSupported, message));
        }
        Ok(Self { sftp: Arc::new(sftp), ssh, is_broken: AtomicBool::new(false) })
    }

    /// Whether it is worth asking over this connection.
    pub(super) fn is_open(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// Any outcome but an answer of the server means that the connection is not to be used again.
    fn heard<T>(&self, outcome: Result<T, Error>) -> Result<T, Failure> {
        if matches!(&outcome, Err(error) if !matches!(error, Error::Status(_))) {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        outcome.map_err(Failure::Server)
    }

    /// Writes a new file, durably but for its name.
    pub(super) async fn write(&self, path: &str, bytes: Bytes) -> Result<(), Failure> {
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        let file = self.heard(self.sftp.open(path, flags, FileAttributes::empty()).await)?.handle;
        let written = self.write_all(&file, bytes).await;
        let synced = match written {
            Ok(()) => self.heard(self.sftp.fsync(&file).await).map(drop),
            Err(failure) => Err(failure),
        };
        let closed = self.heard(self.sftp.close(&file).await);
        synced.and(closed.map(drop))
    }

    async fn write_all(&self, file: &str, bytes: Bytes) -> Result<(), Failure> {
        let mut writing = JoinSet::new();
        for (number, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            if writing.len() >= AT_ONCE {
                self.next_of(&mut writing).await?;
            }
            let (sftp, file, chunk) = (Arc::clone(&self.sftp), file.to_owned(), chunk.to_vec());
            let at = (number * CHUNK_BYTES) as u64;
            writing.spawn(async move { sftp.write(file, at, chunk).await.map(drop) });
        }
        while !writing.is_empty() {
            self.next_of(&mut writing).await?;
        }
        Ok(())
    }

    async fn next_of<T: 'static>(
        &self,
        under_way: &mut JoinSet<Result<T, Error>>,
    ) -> Result<Option<T>, Failure> {
        match under_way.join_next().await {
            Some(Ok(outcome)) => self.heard(outcome).map(Some),
            Some(Err(_)) => self.heard(Err(Error::UnexpectedBehavior("a request was given up".to_owned()))),
            None => Ok(None),
        }
    }

    /// The whole file; none if there is no such file. `limit` may refuse its length.
    pub(super) async fn read(
        &self,
        path: &str,
        limit: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<Option<Bytes>, Failure> {
        let opened = self.heard(self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await);
        let file = match opened {
            Err(failure) if failure.is_absent() => return Ok(None),
            opened => opened?.handle,
        };
        let bytes = self.read_all(&file, limit).await;
        let closed = self.heard(self.sftp.close(&file).await);
        let bytes = bytes?;
        closed.map(|_| bytes)
    }

    async fn read_all(
        &self,
        file: &str,
        limit: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<Option<Bytes>, Failure> {
        let attributes = self.heard(self.sftp.fstat(file).await)?.attrs;
        if attributes.is_dir() {
            return Ok(None);
        }
        let len = attributes.size.unwrap_or_default();
        limit(len).map_err(Failure::Refused)?;
        let mut chunks = Vec::new();
        let mut reading = JoinSet::new();
        for at in (0..len).step_by(CHUNK_BYTES) {
            if reading.len() >= AT_ONCE {
                chunks.extend(self.next_of(&mut reading).await?);
            }
            let (sftp, file) = (Arc::clone(&self.sftp), file.to_owned());
            let end = len.min(at + CHUNK_BYTES as u64);
            reading.spawn(async move { chunk(&sftp, &file, at, end).await });
        }
        while !reading.is_empty() {
            chunks.extend(self.next_of(&mut reading).await?);
        }
        chunks.sort_unstable_by_key(|(at, _)| *at);
        // Of many chunks one copy is made; most files are one.
        if let [(_, only)] = chunks.as_slice() {
            return Ok(Some(only.clone()));
        }
        let mut whole = BytesMut::new();
        for (_, chunk) in &chunks {
            whole.extend_from_slice(chunk);
        }
        Ok(Some(whole.freeze()))
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.heard(self.sftp.rename(from, to).await).map(drop)
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.heard(self.sftp.remove(path).await).map(drop)
    }

    pub(super) async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        self.heard(self.sftp.mkdir(path, FileAttributes::empty()).await).map(drop)
    }

    /// Removes the folder if it is empty, which is not worth a sync.
    pub(super) async fn remove_folder(&self, path: &str) -> Result<(), Failure> {
        self.heard(self.sftp.rmdir(path).await).map(drop)
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool, Failure> {
        self.attributes(path).await.map(|attributes| attributes.is_some())
    }

    pub(super) async fn is_folder(&self, path: &str) -> Result<bool, Failure> {
        self.attributes(path).await.map(|attributes| attributes.is_some_and(|attributes| attributes.is_dir()))
    }

    async fn attributes(&self, path: &str) -> Result<Option<FileAttributes>, Failure> {
        match self.heard(self.sftp.lstat(path).await) {
            Ok(attributes) => Ok(Some(attributes.attrs)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the names in a folder durable: OpenSSH opens a folder for reading as it opens a file.
    pub(super) async fn sync_folder(&self, path: &str) -> Result<(), Failure> {
        let path = if path.is_empty() { "/" } else { path };
        let opened = self.heard(self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await);
        let folder = match opened {
            // It was empty a moment ago, and somebody removed it.
            Err(failure) if failure.is_absent() => return Ok(()),
            opened => opened?.handle,
        };
        let synced = self.heard(self.sftp.fsync(&folder).await);
        let closed = self.heard(self.sftp.close(&folder).await);
        synced.and(closed).map(drop)
    }

    /// The names in a folder; none if there is no such folder.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let folder = match self.heard(self.sftp.opendir(path).await) {
            Err(failure) if failure.is_absent() => return Ok(Vec::new()),
            // Nothing is below a file.
            Err(failure) if failure.code().is_some() && self.is_file(path).await? => return Ok(Vec::new()),
            opened => opened?.handle,
        };
        let names = self.read_names(&folder).await;
        let closed = self.heard(self.sftp.close(&folder).await);
        let names = names?;
        closed.map(|_| names)
    }

    async fn is_file(&self, path: &str) -> Result<bool, Failure> {
        self.attributes(path)
            .await
            .map(|attributes| attributes.is_some_and(|attributes| !attributes.is_dir()))
    }

    async fn read_names(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        loop {
            match self.heard(self.sftp.readdir(folder).await) {
                Ok(some) => names.extend(some.files.into_iter().map(|file| file.filename)),
                Err(failure) if failure.code() == Some(StatusCode::Eof) => break,
                Err(failure) => return Err(failure),
            }
        }
        names.retain(|name| name != "." && name != "..");
        Ok(names)
    }
}

/// The bytes from `at` to `end`, however few the server sends at once.
async fn chunk(sftp: &RawSftpSession, file: &str, at: u64, end: u64) -> Result<(u64, Bytes), Error> {
    let mut bytes = BytesMut::new();
    loop {
        let next = at + bytes.len() as u64;
        if next >= end {
            return Ok((at, bytes.freeze()));
        }
        let wanted = u32::try_from(end - next).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&sftp.read(file, next, wanted).await?.data);
    }
}
