//! Images to registries.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limitless_faas_images::Reference;
use limitless_faas_images::registry::{Credentials, Pushed, Registry, RegistryError, RegistryErrorKind};

use super::Built;
use crate::error::{Error, Result};
use crate::ui::Ui;
use crate::units;

/// Who we are to the registry of `name`, from docker's and podman's files.
///
/// # Errors
/// Where there are credentials that can't be read.
fn credentials(name: &Reference) -> Result<Credentials> {
    Credentials::of(name.registry()).map_err(|error| {
        Error::usage("failed to sign in")
            .because(error)
            .help(format!("sign in anew: docker login {}", name.registry()))
    })
}

/// The registry of `name`.
///
/// # Errors
/// Where there are credentials for it that can't be read.
pub fn registry(name: &Reference) -> Result<Registry> {
    let scheme = if name.is_loopback() { "http" } else { "https" };
    let http = crate::platform::http(&format!("{scheme}://{}", name.registry()), false)?;
    Ok(Registry::new(http, name, credentials(name)?))
}

/// Pushes an image under its name.
///
/// # Errors
/// Where the registry can't be reached or refuses. Nothing is half there: the name comes last.
pub async fn push(built: &Built, ui: &Ui) -> Result<Pushed> {
    let name = &built.name;
    if name.digest().is_some() {
        return Err(Error::usage(format!(
            "`{name}` names an image by its content, which only building it tells"
        ))
        .help("name it with a tag, or with none"));
    }
    let registry = registry(name)?;
    ui.status("Pushing", &name.to_string());
    let all = built.image.size();
    let bar = bar_of(all, ui);
    let pushed = registry
        .push(&built.image, name.tag(), &|pushed| bar.set_position(pushed.sent_bytes + pushed.present_bytes))
        .await
        .map_err(|error| registry_error(error, name));
    bar.finish_and_clear();
    let pushed = pushed?;
    let (sent, present) = (units::bytes(pushed.sent_bytes), units::bytes(pushed.present_bytes));
    ui.status("Pushed", &format!("{name}: {sent} sent, {present} were there"));
    Ok(pushed)
}

/// How far a transfer has come, on a terminal.
fn bar_of(bytes: u64, ui: &Ui) -> ProgressBar {
    if !ui.is_live() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Says what to do about a registry that does not do what was asked.
pub fn registry_error(error: RegistryError, name: &Reference) -> Error {
    let help = match error.kind() {
        RegistryErrorKind::Retry => {
            "nothing is half there: run it again when the registry is back".to_owned()
        }
        RegistryErrorKind::Unauthorized => format!("sign in with `docker login {}`", name.registry()),
        RegistryErrorKind::NotFound => format!("check the image's name, {name}"),
        RegistryErrorKind::Lies => {
            "it is not what it says it is, or a proxy stands between: try another".to_owned()
        }
        RegistryErrorKind::Local => "make room, and see who may read and write there".to_owned(),
        _ => "the registry's own words stand above".to_owned(),
    };
    Error::platform(format!("the registry {} does not take or give {name}", name.registry()))
        .because(error)
        .help(help)
}
