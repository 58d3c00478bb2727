//! What a function is linked with.

use tokio::process::Command;

use crate::args::Libc;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// The target to pass to cargo; none for this machine's own.
///
/// # Errors
/// Where `wanted` can't be built for here.
pub async fn triple(wanted: Option<Libc>) -> Result<Option<String>> {
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let is_possible = match wanted {
        Some(Libc::Gnu) => false,
        Some(Libc::Musl) if !has_std(&musl).await => {
            return Err(Error::new(Exit::Build, format!("cargo can't build for {musl} here"))
                .help(format!("install it: rustup target add {musl}"))
                .help("or take this machine's C library into the image: --target gnu"));
        }
        Some(Libc::Musl) => true,
        // The dependencies have parts in C, which need a compiler for it too.
        None => has_std(&musl).await && has_compiler(&musl).await,
    };
    Ok(is_possible.then_some(musl))
}

async fn has_std(triple: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", triple]).output().await;
    let folder = asked.ok().filter(|asked| asked.status.success()).map(|asked| asked.stdout);
    folder.is_some_and(|folder| {
        std::fs::read_dir(String::from_utf8_lossy(&folder).trim())
            .is_ok_and(|mut files| files.next().is_some())
    })
}

async fn has_compiler(triple: &str) -> bool {
    if std::env::var_os(format!("CC_{}", triple.replace('-', "_"))).is_some() {
        return true;
    }
    let asked = Command::new("musl-gcc").arg("--version").output().await;
    asked.is_ok_and(|asked| asked.status.success())
}
