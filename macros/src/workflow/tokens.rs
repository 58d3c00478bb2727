//! Questions about code that is not taken apart.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

/// Every identifier in these tokens.
pub(super) fn identifiers(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(tokens, &mut found);
    found
}

fn gather(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                found.insert(name.to_string());
            }
            TokenTree::Group(group) => gather(group.stream(), found),
            // A format string names what it shows: `"{page}"`.
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                found.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// Whether a macro runs its arguments side by side: `join!` or `try_join!`.
pub(super) fn is_join(call: &syn::Macro) -> bool {
    let last = call.path.segments.last();
    last.is_some_and(|last| last.ident == "join" || last.ident == "try_join")
}

/// Whether something waits in these tokens.
pub(super) fn waits(tokens: &TokenStream) -> bool {
    let mut before: Option<TokenTree> = None;
    for token in tokens.clone() {
        let found = match &token {
            TokenTree::Ident(name) => name == "await",
            TokenTree::Group(group) => waits(&group.stream()),
            TokenTree::Punct(mark) if mark.as_char() == '!' => matches!(
                &before,
                Some(TokenTree::Ident(name)) if name == "join" || name == "try_join" || name == "select"
            ),
            _ => false,
        };
        if found {
            return true;
        }
        before = Some(token);
    }
    false
}
