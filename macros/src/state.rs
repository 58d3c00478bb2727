//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, LitInt, LitStr, Type};

use crate::errors::Errors;

/// What `#[state(…)]` says.
#[derive(Default)]
struct Said {
    name: Option<LitStr>,
    version: Option<LitInt>,
    from: Option<Type>,
}

/// Expands the derive.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let mut errors = Errors::default();
    let said = read(&input, &mut errors);
    if !input.generics.params.is_empty() {
        errors.at(
            &input.generics,
            "a state can't be generic: what was saved has one type",
            "write a type for each use",
        );
    }
    let version = version(&said, &mut errors);
    let code = implementation(&input, &said, version);
    if errors.is_empty() { code } else { errors.emit() }
}

fn read(input: &DeriveInput, errors: &mut Errors) -> Said {
    let mut said = Said::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("state")) {
        let parsed = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                said.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("version") {
                said.version = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("from") {
                said.from = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("unknown"));
            }
            Ok(())
        });
        if parsed.is_err() {
            errors.at(
                attribute,
                "can't read this",
                "write `#[state(name = \"progress\", version = 2, from = ProgressV1)]`, each part as needed",
            );
        }
    }
    said
}

fn version(said: &Said, errors: &mut Errors) -> u32 {
    let Some(literal) = &said.version else {
        if let Some(from) = &said.from {
            errors.at(
                from,
                "a state that comes from an older one needs a version above it",
                "add `version = 2`",
            );
        }
        return 1;
    };
    let version = literal.base10_parse().unwrap_or(0);
    if version == 0 {
        errors.at(literal, "versions are counted from 1", "write `version = 1` or more");
    } else if version == 1
        && let Some(from) = &said.from
    {
        errors.at(from, "version 1 has no version before it", "raise the version, or take `from` away");
    }
    version
}

fn implementation(input: &DeriveInput, said: &Said, version: u32) -> TokenStream {
    let ident = &input.ident;
    // Versions of one state share a name, so a newer one takes it from the one that it comes from.
    let name = match (&said.name, &said.from) {
        (Some(name), _) => name.to_token_stream(),
        (None, Some(from)) => quote!(<#from as ::limitless_faas::checkpoint::State>::NAME),
        (None, None) => ident.to_string().to_token_stream(),
    };
    let older = said.from.as_ref().map(|from| {
        let older = quote_spanned!(from.span()=> ::limitless_faas::checkpoint::older::<#from, Self>);
        quote!(.or_else(#older))
    });
    let rises = said.from.as_ref().map(|from| {
        quote! {
            const _: () = ::core::assert!(
                <#from as ::limitless_faas::checkpoint::State>::VERSION < #version,
                "a state's version must be above that of the state it comes from",
            );
        }
    });
    quote! {
        impl ::limitless_faas::checkpoint::State for #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;

            fn restore(
                saved: ::limitless_faas::checkpoint::SavedState<'_>,
            ) -> ::core::result::Result<Self, ::limitless_faas::checkpoint::SavedState<'_>> {
                saved.read::<Self>() #older
            }
        }
        #rises
    }
}
