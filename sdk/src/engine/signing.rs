//! Whether a call to go on comes from somebody who may let executions go on.
//!
//! With `LIMITLESS_KEY` set, successors are signed with a key that follows from it, and a call to go on that is not is refused. A
//! message that is delivered again is signed too: the log lets one of them go on.

use limitless_faas_core::signature::{Resumption, SecretKeys, Signature};
use limitless_faas_core::{Code, Failure};
use limitless_faas_store::KEY_VARIABLE;

use super::{Asked, Engine, Incoming, Vars, now_us};

impl Engine {
    /// Refuses a call to go on with an execution that nobody with a key signed.
    ///
    /// # Errors
    /// [`Code::NotSigned`], or [`Code::NotConfigured`] where `LIMITLESS_KEY` holds no keys.
    pub(super) fn admit(&self, incoming: &Incoming) -> Result<(), Failure> {
        let Asked::Resume { execution, entry, signature } = &incoming.asked else { return Ok(()) };
        let Some(keys) = self.keys(&incoming.vars)? else { return Ok(()) };
        let node = incoming.is_node.then_some(incoming.handler.name);
        let asked = Resumption { execution, entry: *entry, node };
        keys.verify(&asked, signature.as_ref(), now_us() / 1000).map_err(|why| {
            let message = format!(
                "the call to go on with execution {execution} is refused: {why}; who calls needs the {KEY_VARIABLE} of this function"
            );
            Failure::new(Code::NotSigned, message)
        })
    }

    /// The signature of a successor; none where there is no key.
    ///
    /// # Errors
    /// [`Code::NotConfigured`] where `LIMITLESS_KEY` holds no keys.
    pub(super) fn sign(&self, asked: &Resumption<'_>, vars: &Vars) -> Result<Option<Signature>, Failure> {
        Ok(self.keys(vars)?.map(|keys| keys.sign(asked, now_us() / 1000)))
    }

    /// The deployment's keys, looked up once.
    fn keys(&self, vars: &Vars) -> Result<Option<&SecretKeys>, Failure> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys.as_ref());
        }
        let keys = vars.settings().get(KEY_VARIABLE).map(|text| SecretKeys::parse(&text)).transpose();
        let keys = keys.map_err(|error| {
            Failure::new(Code::NotConfigured, format!("{KEY_VARIABLE} is not usable: {error}"))
        })?;
        Ok(self.keys.get_or_init(|| keys).as_ref())
    }
}
