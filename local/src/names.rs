//! Which names the platform takes. A name is a key in a map and a text in an answer, never a part of a path; the one
//! exception, a secret's name, is the strictest.

/// OpenWhisk's entity names: `\A([\w]|[\w][\w@ .&-]*[\w@.&-]+)\z` with ASCII `\w`, at most 256 characters.
pub(crate) fn is_entity_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= 256
        && name.starts_with(word)
        && name.chars().all(|c| word(c) || matches!(c, '@' | ' ' | '.' | '&' | '-'))
        && !name.ends_with(' ')
}

/// OpenWhisk's activation ids: 32 lowercase hex digits.
pub(crate) fn is_activation_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// OpenFaaS's function names and namespaces: a DNS label.
pub(crate) fn is_service_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= 63
        && bytes.first().copied().is_some_and(inner)
        && bytes.last().copied().is_some_and(inner)
        && bytes.iter().all(|&b| inner(b) || b == b'-')
}

/// A secret's name is the name of the file a function reads it from: DNS labels joined by single dots.
pub(crate) fn is_secret_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_service_name)
}

/// The name of an environment variable that a process can be given.
pub(crate) fn is_env_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 12] =
        ["", ".", "..", "../x", "a/b", "a\0b", "a\nb", " a", "a ", "ä", "\u{202e}a", "a%2fb"];

    #[test]
    fn entity_names_are_those_of_openwhisk() {
        for good in ["a", "_x", "hello world", "a.b", "a@b&c-d", "A1"] {
            assert!(is_entity_name(good), "{good:?}");
        }
        let long = "a".repeat(257);
        for bad in HOSTILE.iter().copied().chain(["-a", ".a", "@a", long.as_str()]) {
            assert!(!is_entity_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn service_and_secret_names_are_dns_labels() {
        for good in ["a", "fib-2", "0x"] {
            assert!(is_service_name(good) && is_secret_name(good), "{good:?}");
        }
        assert!(is_secret_name("db.password") && !is_secret_name("db..password") && !is_service_name("a.b"));
        let long = "a".repeat(10_000);
        for bad in HOSTILE.iter().copied().chain(["-a", "a-", "A", "a_b", long.as_str()]) {
            assert!(!is_service_name(bad) && !is_secret_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn activation_ids_are_32_hex_digits() {
        assert!(is_activation_id(&"0f".repeat(16)));
        for bad in ["", "0f", &"0F".repeat(16), &"g".repeat(32), &"0".repeat(33)] {
            assert!(!is_activation_id(bad), "{bad:?}");
        }
    }
}
