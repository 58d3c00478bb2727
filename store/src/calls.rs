//! Which calls of an execution are open.

use limitless_faas_core::log::Execution;
use limitless_faas_core::segment::{decode, open_calls};
use limitless_faas_core::{Code, ExecutionId, Failure, key};

use crate::log::failure;
use crate::{Key, Log};

impl Log {
    /// The calls that this execution began and whose end it has not recorded: the id of each called execution, and its handler. One whose
    /// beginning was lost with its invocation is missing.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn open_calls(&self, execution: &Execution) -> Result<Vec<(ExecutionId, String)>, Failure> {
        let mut records = Vec::new();
        for segment in &execution.segments {
            let name = key::segment(&execution.id, segment.epoch, segment.nonce);
            let key =
                Key::new(&name).map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))?;
            let blob = self.store().read_blob(&key).await.map_err(|error| failure(&error))?;
            let Some(mut blob) = blob else { continue };
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut blob, &mut bytes)
                .map_err(|error| Failure::new(Code::StoreAway, format!("failed to read {key}: {error}")))?;
            let placed = decode(&bytes, segment.length.unwrap_or(u64::MAX));
            records.extend(placed.into_iter().map(|placed| placed.record));
        }
        Ok(open_calls(&records))
    }
}
