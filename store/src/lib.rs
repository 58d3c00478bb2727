//! Where limitless-faas keeps executions.
//!
//! One small trait, [`Store`], carries everything: the execution log needs *create a key only if it is absent*, atomic and
//! durable ([`Store::create`]); checkpoints need large blobs that stream ([`Store::write_blob`], [`Store::read_blob`]);
//! recorded steps need a durable append ([`Store::append`]). Stores in this crate:
//!
//! | URL | store |
//! | --- | --- |
//! | `file:/absolute/folder` | [`FolderStore`]: a local or shared folder |
//! | `memory:` | [`MemoryStore`]: this process only, for tests |
//! | `s3://…`, `gs://…`, `azure://…`, `redis://…`, `sftp://…` | stores over a network, each behind the feature of its name |
//!
//! [`Pieces`] writes of a large blob only what the one before it has not.
//!
//! With the feature `encryption` and `LIMITLESS_KEY` set, whatever is opened encrypts what it keeps.
//!
//! [`open`] turns a URL into a store; [`open_with_faults`] wraps it so that it fails on purpose, reproducibly.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use limitless_faas_store::{Created, Key, open};
//!
//! let store = open("memory:")?;
//! let key = Key::new("executions/0f/log/00000000")?;
//! assert_eq!(store.create(&key, "first".into()).await?, Created::New);
//! assert_eq!(store.create(&key, "second".into()).await?, Created::Exists);
//! assert_eq!(store.read(&key).await?.as_deref(), Some(&b"first"[..]));
//! # Ok::<(), limitless_faas_store::StoreError>(()) }).unwrap();
//! ```

#[cfg(feature = "remote")]
#[cfg_attr(
    not(any(feature = "s3", feature = "gcs", feature = "azure", feature = "redis", feature = "sftp")),
    allow(
        dead_code,
        unused_imports,
        reason = "what the stores over a network have in common, in a build without any"
    )
)]
mod address;
mod blob;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "encryption")]
mod encrypted;
mod envelope;
mod error;
mod faulty;
mod folder;
mod key;
pub mod log;
mod memory;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod object;
mod open;
pub mod pieces;
#[cfg(feature = "remote")]
mod probe;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "remote")]
#[cfg_attr(
    not(any(feature = "s3", feature = "gcs", feature = "azure", feature = "redis", feature = "sftp")),
    allow(
        dead_code,
        unused_imports,
        reason = "what the stores over a network have in common, in a build without any"
    )
)]
mod remote;
#[cfg_attr(
    not(feature = "encryption"),
    allow(dead_code, reason = "a build that can't open a sealed value only has to know one")
)]
mod sealed;
mod segments;
mod settings;
#[cfg(feature = "sftp")]
mod sftp;
mod store;

pub use blob::{BlobReader, BlobWriter};
#[cfg(feature = "encryption")]
pub use encrypted::{ENCRYPTED_RECORD_LIMIT_BYTES, Encrypted, Keys};
pub use envelope::{EnvelopeError, EnvelopeOptions, EnvelopeReader, EnvelopeWriter, Sealed};
pub use error::{StoreError, StoreErrorKind};
pub use faulty::{Faults, Faulty};
pub use folder::FolderStore;
pub use key::{Key, KeyError};
pub use log::Log;
pub use memory::MemoryStore;
pub use open::{feature, open, open_with, open_with_faults};
pub use pieces::Pieces;
#[cfg(feature = "remote")]
pub use probe::probe;
pub use sealed::KEY_VARIABLE;
pub use settings::{SETTINGS, Settings};
pub use store::{Behind, BoxFuture, Created, RECORD_LIMIT_BYTES, Store};
