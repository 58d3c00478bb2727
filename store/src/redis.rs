//! Redis, and servers that speak its protocol.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    ServerErrorKind,
};
use tokio::sync::OnceCell;

use crate::Settings;
use crate::address::Address;
use crate::remote::{Objects, refuse_large};
use crate::{BoxFuture, Created, StoreError, StoreErrorKind};

const PORT: u16 = 6379;

/// Creates KEYS[1] if it is absent, and puts its name ARGV[2] into the index KEYS[2]: both or neither.
const CREATE: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX') then
  redis.call('ZADD', KEYS[2], 0, ARGV[2]) return 1 end return 0";

const DELETE: &str = "redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('DEL', KEYS[1])";

/// The value of KEYS[1], or its length where that is over the limit ARGV[1].
const GET: &str = "local len = redis.call('STRLEN', KEYS[1])
  if len > tonumber(ARGV[1]) then return len end return redis.call('GET', KEYS[1])";

/// The names directly below the folder ARGV[1], from the index KEYS[1]. What is below one that is itself a folder is leapt over.
const LIST: &str = "local folder, out, limit = ARGV[1], {}, 16
  local from, to = '[' .. folder, '(' .. folder .. '\\255'
  while true do
    local found = redis.call('ZRANGEBYLEX', KEYS[1], from, to, 'LIMIT', 0, limit)
    local leapt = false
    for _, name in ipairs(found) do
      local slash = string.find(name, '/', #folder + 1, true)
      from = '(' .. name
      if slash then
        out[#out + 1] = string.sub(name, #folder + 1, slash - 1)
        from, leapt = '[' .. string.sub(name, 1, slash - 1) .. '0', true
        break
      end
      out[#out + 1] = string.sub(name, #folder + 1)
    end
    if #found == 0 then return out end
    limit = leapt and 16 or math.min(limit * 2, 1024)
  end";

/// A part of a Redis database: values, and one index of their names.
pub(crate) struct Database {
    client: Client,
    connection: OnceCell<ConnectionManager>,
    /// In braces, so that a cluster keeps values and index together.
    prefix: String,
    /// So many replicas must have a write before it counts.
    replicas: Option<u32>,
    secrets: Settings,
}

impl Database {
    /// `redis://user:password@host:port/database/prefix`, or `rediss://` for TLS.
    pub(crate) fn new(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        let invalid = |error: &dyn fmt::Display| {
            let message = format!("failed to open the store {}: {error}", address.shown());
            StoreError::new(StoreErrorKind::Invalid, settings.redact(&message))
        };
        let (database, folder) = split(address.folder());
        let mut of_redis = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = address.user() {
            of_redis = of_redis.set_username(user);
        }
        let password = address.password().map(str::to_owned).or_else(|| settings.get("REDIS_PASSWORD"));
        if let Some(password) = password {
            of_redis = of_redis.set_password(password);
        }
        let info = server(address)?.into_connection_info().map_err(|error| invalid(&error))?;
        // A second request must not wait until the first one is acknowledged.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let replicas = address.parameter("replicas").map(|text| text.parse());
        Ok(Self {
            client: Client::open(info.set_redis_settings(of_redis)).map_err(|error| invalid(&error))?,
            connection: OnceCell::new(),
            prefix: format!("{{limitless/{folder}}}"),
            replicas: replicas.transpose().map_err(|_| invalid(&"`replicas` is not a number"))?,
            secrets: settings.clone(),
        })
    }

    async fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let connect = || {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(2)
                .set_connection_timeout(Some(Duration::from_secs(5)))
                .set_response_timeout(Some(Duration::from_secs(25)));
            ConnectionManager::new_with_config(self.client.clone(), config)
        };
        self.connection.get_or_try_init(connect).await.cloned()
    }

    fn script(&self, script: &str, names: &[&str]) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(names.len());
        for name in names {
            command.arg(format!("{}{name}", self.prefix));
        }
        command
    }

    async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, RedisError> {
        let mut connection = self.connection().await?;
        let mut create = self.script(CREATE, &[name, INDEX]);
        create.arg(&bytes[..]).arg(name);
        let Some(replicas) = self.replicas else {
            return Ok(created(create.query_async(&mut connection).await?));
        };
        // WAIT counts what this very connection wrote, so it goes along in the same pipeline.
        let mut both = redis::pipe();
        both.add_command(create).cmd("WAIT").arg(replicas).arg(5000);
        let (is_new, have_it): (i64, u32) = both.query_async(&mut connection).await?;
        if have_it < replicas {
            let what = "too few replicas have the write";
            return Err(RedisError::from((ErrorKind::Io, what, format!("{have_it} of {replicas}"))));
        }
        Ok(created(is_new))
    }

    fn failed(&self, action: &str, name: &str, error: &RedisError) -> StoreError {
        let stays = match error.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ReadOnly) => {
                Some(StoreErrorKind::Terminal)
            }
            _ if error.code() == Some("OOM") => Some(StoreErrorKind::Full),
            _ => None,
        };
        let message = format!("failed to {action} {name} in Redis: {error}");
        StoreError::of_server(&self.secrets, &message, stays)
    }
}

