//! Makes bindings from the `dmtcp.h` that is installed, or notes why it could not.

use std::env;
use std::error::Error;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    println!("cargo::rustc-check-cfg=cfg(dmtcp_header)");
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-env-changed=DMTCP_ROOT");
    println!("cargo::rerun-if-env-changed=PATH");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    let missing = match header() {
        Some(header) => {
            bind(&header, &out).err().map(|error| format!("{} could not be read: {error}", header.display()))
        }
        None => Some(
            "no dmtcp.h was found when this was built; set DMTCP_ROOT to where DMTCP is installed".to_owned(),
        ),
    };
    if missing.is_none() {
        println!("cargo::rustc-cfg=dmtcp_header");
    }
    fs::write(out.join("missing.rs"), format!("{:?}", missing.unwrap_or_default()))?;
    Ok(())
}

/// The first header among the places where DMTCP is usually installed.
fn header() -> Option<PathBuf> {
    let given = env::var_os("DMTCP_ROOT").map(PathBuf::from);
    let beside_launch = env::var_os("PATH").and_then(|path| {
        let folder = env::split_paths(&path).find(|folder| folder.join("dmtcp_launch").is_file())?;
        folder.parent().map(Path::to_owned)
    });
    let usual = ["/usr", "/usr/local", "/opt/dmtcp"].map(PathBuf::from);
    let headers =
        given.into_iter().chain(beside_launch).chain(usual).map(|root| root.join("include/dmtcp.h"));
    headers.into_iter().find(|header| header.is_file())
}

fn bind(header: &Path, out: &Path) -> Outcome<()> {
    println!("cargo::rerun-if-changed={}", header.display());
    let folder = header.parent().ok_or("it stands in no folder")?;
    // Some packages install the header without the one that it includes for its version.
    let version = (!folder.join("dmtcp/version.h").is_file()).then_some("-DDMTCP_PACKAGE_VERSION=\"\"");
    let builder = bindgen::builder()
        .header("wrapper.h")
        .clang_arg(format!("-I{}", folder.display()))
        .clang_args(version)
        .dynamic_library_name("Dmtcp")
        .allowlist_function("dmtcp_.*")
        .allowlist_type("e?Dmtcp.*")
        .allowlist_var("DMTCP_.*")
        .generate_cstr(true)
        .generate_comments(false)
        .layout_tests(false);
    // Where there is no libclang, bindgen panics. That is no reason for a build to fail.
    panic::set_hook(Box::new(|_| {}));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    drop(panic::take_hook());
    generated.map_err(|_| "libclang was not found")??.write_to_file(out.join("bindings.rs"))?;
    Ok(())
}
