//! What an image contains, per platform.

use limitless_faas_images::Definition;

use super::Dialect;
use crate::error::{Error, Result};

impl Dialect {
    /// What an image for this platform contains beside the function.
    ///
    /// # Errors
    /// None but a bug of ours: the definitions are part of this program.
    pub fn definition(self) -> Result<Definition> {
        let text = match self {
            Self::OpenWhisk => include_str!("../../runtime-images/openwhisk.toml"),
            Self::OpenFaas => include_str!("../../runtime-images/openfaas.toml"),
        };
        Definition::read(text)
            .map_err(|error| Error::bug("a definition of images can't be read").because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        for dialect in [Dialect::OpenWhisk, Dialect::OpenFaas] {
            let definition = dialect.definition().unwrap();
            let base = definition.base().unwrap();
            assert!(base.contains("/tmp") && base.contains("/etc/ssl/certs/ca-certificates.crt"));
            assert_eq!(definition.port, 8080);
            assert_ne!(definition.user, 0, "functions are not root");
        }
    }
}
