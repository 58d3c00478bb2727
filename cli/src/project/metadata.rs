//! What a project asks of a deployment: the table `deploy` of its `faas.toml`, and `[package.metadata.faas]` of a package, which goes
//! before.

use std::collections::BTreeMap;
use std::time::Duration;

use limitless_faas_images::Reference;
use serde::{Deserialize, Deserializer};

use super::programs::FILE;
use super::{Programs, Project};
use crate::error::{Error, Result};
use crate::units;

/// The settings of a deployment. Each can be given on the command line too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// The image's name, without a tag.
    #[serde(default, deserialize_with = "reference")]
    pub image: Option<Reference>,
    /// The store's URL.
    #[serde(default)]
    pub store: Option<String>,
    /// Time limit of one invocation.
    #[serde(default, deserialize_with = "limit")]
    pub time_limit: Option<Duration>,
    /// Memory limit in MB.
    #[serde(default, deserialize_with = "memory")]
    pub memory: Option<u64>,
    /// Environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Variables whose values the deployer's environment has.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Where functions reach their gateway.
    #[serde(default)]
    pub gateway_url: Option<String>,
    /// The same for one environment, which goes before.
    #[serde(default)]
    pub env: BTreeMap<String, Wishes>,
}

impl Wishes {
    /// The settings for `environment`, or those for all.
    ///
    /// # Errors
    /// Where there are none for it.
    pub fn of(mut self, environment: Option<&str>) -> Result<Self> {
        let Some(name) = environment else { return Ok(self) };
        let names: Vec<String> = self.env.keys().cloned().collect();
        let Some(own) = self.env.remove(name) else {
            let known = crate::suggest::among("environment", name, names.iter().map(String::as_str));
            return Err(Error::usage(format!("there are no settings for environment `{name}`"))
                .help(known)
                .help(format!(
                    "write them as [deploy.env.{name}] in {FILE}, or as [package.metadata.faas.env.{name}] in Cargo.toml"
                )));
        };
        self.env.clear();
        Ok(own.before(self))
    }

    /// These, and what they leave open as `others` have it.
    fn before(self, others: Self) -> Self {
        let mut environment = others.environment;
        environment.extend(self.environment);
        let mut secrets = others.secrets;
        secrets.extend(self.secrets.into_iter().filter(|name| !secrets.contains(name)).collect::<Vec<_>>());
        let mut env = others.env;
        for (name, own) in self.env {
            let under = env.remove(&name).unwrap_or_default();
            env.insert(name, own.before(under));
        }
        Self {
            image: self.image.or(others.image),
            store: self.store.or(others.store),
            time_limit: self.time_limit.or(others.time_limit),
            memory: self.memory.or(others.memory),
            gateway_url: self.gateway_url.or(others.gateway_url),
            environment,
            secrets,
            env,
        }
    }
}

impl Project {
    /// What the package asks of a deployment: its own manifest first, then the nearest `faas.toml` of its folder or above.
    ///
    /// # Errors
    /// Where it can't be understood.
    pub fn wishes(&self, package: &str) -> Result<Wishes> {
        let Some(found) = self.members().find(|member| *member.name == *package) else {
            return Ok(Wishes::default());
        };
        let folders = found.manifest_path.as_std_path().ancestors().skip(1);
        let file = folders.map(|folder| folder.join(FILE)).find(|file| file.is_file());
        let of_file = file.map(|file| Programs::read(&file)).transpose()?.map(Programs::into_wishes);
        let of_file = of_file.unwrap_or_default();
        let Some(table) = found.metadata.get("faas").cloned() else { return Ok(of_file) };
        let own: Wishes = serde_json::from_value(table).map_err(|error| {
            Error::usage(format!("failed to understand [package.metadata.faas] of package `{package}`"))
                .because(error)
                .help("`cargo faas deploy --help` shows what can stand there")
        })?;
        Ok(own.before(of_file))
    }
}

fn parsed<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&str) -> std::result::Result<T, String>,
) -> std::result::Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Duration>, D::Error> {
    parsed(from, units::parse_limit)
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<u64>, D::Error> {
    parsed(from, units::parse_memory_mb)
}

fn reference<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Reference>, D::Error> {
    parsed(from, |text| {
        text.parse().map_err(|error: limitless_faas_images::InvalidReference| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_environment_goes_before_the_rest() {
        let wishes: Wishes = serde_json::from_value(json!({
            "memory": "128MB", "time_limit": "2s", "environment": { "A": "1", "B": "1" },
            "env": { "production": { "memory": "512MB", "environment": { "B": "2" } } },
        }))
        .unwrap();
        let chosen = wishes.clone().of(Some("production")).unwrap();
        assert_eq!((chosen.memory, chosen.time_limit), (Some(512), Some(Duration::from_secs(2))));
        assert_eq!(chosen.environment, BTreeMap::from([("A".into(), "1".into()), ("B".into(), "2".into())]));
        assert_eq!(wishes.clone().of(None).unwrap().memory, Some(128));
        assert!(wishes.of(Some("prodction")).unwrap_err().helps()[0].contains("production"));
    }

    #[test]
    fn a_package_goes_before_its_project() {
        let wishes = |value| serde_json::from_value::<Wishes>(value).unwrap();
        let own =
            wishes(json!({ "memory": "300MB", "secrets": ["A"], "env": { "test": { "memory": "128MB" } } }));
        let project = wishes(json!({
            "memory": "200MB", "time_limit": "5s", "secrets": ["A", "B"], "env": { "test": { "store": "file:/x" } },
        }));
        let both = own.before(project);
        assert_eq!((both.memory, both.time_limit), (Some(300), Some(Duration::from_secs(5))));
        assert_eq!(both.secrets, ["A", "B"]);
        let test = both.of(Some("test")).unwrap();
        assert_eq!((test.memory, test.store.as_deref()), (Some(128), Some("file:/x")));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for bad in [json!({ "memry": "1GB" }), json!({ "memory": "lots" }), json!({ "image": "UPPER" })] {
            assert!(serde_json::from_value::<Wishes>(bad.clone()).is_err(), "{bad}");
        }
    }
}
