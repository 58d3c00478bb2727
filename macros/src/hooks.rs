//! What stands around a hook, outermost first, and the hook itself.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Index;

use crate::bindings::Binding;
use crate::errors::Errors;

/// An identifier of our own, which no name of the user's can meet.
pub(crate) fn own(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// An identifier of our own for cut or loop number `number`.
pub(crate) fn own_numbered(name: &str, number: u32) -> Ident {
    format_ident!("__{name}{number}", span = Span::mixed_site())
}

/// An identifier of our own at a place of the user's, for messages about it.
pub(crate) fn own_at(name: &str, span: Span) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site().located_at(span))
}

/// References that prove, where they are used, that what they refer to did not change.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) ident: Ident,
    /// The user's expression whose inputs these are.
    pub(crate) span: Span,
    /// What they refer to.
    pub(crate) names: Vec<String>,
}

impl Held {
    pub(crate) fn touch(&self) -> TokenStream {
        let here = Span::mixed_site().located_at(self.span);
        let mut ident = self.ident.clone();
        ident.set_span(here);
        quote_spanned!(here=> ::limitless_faas::checkpoint::touch(&#ident);)
    }
}

/// A value that a hook saves.
pub(crate) enum Saved {
    /// A live binding, and the encoder made where it is.
    Binding { binding: Binding, encoder: Ident },
    /// A range's bounds.
    Span { ident: Ident, name: String },
    /// The operands of a range with adapters.
    Operands { ident: Ident, name: String },
    /// An iterator's index.
    Index { ident: Ident, name: String },
}

impl Saved {
    /// What the hook holds while it saves, and how that is put.
    ///
    /// The hook diverges, so a value can be moved into what it holds; a reference would keep a number of a hot loop in memory.
    /// What something in the loop may still borrow is not moved.
    fn held_and_put(&self, index: usize, borrowed: &[&String]) -> (TokenStream, TokenStream) {
        let (save, index) = (own("save"), Index::from(index));
        let held = own("held");
        let held = quote!(#held.#index);
        match self {
            Saved::Binding { binding, encoder } => {
                let ident = &binding.ident;
                if !borrowed.contains(&&binding.name()) {
                    return (quote!(#ident), quote!(#encoder.put(#save, &#held);));
                }
                // Where the binding was moved away, the compiler shall point at its name.
                let value = quote_spanned!(ident.span()=> &#ident);
                (value, quote!(#encoder.put(#save, #held);))
            }
            Saved::Span { ident, name } => (quote!(#ident), quote!(#held.put(#save, #name);)),
            Saved::Operands { ident, name } => (quote!(#ident), quote!(#save.put_operands(#name, #held);)),
            Saved::Index { ident, name } => (quote!(#ident), quote!(#save.put_index(#name, #held);)),
        }
    }
}

/// A block or a loop that a hook stands in.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) saved: Vec<Saved>,
    pub(crate) held: Vec<Held>,
    /// Names that are visible from here inwards without being saved: loop patterns, rebuilt bindings.
    pub(crate) unsaved: Vec<Ident>,
}

impl Layer {
    fn saved_bindings(&self) -> impl Iterator<Item = &Ident> {
        self.saved.iter().filter_map(|saved| match saved {
            Saved::Binding { binding, .. } => Some(&binding.ident),
            _ => None,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Ident> {
        self.saved_bindings().chain(&self.unsaved)
    }
}

/// The hook of loop `number`: one relaxed load and a branch.
pub(crate) fn hook(number: u32, nested: bool, is_async: bool, path: &[Layer]) -> TokenStream {
    let (flag, frame, at) = (own("flag"), own("frame"), own("at"));
    let (due, taken) = (own("due"), own("taken"));
    let borrowed: Vec<&String> =
        path.iter().flat_map(|layer| &layer.held).flat_map(|held| &held.names).collect();
    let take = take(path.iter().flat_map(|layer| &layer.saved), &borrowed);
    let touches = path.iter().flat_map(|layer| &layer.held).map(Held::touch);
    // While a resumed run is on its way to an inner loop, the outer hook would lose what was restored.
    let ready = nested.then(|| quote!(#at == 0 &&));
    let leave = if is_async { quote!(match #taken.park().await {}) } else { quote!(#taken.suspend()) };
    quote! {
        if #ready #flag.raised() {
            if let ::core::option::Option::Some(#due) = #frame.checkpoint(#number) {
                #(#touches)*
                let #taken = #take;
                #leave
            }
        }
    }
}

/// Saves the values, as often as that may help. What holds them ends before anything is awaited.
fn take<'a>(saved: impl Iterator<Item = &'a Saved>, borrowed: &[&String]) -> TokenStream {
    let (due, held, save) = (own("due"), own("held"), own("save"));
    let (values, puts): (Vec<_>, Vec<_>) =
        saved.enumerate().map(|(index, saved)| saved.held_and_put(index, borrowed)).unzip();
    if values.is_empty() {
        return quote!(#due.save(&|_| {}));
    }
    quote! {{
        let #held = (#(#values,)*);
        #due.save(&|#save| { #(#puts)* })
    }}
}

/// Refuses an inner binding that hides an outer one which the hook must save.
pub(crate) fn refuse_hidden(path: &[Layer], errors: &mut Errors) {
    for (depth, layer) in path.iter().enumerate() {
        for outer in layer.saved_bindings() {
            let inner = path[depth + 1..].iter().flat_map(Layer::names).find(|inner| *inner == outer);
            if let Some(inner) = inner {
                errors.at(
                    inner,
                    format!(
                        "this `{inner}` hides an outer `{outer}` that is used later and must be saved at the checkpointed loop inside"
                    ),
                    "give one of the two another name",
                );
            }
        }
    }
}
