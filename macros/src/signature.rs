//! What a handler's signature may be.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    FnArg, GenericArgument, Ident, ItemFn, Pat, PatType, PathArguments, PathSegment, ReturnType, Safety, Type,
};

use crate::bindings::Binding;
use crate::errors::Errors;

const USAGE: &str =
    "write `#[handler] fn name(field: Type, …) -> Result`, with or without `ctx: Context<State>` first";

/// A parameter that is a field of the input.
pub(crate) struct Parameter {
    pub(crate) binding: Binding,
    pub(crate) of: Type,
}

/// A signature that was understood.
pub(crate) struct Parsed {
    /// The context's identifier and the type of its state, as far as written.
    pub(crate) context: Option<(Option<Ident>, Option<Type>)>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Type,
}

impl Parsed {
    /// The state, if it is named and not `()`.
    pub(crate) fn named_state(&self) -> Option<&Type> {
        let (_, state) = self.context.as_ref()?;
        state.as_ref().filter(|state| !matches!(state, Type::Tuple(unit) if unit.elems.is_empty()))
    }
}

/// Reads the signature, and reports all that a handler can't have.
pub(crate) fn parse(item: &ItemFn, errors: &mut Errors) -> Parsed {
    refuse_qualifiers(item, errors);
    let mut context = None;
    let mut parameters = Vec::new();
    for (index, input) in item.sig.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(receiver) => errors.at(
                receiver,
                "a handler can't be a method: it is called with a JSON input, and there is no `self` to call it on",
                "make it a free function, and take what it needs of `self` as parameters",
            ),
            FnArg::Typed(typed) => match as_context(&typed.ty) {
                Some(of) if index == 0 => context = Some((ident_of(&typed.pat).map(|b| b.ident), state_of(of))),
                Some(_) => errors.at(typed, "the context is not the first parameter", "put `ctx: Context` first"),
                None => parameters.extend(parameter(typed, errors)),
            },
        }
    }
    let output = match &item.sig.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, of) => (**of).clone(),
    };
    if let Type::ImplTrait(of) = &output {
        errors.at(of, "a handler's result needs a type with a name: it is written as JSON", "name the type");
    }
    Parsed { context, parameters, output }
}

fn refuse_qualifiers(item: &ItemFn, errors: &mut Errors) {
    let generics = &item.sig.generics;
    if !generics.params.is_empty() {
        errors.at(
            generics,
            "a handler can't be generic: the platform calls one function, and its checkpoints hold values of known types",
            "write a handler for each type, and share the code in a generic function that it calls",
        );
    }
    let qualifiers: [(&str, Option<TokenStream>); 4] = [
        ("const", item.sig.constness.map(ToTokens::into_token_stream)),
        ("unsafe", matches!(item.sig.safety, Safety::Unsafe(_)).then(|| item.sig.safety.to_token_stream())),
        ("extern", item.sig.abi.as_ref().map(ToTokens::to_token_stream)),
        ("variadic", item.sig.variadic.as_ref().map(ToTokens::to_token_stream)),
    ];
    for (name, tokens) in qualifiers {
        if let Some(tokens) = tokens {
            errors.at(tokens, format!("a handler can't be `{name}`"), USAGE);
        }
    }
}

/// The last part of the type's path if it is a `Context`.
fn as_context(of: &Type) -> Option<&PathSegment> {
    let Type::Path(path) = of else { return None };
    path.path.segments.last().filter(|segment| segment.ident == "Context")
}

/// The state of a `Context`, if one is written.
fn state_of(context: &PathSegment) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = &context.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(state) => Some(state.clone()),
        _ => None,
    })
}

fn ident_of(pattern: &Pat) -> Option<Binding> {
    match pattern {
        Pat::Ident(of) if of.by_ref.is_none() && of.subpat.is_none() => {
            Some(Binding { ident: of.ident.clone(), mutable: of.mutability.is_some() })
        }
        _ => None,
    }
}

fn parameter(typed: &PatType, errors: &mut Errors) -> Option<Parameter> {
    let binding = ident_of(&typed.pat);
    if binding.is_none() {
        errors.at(
            &typed.pat,
            "a handler's parameter needs a name: it is a field of the JSON input",
            "name the parameter, and take it apart with a `let` in the body",
        );
    }
    match &*typed.ty {
        Type::Reference(of) => {
            let owned = match &*of.elem {
                Type::Path(path) if path.path.is_ident("str") => String::from("String"),
                Type::Slice(slice) => format!("Vec<{}>", crate::text::of_type(&slice.elem)),
                other => crate::text::of_type(other),
            };
            errors.at(
                of,
                "a handler owns its input: there is nobody it could borrow from",
                format!("take `{owned}`"),
            );
        }
        Type::ImplTrait(of) => errors.at(
            of,
            "a handler can't be generic: the platform calls one function, and its checkpoints hold values of known types",
            "name the type",
        ),
        _ => {}
    }
    Some(Parameter { binding: binding?, of: (*typed.ty).clone() })
}
