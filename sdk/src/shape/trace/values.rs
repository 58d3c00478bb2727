//! The made-up values, in the order in which they are tried.

/// The integer of a level: every type has it.
pub(super) fn integer(level: u32) -> u8 {
    pick(&[0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 20, 32, 50, 64, 100, 127], level)
}

pub(super) fn float(level: u32) -> f32 {
    pick(&[0.0, 1.0, 0.5, 2.0, -1.0, 10.0, 100.0, 0.25], level)
}

pub(super) fn character(level: u32) -> char {
    pick(&['a', 'A', '0', ' ', '/', '-'], level)
}

/// Texts that the usual types with a text form accept.
pub(super) fn text(level: u32) -> &'static str {
    pick(
        &[
            "",
            "a",
            "0",
            "1",
            "A",
            "/",
            "a/b",
            "127.0.0.1",
            "::1",
            "127.0.0.1:80",
            "http://localhost/",
            "a@example.com",
            "2000-01-01T00:00:00Z",
            "2000-01-01",
            "00000000-0000-4000-8000-000000000000",
            "1.0.0",
        ],
        level,
    )
}

/// How many elements a sequence or map has.
pub(super) fn count(attempt: u32) -> usize {
    pick(&[1, 0, 2, 3, 4, 8, 16, 32], attempt)
}

fn pick<T: Copy, const N: usize>(values: &[T; N], level: u32) -> T {
    values[level as usize % N]
}
