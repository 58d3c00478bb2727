//! S3, Google Cloud Storage and Azure Blob Storage, by `object_store`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, RetryConfig};

use crate::Settings;
use crate::address::Address;
use crate::remote::{Objects, refuse_large};
use crate::{BoxFuture, Created, StoreError, StoreErrorKind};

/// A bucket or container, and a prefix in it.
pub(crate) struct Bucket {
    store: Box<dyn ObjectStore>,
    prefix: String,
    secrets: Settings,
}

impl Bucket {
    fn new(store: impl ObjectStore, address: &Address, settings: &Settings) -> Self {
        Self { store: Box::new(store), prefix: address.prefix(), secrets: settings.clone() }
    }

    /// `s3://bucket/prefix`; `region`, `endpoint` and `path_style` as parameters, the rest as Amazon's own clients do.
    #[cfg(feature = "s3")]
    pub(crate) fn s3(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(address.host()?)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retries())
            .with_client_options(client(address)?);
        let named = [
            ("AWS_ACCESS_KEY_ID", None, AmazonS3ConfigKey::AccessKeyId),
            ("AWS_SECRET_ACCESS_KEY", None, AmazonS3ConfigKey::SecretAccessKey),
            ("AWS_SESSION_TOKEN", None, AmazonS3ConfigKey::Token),
            ("AWS_REGION", Some("region"), AmazonS3ConfigKey::Region),
            ("AWS_ENDPOINT_URL", Some("endpoint"), AmazonS3ConfigKey::Endpoint),
        ];
        for (variable, parameter, key) in named {
            let value = parameter.and_then(|name| address.parameter(name)).or_else(|| settings.get(variable));
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(path_style) = address.flag("path_style")? {
            builder = builder.with_virtual_hosted_style_request(!path_style);
        }
        let store = builder.build().map_err(|error| invalid(address, settings, &error))?;
        Ok(Self::new(store, address, settings))
    }

    /// `gs://bucket/prefix`; credentials as Google's own clients take them.
    #[cfg(feature = "gcs")]
    pub(crate) fn gcs(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(address.host()?)
            .with_retry(retries())
            .with_client_options(client(address)?);
        let named = [
            ("GOOGLE_SERVICE_ACCOUNT_KEY", GoogleConfigKey::ServiceAccountKey),
            ("GOOGLE_SERVICE_ACCOUNT", GoogleConfigKey::ServiceAccount),
            ("GOOGLE_APPLICATION_CREDENTIALS", GoogleConfigKey::ApplicationCredentials),
        ];
        for (variable, key) in named {
            if let Some(value) = settings.get(variable) {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = address.parameter("endpoint") {
            builder = builder.with_base_url(&endpoint);
        }
        let store = builder.build().map_err(|error| invalid(address, settings, &error))?;
        Ok(Self::new(store, address, settings))
    }

    /// `azure://account/container/prefix`; credentials as Azure's own clients take them.
    #[cfg(feature = "azure")]
    pub(crate) fn azure(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
        let (container, address) = address.split_folder("azure://account/container/prefix")?;
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_account(address.host()?)
            .with_container_name(container)
            .with_retry(retries())
            .with_client_options(client(&address)?);
        let named = [
            ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
            ("AZURE_STORAGE_SAS_TOKEN", AzureConfigKey::SasKey),
            ("AZURE_STORAGE_CLIENT_ID", AzureConfigKey::ClientId),
            ("AZURE_STORAGE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
            ("AZURE_STORAGE_TENANT_ID", AzureConfigKey::AuthorityId),
        ];
        for (variable, key) in named {
            if let Some(value) = settings.get(variable) {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = address.parameter("endpoint") {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder.build().map_err(|error| invalid(&address, settings, &error))?;
        Ok(Self::new(store, &address, settings))
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    /// What an error means; a write's may be of a request that still arrives.
    fn failed(&self, action: &str, name: &str, error: &Error) -> StoreError {
        let stays = matches!(
            error,
            Error::PermissionDenied { .. }
                | Error::Unauthenticated { .. }
                | Error::InvalidPath { .. }
                | Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::UnknownConfigurationKey { .. }
                | Error::NotFound { .. }
        );
        let message = format!("failed to {action} {name}: {}", one_line(error));
        StoreError::of_server(&self.secrets, &message, stays.then_some(StoreErrorKind::Terminal))
    }
}

/// Few, and soon over: the execution log tries again by itself, and knows until when it may.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(10),
    }
}

fn client(address: &Address) -> Result<ClientOptions, StoreError> {
    let is_plain = address.parameter("endpoint").is_some_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new()
        .with_timeout(Duration::from_secs(25))
        .with_connect_timeout(Duration::from_secs(5))
        .with_pool_max_idle_per_host(16);
    // Plain HTTP only where the URL itself says so.
    let is_allowed = is_plain || address.flag("allow_http")? == Some(true);
    Ok(options.with_allow_http(is_allowed))
}

fn invalid(address: &Address, settings: &Settings, error: &Error) -> StoreError {
    let message = format!("failed to open the store {}: {}", address.shown(), one_line(error));
    StoreError::new(StoreErrorKind::Invalid, settings.redact(&message))
}

/// Servers answer with pages of XML; their first lines say what is wrong.
fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        Some((until, _)) => format!("{}…", &line[..until]),
        None => line,
    }
}

impl Objects for Bucket {
    fn put_new<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(async move {
            match self.store.put_opts(&self.path(name), bytes.into(), PutMode::Create.into()).await {
                Ok(_) => Ok(Created::New),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Exists),
                Err(error) => Err(self.failed("create", name, &error)),
            }
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        limit_bytes: u64,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let failed = |error| self.failed("read", name, &error);
            let found = match self.store.get(&self.path(name)).await {
                Err(Error::NotFound { .. }) => return Ok(None),
                found => found.map_err(failed)?,
            };
            refuse_large(name, found.meta.size, limit_bytes)?;
            found.bytes().await.map(Some).map_err(failed)
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let failed = |error| self.failed("list", folder, &error);
            let found = self.store.list_with_delimiter(Some(&self.path(folder))).await.map_err(failed)?;
            let objects = found.objects.iter().map(|object| &object.location);
            let paths = objects.chain(&found.common_prefixes);
            Ok(paths.filter_map(|path| path.filename().map(str::to_owned)).collect())
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            match self.store.delete(&self.path(name)).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed("delete", name, &error)),
            }
        })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
