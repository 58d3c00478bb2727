//! Images as one file: an OCI layout that container engines load.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::json;
use tar::{EntryType, Header};

use crate::image::{Image, MANIFEST};
use crate::{Digest, Error, Reference};

impl Image {
    /// Writes the image as an archive in the OCI layout, with the list that `docker load` reads beside it.
    ///
    /// # Errors
    /// Where the archive can't be written.
    pub fn write_archive(&self, name: &Reference, into: impl Write) -> Result<(), Error> {
        let mut archive = tar::Builder::new(into);
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": MANIFEST, "digest": self.digest(), "size": self.manifest().len(),
                "annotations": {
                    "io.containerd.image.name": name.to_string(), "org.opencontainers.image.ref.name": name.tag(),
                },
            }],
        });
        let layers: Vec<String> = self.layers.iter().map(|layer| blob(layer.blob.digest())).collect();
        let list = json!([{ "Config": blob(self.id()), "RepoTags": [name.familiar()], "Layers": layers }]);
        let write = |archive: &mut tar::Builder<_>, path: &str, bytes: &[u8]| {
            append(archive, path, bytes).map_err(Error::Write)
        };
        write(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        write(&mut archive, "index.json", index.to_string().as_bytes())?;
        write(&mut archive, "manifest.json", list.to_string().as_bytes())?;
        write(&mut archive, &blob(self.digest()), self.manifest())?;
        let mut written = BTreeSet::new();
        for part in self.blobs().filter(|part| written.insert(part.digest().clone())) {
            write(&mut archive, &blob(part.digest()), &part.bytes()?)?;
        }
        let mut into = archive.into_inner().map_err(Error::Write)?;
        into.flush().map_err(Error::Write)
    }
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes)
}
