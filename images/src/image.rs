//! Images: layers with a configuration, named by their content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::layer::{Blob, Layer};
use crate::{Definition, Digest, Error};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// All times in an image are this one: when it was built is no part of what it is.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// An image: what a registry keeps under one name.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its layers, lowest first, those of a base image included.
    pub layers: Vec<Layer>,
    pub(crate) config: Blob,
    manifest: Vec<u8>,
    digest: Digest,
}

/// An image to build upon.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// What its configuration sets: environment variables stay where ours don't replace them.
    pub(crate) config: Map<String, Value>,
}

/// What makes an image, beside its layers.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    /// How it is started, and what it contains beside the layers.
    pub definition: &'a Definition,
    /// The processor, in the words of registries: `amd64`, `arm64`.
    pub architecture: &'a str,
    /// Further environment variables.
    pub environment: &'a BTreeMap<String, String>,
    /// The image to build upon.
    pub base: Option<&'a Base>,
}

/// A blob as a manifest names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Image {
    /// Makes an image of `layers` as `recipe` says. The same arguments make the same bytes.
    ///
    /// # Errors
    /// [`Error::Base`] where the base image can't be built upon.
    pub fn assemble(layers: Vec<Layer>, recipe: &Recipe<'_>) -> Result<Self, Error> {
        let below = recipe.base.map(|base| base.layers.clone()).unwrap_or_default();
        let layers: Vec<Layer> = below.into_iter().chain(layers).collect();
        let config = Blob::new(config(&layers, recipe)?.to_string());
        let descriptor = |blob: &Blob, media_type: &str| Descriptor {
            media_type: media_type.to_owned(),
            digest: blob.digest().clone(),
            size: blob.size(),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: descriptor(&config, CONFIG),
            layers: layers.iter().map(|layer| descriptor(&layer.blob, &layer.media_type)).collect(),
        };
        let manifest = serde_json::to_vec(&manifest).map_err(|error| Error::Base(error.to_string()))?;
        let digest = Digest::of(&manifest);
        Ok(Self { layers, config, manifest, digest })
    }

    /// Its name by content: that of its manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What container engines call its id: the name of its configuration.
    pub fn id(&self) -> &Digest {
        self.config.digest()
    }

    /// Its manifest, to the byte.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// What is downloaded to run it, in bytes.
    pub fn size(&self) -> u64 {
        self.blobs().map(Blob::size).sum()
    }

    /// Its configuration and its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(self.layers.iter().map(|layer| &layer.blob))
    }
}

fn config(layers: &[Layer], recipe: &Recipe<'_>) -> Result<Value, Error> {
    let definition = recipe.definition;
    let mut inner = recipe.base.map(|base| base.config.clone()).unwrap_or_default();
    let mut environment = environment_of(&inner)?;
    environment.extend(definition.environment.clone());
    environment.extend(recipe.environment.clone());
    let environment: Vec<String> =
        environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let ours = json!({
        "User": format!("{0}:{0}", definition.user),
        "ExposedPorts": { format!("{}/tcp", definition.port): {} },
        "Env": environment,
        "Entrypoint": [definition.program],
        "WorkingDir": definition.folder,
        "Labels": definition.labels,
    });
    // A base image's own command would follow our program as its arguments.
    inner.remove("Cmd");
    if let Value::Object(ours) = ours {
        inner.extend(ours);
    }
    let history: Vec<Value> =
        layers.iter().map(|layer| json!({ "created": EPOCH, "created_by": layer.name })).collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    Ok(json!({
        "created": EPOCH, "architecture": recipe.architecture, "os": "linux", "config": inner,
        "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": history,
    }))
}

fn environment_of(config: &Map<String, Value>) -> Result<BTreeMap<String, String>, Error> {
    let Some(variables) = config.get("Env").filter(|value| !value.is_null()) else {
        return Ok(BTreeMap::new());
    };
    let variables: Vec<String> = Vec::deserialize(variables)
        .map_err(|_| Error::Base("its environment is no list of NAME=VALUE".to_owned()))?;
    let split = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(variables.iter().filter_map(split).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Tree};

    fn image(content: &[u8], base: Option<&Base>) -> Image {
        let definition = Definition::read(
            "port = 8080\nuser = 65532\nprogram = \"/function\"\nfolder = \"/\"\n[environment]\nA = \"1\"\n",
        )
        .unwrap();
        let mut tree = Tree::new();
        tree.add("function", Entry::Bytes { mode: 0o755, bytes: content.to_vec() }).unwrap();
        let recipe = Recipe {
            definition: &definition,
            architecture: "amd64",
            environment: &BTreeMap::from([("B".to_owned(), "a=b\n\"c\"".to_owned())]),
            base,
        };
        Image::assemble(vec![Layer::pack("application", &tree).unwrap()], &recipe).unwrap()
    }

    #[test]
    fn the_same_content_has_the_same_name() {
        assert_eq!(image(b"1", None).digest(), image(b"1", None).digest());
        assert_ne!(image(b"1", None).digest(), image(b"2", None).digest());
    }

    #[test]
    fn a_base_image_keeps_its_own_environment_but_not_its_command() {
        let base = image(b"base", None);
        let config: Value = serde_json::from_slice(&base.config.bytes().unwrap()).unwrap();
        let Value::Object(mut config) = config["config"].clone() else { panic!("no configuration") };
        config.insert("Env".to_owned(), json!(["A=0", "PATH=/opt"]));
        config.insert("Cmd".to_owned(), json!(["serve"]));
        let built = image(b"1", Some(&Base { layers: base.layers, config }));
        let config: Value = serde_json::from_slice(&built.config.bytes().unwrap()).unwrap();
        assert_eq!(config["config"]["Env"], json!(["A=1", "B=a=b\n\"c\"", "PATH=/opt"]));
        assert_eq!(config["config"]["Cmd"], Value::Null);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    }
}
