//! Tokens as text and as a number, the same whatever the source's layout.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The tokens as a person would write them, on one line.
pub(crate) fn of(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
}

/// A type as a person would write it.
pub(crate) fn of_type(of: &syn::Type) -> String {
    // In a type `<` is never a comparison.
    let text = self::of(quote::ToTokens::to_token_stream(of));
    text.replace(" < ", "<").replace(" >", ">").replace("< ", "<").replace("> ::", ">::")
}

fn write(tokens: TokenStream, to: &mut String) {
    let mut glued = true;
    for token in tokens {
        if !glued && wants_space(to, &token) {
            to.push(' ');
        }
        glued = false;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(group.delimiter());
                to.push_str(open);
                write(group.stream(), to);
                to.push_str(close);
            }
            TokenTree::Punct(punct) => {
                to.push(punct.as_char());
                glued =
                    punct.spacing() == Spacing::Joint || matches!(punct.as_char(), '!' | '&' | '#' | '\'');
            }
            other => to.push_str(&other.to_string()),
        }
    }
}

fn delimiters(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{ ", " }"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

fn wants_space(before: &str, next: &TokenTree) -> bool {
    let tight_before = before.ends_with(['.', '(', '[']) || before.ends_with("::") || before.ends_with("..=");
    let tight_next = match next {
        TokenTree::Punct(punct) => matches!(punct.as_char(), '.' | ',' | ';' | '?' | ':'),
        TokenTree::Group(group) => {
            let call = matches!(group.delimiter(), Delimiter::Parenthesis | Delimiter::Bracket);
            let word = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
            let keyword = matches!(word, "in" | "if" | "while" | "match" | "mut" | "for" | "return");
            call && !keyword && before.ends_with(|c: char| c.is_alphanumeric() || "_)]>!".contains(c))
        }
        _ => false,
    };
    !tight_before && !tight_next
}

/// A number that changes with the tokens, and with nothing else; documentation does not count.
pub(crate) fn fingerprint(tokens: TokenStream) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.stream(tokens);
    hash.0
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        // The zero keeps `ab c` from being `a bc`.
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn stream(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' && tokens.next_if(is_doc).is_some() => {}
                TokenTree::Group(group) => {
                    let (open, close) = delimiters(group.delimiter());
                    self.bytes(open.as_bytes());
                    self.stream(group.stream());
                    self.bytes(close.as_bytes());
                }
                other => self.bytes(other.to_string().as_bytes()),
            }
        }
    }
}

fn is_doc(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        of(source.parse().unwrap())
    }

    #[test]
    fn heads_read_as_they_were_written() {
        for head in [
            "for d in 2..=n.isqrt()",
            "for (i, x) in items.iter().enumerate()",
            "while let Some(x) = stack.pop()",
            "for x in &items",
            "loop",
            "while rest % d == 0",
            "for i in (0..n).rev().step_by(2)",
            "for i in a[0]..b[1]",
            "while !done",
        ] {
            assert_eq!(text(head), head);
        }
    }

    #[test]
    fn types_read_as_they_were_written() {
        for of in [
            "Vec<Vec<u8>>",
            "Result<BTreeMap<String, u64>, Box<dyn Error + Send>>",
            "[u8; 4]",
            "(u64, Option<()>)",
        ] {
            assert_eq!(of_type(&syn::parse_str(of).unwrap()), of);
        }
    }

    #[test]
    fn layout_changes_neither_text_nor_fingerprint() {
        let (a, b) = ("for d in 2 ..= n . isqrt ( )", "for d in\n    2..=n.isqrt() // why");
        assert_eq!(text(a), text(b));
        assert_eq!(fingerprint(a.parse().unwrap()), fingerprint(b.parse().unwrap()));
    }

    #[test]
    fn documentation_changes_no_fingerprint_and_code_does() {
        let of = |source: &str| fingerprint(source.parse().unwrap());
        assert_eq!(of("/// one\nfn f() { 1 }"), of("/// two\nfn f() { 1 }"));
        assert_ne!(of("fn f() { 1 }"), of("fn f() { 2 }"));
        assert_ne!(of("fn f() { ab c }"), of("fn f() { a bc }"));
    }
}
