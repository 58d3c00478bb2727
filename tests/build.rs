//! Writes the random handlers that `tests/generated.rs` compiles.
//!
//! `LIMITLESS_PROGRAMS` is how many, `LIMITLESS_SEED` which.

mod generator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for name in ["LIMITLESS_PROGRAMS", "LIMITLESS_SEED"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed=generator.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(Ok(otherwise), |text| text.parse());
    let source = generator::write(number("LIMITLESS_SEED", 1)?, number("LIMITLESS_PROGRAMS", 200)?);
    let to = std::path::Path::new(&std::env::var("OUT_DIR")?).join("generated.rs");
    Ok(std::fs::write(to, source)?)
}
