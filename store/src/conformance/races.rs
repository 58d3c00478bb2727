//! Races: of many writers of one key exactly one wins, and nobody ever reads a part.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{Breach, Suite, pattern};

/// Enough for writing to take several steps, in a store that writes in place.
const LEN: usize = 100_000;

pub(super) async fn check(suite: &Suite) -> Result<(), Breach> {
    for round in 0..suite.extent.rounds {
        check_round(suite, round).await?;
    }
    Ok(())
}

async fn check_round(suite: &Suite, round: usize) -> Result<(), Breach> {
    // Sometimes in a folder that must be made first, by all of them.
    let key = suite.key(&if round.is_multiple_of(2) {
        format!("race/{round}")
    } else {
        format!("race/new-{round}/log/0")
    })?;
    let candidates: Arc<Vec<Bytes>> = Arc::new(
        (0..suite.extent.writers).map(|writer| pattern((round * 1000 + writer) as u64, LEN).into()).collect(),
    );
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for writer in 0..suite.extent.writers {
        let (of, key, candidates) = (suite.clone(), key.clone(), Arc::clone(&candidates));
        writers.push(tokio::spawn(async move { of.wins(&key, &candidates[writer]).await }));
    }
    for _ in 0..3 {
        let (of, key, candidates) = (suite.clone(), key.clone(), Arc::clone(&candidates));
        readers.push(tokio::spawn(async move { read_until_there(&of, &key, &candidates).await }));
    }
    let mut winners = Vec::new();
    for (number, writer) in writers.into_iter().enumerate() {
        if joined(suite, writer).await? {
            winners.push(number);
        }
    }
    let [winner] = winners[..] else {
        return Err(suite.breach(format!("round {round}: writers {winners:?} of one key all won")));
    };
    for reader in readers {
        let seen = joined(suite, reader).await?;
        suite.expect(seen == winner, || format!("round {round}: a reader saw {seen}, but {winner} won"))?;
    }
    let found = suite.read(&key).await?;
    suite.expect(found.as_ref() == Some(&candidates[winner]), || {
        format!("round {round}: not the winner's bytes")
    })?;
    suite.delete(&key).await
}

/// Reads until something is there; answers whose bytes they are.
async fn read_until_there(suite: &Suite, key: &crate::Key, candidates: &[Bytes]) -> Result<usize, Breach> {
    loop {
        if let Some(bytes) = suite.read(key).await? {
            let of = candidates.iter().position(|candidate| *candidate == bytes);
            return of
                .ok_or_else(|| suite.breach(format!("{} bytes were read that nobody wrote", bytes.len())));
        }
        tokio::task::yield_now().await;
    }
}

async fn joined<T>(suite: &Suite, task: JoinHandle<Result<T, Breach>>) -> Result<T, Breach> {
    task.await.map_err(|error| suite.breach(error))?
}