/// No name begins with `=`.
const INDEX: &str = "=names";

fn created(is_new: i64) -> Created {
    if is_new == 1 { Created::New } else { Created::Exists }
}

/// A number that begins the folder is that of the database, as in Redis's own URLs.
fn split(folder: &str) -> (i64, &str) {
    let (first, rest) = folder.split_once('/').unwrap_or((folder, ""));
    first.parse().map_or((0, folder), |database| (database, rest))
}

fn server(address: &Address) -> Result<ConnectionAddr, StoreError> {
    let (host, port) = address.host_and_port(PORT)?;
    Ok(if address.scheme() == "rediss" {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}

impl Objects for Database {
    fn put_new<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(async move {
            self.create(name, bytes).await.map_err(|error| self.failed("create", name, &error))
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        limit_bytes: u64,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let failed = |error| self.failed("read", name, &error);
            let mut connection = self.connection().await.map_err(failed)?;
            let mut get = self.script(GET, &[name]);
            get.arg(limit_bytes.min(1 << 53));
            match get.query_async(&mut connection).await.map_err(failed)? {
                redis::Value::BulkString(bytes) => Ok(Some(bytes.into())),
                redis::Value::Int(len) => {
                    refuse_large(name, u64::try_from(len).unwrap_or(u64::MAX), limit_bytes)?;
                    Ok(None)
                }
                _ => Ok(None),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let failed = |error| self.failed("list", folder, &error);
            let mut connection = self.connection().await.map_err(failed)?;
            let mut list = self.script(LIST, &[INDEX]);
            list.arg(format!("{folder}/")).query_async(&mut connection).await.map_err(failed)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let failed = |error| self.failed("delete", name, &error);
            let mut connection = self.connection().await.map_err(failed)?;
            let mut delete = self.script(DELETE, &[name, INDEX]);
            let deleted: Result<i64, _> = delete.arg(name).query_async(&mut connection).await;
            deleted.map(drop).map_err(failed)
        })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_a_number_before_the_prefix() {
        assert_eq!(split(""), (0, ""));
        assert_eq!(split("3"), (3, ""));
        assert_eq!(split("3/a/b"), (3, "a/b"));
        assert_eq!(split("a/3"), (0, "a/3"));
    }

    #[tokio::test]
    async fn a_password_is_not_shown() {
        let settings = Settings::new(|_| None);
        let address = Address::parse("redis://me:secret99@localhost:1/a", &[], &settings).unwrap();
        let store = Database::new(&address, &settings).unwrap();
        let error = store.get("a", 1).await.unwrap_err();
        assert!(error.is_retryable() && !error.to_string().contains("secret99"), "{error}");
        assert!(!format!("{store:?} {settings:?}").contains("secret99"));
    }
}
