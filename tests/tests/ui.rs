//! Each file in `ui/` is one mistake; beside it is what its author reads.

/// `TRYBUILD=overwrite cargo test --test ui` writes the messages anew: read each as the user would.
#[test]
fn mistakes() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
