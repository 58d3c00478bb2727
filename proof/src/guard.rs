//! What the protocol rests on, each of it removable.

/// A rule whose removal must break a promise.
///
/// The rules stand in core, in the store's contract and in whoever performs core's commands. A rule is removed where the model
/// performs commands, since core itself has no switch that would make it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// A store creates a key only if it is absent.
    CreateIfAbsent,
    /// The nonce is drawn anew for each delivery, never taken from the call's id.
    NoncePerDelivery,
    /// Where a delivery can come twice, even a result in the first invocation is recorded.
    RecordEarlyEnds,
    /// W2: who lost a number folds again; nobody sends the same entry again at a higher one.
    DecideAnew,
    /// W3: an unknown outcome is asked for until it is known, and not taken for success.
    AwaitOutcome,
    /// W4: what is answered is what the log says.
    AnswerFromLog,
    /// The successor is invoked only once the suspension stands.
    SuspendBeforeInvoking,
    /// A step is acknowledged only while the owner's clock, read after the durable append, is before the lease's end.
    AcknowledgeWithinLease,
    /// A claimant waits for the largest clock skew beyond the lease.
    AllowForSkew,
    /// A claimant waits for the lease.
    WaitForLease,
    /// More than one suspension without progress is allowed: a slow process is not a stuck one.
    Patience,
    /// Recoverers also look for results that were recorded and never delivered.
    DeliverLater,
    /// A checkpoint is verified before it is claimed from.
    VerifyBeforeClaiming,
    /// Nobody goes on from a sleep before its end.
    SleepUntilDue,
    /// Whoever makes an event happen records it, and invokes then.
    RecordBeforeWaking,
    /// Whoever leaves to wait for an event writes this, and looks for the event then.
    LookAfterWriting,
}
