//! The segments of an execution, in which results of steps and calls stand.

use limitless_faas_core::log::{Execution, Segment};
use limitless_faas_core::segment::{decode, open_calls};
use limitless_faas_core::{Code, ExecutionId, Failure, key};

use crate::log::failure;
use crate::{Key, Log};

impl Log {
    /// The bytes of one segment, also those that its owner appends just now; none where nothing was appended.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn segment(&self, segment: &Segment) -> Result<Option<Vec<u8>>, Failure> {
        let key = self.segment_key(segment)?;
        let blob = self.store().read_blob(&key).await.map_err(|error| failure(&error))?;
        let Some(mut blob) = blob else { return Ok(None) };
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut blob, &mut bytes)
            .map_err(|error| Failure::new(Code::StoreAway, format!("failed to read {key}: {error}")))?;
        Ok(Some(bytes))
    }

    /// Makes durable what [`Log::segment`] gave, also where the segment's owner did not live to do so.
    ///
    /// # Errors
    /// Where it may not be durable.
    pub async fn settle_segment(&self, segment: &Segment) -> Result<(), Failure> {
        let settled = self.store().settle(&self.segment_key(segment)?).await;
        settled.map_err(|error| failure(&error))
    }

    /// The calls that this execution began and whose end it has not recorded: the id of each called execution, and its handler. One whose
    /// beginning was lost with its invocation is missing.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn open_calls(&self, execution: &Execution) -> Result<Vec<(ExecutionId, String)>, Failure> {
        let mut records = Vec::new();
        for segment in &execution.segments {
            let bytes = self.segment(segment).await?.unwrap_or_default();
            let placed = decode(&bytes, segment.length.unwrap_or(u64::MAX));
            records.extend(placed.into_iter().map(|placed| placed.record));
        }
        Ok(open_calls(&records))
    }

    fn segment_key(&self, segment: &Segment) -> Result<Key, Failure> {
        let name = key::segment(self.id(), segment.epoch, segment.nonce);
        Key::new(&name).map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))
    }
}
