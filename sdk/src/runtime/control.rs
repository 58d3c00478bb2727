//! What a call says to limitless-faas itself, apart from the handler's input.

use limitless_faas_core::log::Caller;
use limitless_faas_core::signature::{Resumption, Signature};
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce, callback, retention};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::Fields;

/// The reserved field of an input that carries a [`Control`].
pub(crate) const FIELD: &str = "$limitless";

/// Control data: about an execution, not for its handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// Go on with this execution. The call has no input of its own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<ExecutionId>,
    /// The number of the `Suspended` entry to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<u64>,
    /// The same key and input always mean the same execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<String>,
    /// Where the result is to be posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<String>,
    /// How long the result is to be kept after the end, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_ms: Option<u64>,
    /// The handler that is asked for, where the deployment is a wrap: a function that runs several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// The workflow that calls it as a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<Caller>,
    /// Which of the execution's inputs in the store it gets: one that would have been too large for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Nonce>,
    /// That who asks to go on has a key of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<Signature>,
}

impl Control {
    /// What a successor is invoked with.
    pub(crate) fn successor(asked: &Resumption<'_>, signature: Option<Signature>) -> Self {
        Self {
            resume: Some(asked.execution.clone()),
            entry: asked.entry,
            node: asked.node.map(str::to_owned),
            signature,
            ..Self::default()
        }
    }

    /// Whether somebody looks at the result later, so that it has to be recorded.
    pub(crate) fn wants_record(&self) -> bool {
        self.idempotency_key.is_some() || self.callback.is_some() || self.keep_ms.is_some()
    }

    /// Refuses what must not get into a log.
    ///
    /// # Errors
    /// [`Code::BadInput`] for a callback that holds a password or is none, and for a result that is to be kept too long.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let bad = |error: &dyn std::error::Error| Failure::new(Code::BadInput, error.to_string());
        self.callback.as_deref().map_or(Ok(()), callback::check).map_err(|error| bad(&error))?;
        self.keep_ms.map_or(Ok(()), retention::check).map_err(|error| bad(&error))
    }

    /// The body that carries only this.
    pub(crate) fn to_body(&self) -> Value {
        serde_json::json!({ FIELD: self })
    }

    /// Takes the control data out of an input.
    ///
    /// # Errors
    /// [`Code::BadInput`] where it does not read as such.
    pub(crate) fn take(input: &mut Fields) -> Result<Self, Failure> {
        let Some(value) = input.remove(FIELD) else { return Ok(Self::default()) };
        serde_json::from_str(value.get()).map_err(|error| {
            Failure::new(Code::BadInput, format!("the field `{FIELD}` can't be read: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::signature::SecretKeys;

    use super::*;

    #[test]
    fn control_is_taken_out_of_the_input() {
        let mut input = serde_json::from_str(r#"{"n":3,"$limitless":{"idempotency_key":"k"}}"#).unwrap();
        let control = Control::take(&mut input).unwrap();
        assert_eq!(control.idempotency_key.as_deref(), Some("k"));
        assert_eq!(serde_json::to_string(&input).unwrap(), r#"{"n":3}"#);
    }

    #[test]
    fn what_must_not_get_into_a_log_is_refused() {
        for (text, says) in [
            (r#"{"$limitless":{"callback":"http://me:pw@host/"}}"#, "LIMITLESS_CALLBACK_LOGIN"),
            (r#"{"$limitless":{"callback":"ftp://host/"}}"#, "not a URL"),
            (r#"{"$limitless":{"keep_ms":315360000001}}"#, "ten years"),
            (r#"{"$limitless":{"keep_ms":18446744073709551615}}"#, "ten years"),
            (r#"{"$limitless":{"keep_ms":-1}}"#, "can't be read"),
            (r#"{"$limitless":{"keep_ms":"7d"}}"#, "can't be read"),
            (r#"{"$limitless":{"keep_ms":1.5}}"#, "can't be read"),
            (r#"{"$limitless":{"keep_ms":18446744073709551616}}"#, "can't be read"),
        ] {
            let mut input = serde_json::from_str(text).unwrap();
            let refused = Control::take(&mut input).and_then(|control| control.check()).unwrap_err();
            assert!(refused.code == Code::BadInput && refused.message.contains(says), "{text}: {refused:?}");
            assert!(!refused.message.contains("pw"), "{refused:?}");
        }
        let mut input = serde_json::from_str(r#"{"$limitless":{"keep_ms":315360000000}}"#).unwrap();
        let control = Control::take(&mut input).unwrap();
        assert!(control.check().is_ok() && control.wants_record());
    }

    #[test]
    fn a_hostile_id_or_an_unknown_field_is_bad_input() {
        for text in [
            r#"{"$limitless":{"resume":"../../etc"}}"#,
            r#"{"$limitless":{"rsume":"x"}}"#,
            r#"{"$limitless":5}"#,
            r#"{"$limitless":{"signature":"5"}}"#,
        ] {
            let mut input = serde_json::from_str(text).unwrap();
            assert_eq!(Control::take(&mut input).unwrap_err().code, Code::BadInput, "{text}");
        }
    }

    #[test]
    fn a_successor_reads_back() {
        let execution = ExecutionId::derive("h", "c");
        let asked = Resumption { execution: &execution, entry: Some(7), node: Some("count") };
        let keys = SecretKeys::parse(&"1f".repeat(32)).unwrap();
        let control = Control::successor(&asked, Some(keys.sign(&asked, 5)));
        let mut body = serde_json::from_str(&control.to_body().to_string()).unwrap();
        assert_eq!(Control::take(&mut body).unwrap(), control);
    }
}
