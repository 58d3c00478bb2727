//! `cargo faas`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_faas::main(std::env::args_os())
}
