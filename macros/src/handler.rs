//! `#[handler]`: the function as it was, cut at its loops, and beside it its description.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, FnArg, ItemFn, Lit, Meta, Pat};

use crate::blocks::{Lowering, PointDef};
use crate::errors::Errors;
use crate::hooks::own;
use crate::signature::{self, Parameter, Parsed};
use crate::{shapes, text};

/// Expands the attribute.
pub(crate) fn expand(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, &error),
    };
    let mut errors = Errors::default();
    if !arguments.is_empty() {
        errors.at(arguments, "`#[handler]` takes no arguments", "write `#[handler]`");
    }
    Handler::expand(function, errors)
}

fn not_a_function(item: &TokenStream, error: &syn::Error) -> TokenStream {
    // Something that parses as an item but not as a function is the wrong item; else it is the user's typing.
    let mut errors = Errors::default();
    let first = item.clone().into_iter().find(|token| token.to_string() != "#");
    if syn::parse2::<syn::Item>(item.clone()).is_ok() {
        errors.at(
            first,
            "`#[handler]` goes on a function",
            "write `#[handler] fn name(field: Type, …) -> Result`",
        );
        let errors = errors.emit();
        return quote!(#errors #item);
    }
    let error = error.to_compile_error();
    quote!(#error #item)
}

pub(crate) struct Handler<'a> {
    pub(crate) function: &'a ItemFn,
    pub(crate) parsed: &'a Parsed,
    pub(crate) points: &'a [PointDef],
    pub(crate) fingerprint: u64,
    /// The graph as an expression, if it is a workflow.
    pub(crate) workflow: Option<TokenStream>,
}

impl Handler<'_> {
    fn expand(mut function: ItemFn, mut errors: Errors) -> TokenStream {
        let fingerprint = text::fingerprint({
            let (signature, block) = (&function.sig, &function.block);
            quote!(#signature #block)
        });
        let parsed = signature::parse(&function, &mut errors);
        shapes::settle(&mut function.block);
        shapes::check(&function.block, &mut errors);
        refuse_two_kinds_of_state(&function, &parsed, &mut errors);
        let (points, body) = lower(&function, &parsed, &mut errors);
        if !errors.is_empty() {
            return fallback(function, &errors);
        }
        let item = emit_function(&function, &body);
        let definition =
            Handler { function: &function, parsed: &parsed, points: &points, fingerprint, workflow: None }
                .definition();
        quote!(#item #definition)
    }

    /// The type of the function's name, which describes it.
    pub(crate) fn definition(&self) -> TokenStream {
        let ItemFn { sig, vis, attrs, .. } = self.function;
        let (name, cfgs) = (&sig.ident, attrs.iter().filter(|attribute| shapes::is(attribute, "cfg")));
        let cfgs: Vec<&Attribute> = cfgs.collect();
        let (text_name, doc, is_async) = (bare(name), doc(attrs), sig.asyncness.is_some());
        let parameters = self.parsed.parameters.iter().enumerate().map(|(index, of)| parameter(index, of));
        let constants = (0..self.parsed.parameters.len()).map(parameter_constant);
        let output = text::of_type(&self.parsed.output);
        let (fingerprint, checkpoints) = (self.fingerprint, self.points.iter().map(point));
        let (codec, state) = self.state();
        let entry = self.entry();
        let output_type = &self.parsed.output;
        let types = self.parsed.parameters.iter().map(|parameter| &parameter.of);
        let returns = returns(output_type);
        let none = || quote!(::core::option::Option::None);
        let workflow =
            self.workflow.as_ref().map_or_else(none, |graph| quote!(::core::option::Option::Some(#graph)));
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(non_camel_case_types, clippy::all, clippy::pedantic)]
            #vis enum #name {}

            #(#cfgs)*
            #[allow(clippy::all, clippy::pedantic)]
            const _: () = {
                #(#parameters)*
                #codec
                #entry
                static __DEFINITION: ::limitless_faas::handler::HandlerDef = ::limitless_faas::handler::HandlerDef {
                    name: #text_name,
                    doc: #doc,
                    is_async: #is_async,
                    parameters: &[#(#constants.definition()),*],
                    output: ::limitless_faas::handler::OutputDef {
                        type_text: #output,
                        schema: {
                            #[allow(unused_imports)]
                            use ::limitless_faas::handler::{
                                NoSchema as _, NoSchemaForBorrowed as _, WithSchema as _, WithSchemaOfOk as _,
                            };
                            || (&&&&::limitless_faas::handler::SchemaProbe::<#output_type>::NEW).schema()
                        },
                    },
                    fingerprint: #fingerprint,
                    checkpoints: &[#(#checkpoints),*],
                    state: #state,
                    workflow: #workflow,
                    entry: __ENTRY,
                };
                impl ::limitless_faas::handler::Handler for #name {
                    fn definition() -> &'static ::limitless_faas::handler::HandlerDef {
                        &__DEFINITION
                    }
                }
                impl ::limitless_faas::workflow::Callable for #name {
                    type Arguments = (#(#types,)*);
                    type Returns = #returns;
                }
            };
        }
    }

    /// What is done with the state, as a constant, and its description.
    fn state(&self) -> (TokenStream, TokenStream) {
        let none = quote!(::core::option::Option::None);
        let Some((_, state)) = &self.parsed.context else { return (TokenStream::new(), none) };
        let of = state.clone().unwrap_or_else(|| syn::parse_quote!(()));
        let codec = quote_spanned! {of.span()=>
            const __STATE: ::limitless_faas::checkpoint::StateCodec<#of> =
                ::limitless_faas::checkpoint::StateCodec::<#of>::of();
        };
        let named = self.parsed.named_state().is_some();
        (codec, if named { quote!(::core::option::Option::Some(__STATE.definition())) } else { none })
    }

    /// Decodes the arguments, calls the function, encodes its result.
    fn entry(&self) -> TokenStream {
        let sig = &self.function.sig;
        let arguments = self.arguments();
        let count = self.parsed.parameters.len();
        let values = (0..count).map(argument);
        let context = self
            .parsed
            .context
            .as_ref()
            .map(|_| quote!(::limitless_faas::handler::context_with(&session, __STATE),));
        let name = &sig.ident;
        let wait = sig.asyncness.map(|_| quote!(.await));
        let span = self.parsed.output.span();
        let encode =
            quote_spanned!(span=> (&&::limitless_faas::handler::Returned(&value)).writer().write(&value));
        let body = quote! {
            #[allow(unused_imports)]
            use ::limitless_faas::handler::{ViaResult as _, ViaValue as _};
            #arguments
            #[allow(clippy::let_unit_value, clippy::unit_arg)]
            let value = #name(#context #(#values),*) #wait;
            #encode
        };
        if sig.asyncness.is_none() {
            return quote! {
                fn __run(
                    session: &::limitless_faas::checkpoint::Session,
                    input: &::limitless_faas::handler::RawValue,
                ) -> ::limitless_faas::checkpoint::Outcome { #body }
                const __ENTRY: ::limitless_faas::handler::Entry = ::limitless_faas::handler::Entry::Sync(__run);
            };
        }
        quote! {
            fn __run(
                session: &::limitless_faas::checkpoint::Session,
                input: &::limitless_faas::handler::RawValue,
            ) -> ::limitless_faas::handler::Running {
                let (session, input) = (session.clone(), input.to_owned());
                ::std::boxed::Box::pin(async move {
                    let input = &*input;
                    #body
                })
            }
            const __ENTRY: ::limitless_faas::handler::Entry = ::limitless_faas::handler::Entry::Async(__run);
        }
    }

    fn arguments(&self) -> TokenStream {
        let names = self.parsed.parameters.iter().map(|parameter| bare(&parameter.binding.ident));
        let take = |index: usize, how: TokenStream| {
            let value = argument(index);
            quote! {
                let #value = match #how {
                    ::core::result::Result::Ok(value) => value,
                    ::core::result::Result::Err(outcome) => return outcome,
                };
            }
        };
        if self.parsed.parameters.len() == 1 {
            let constant = parameter_constant(0);
            return take(0, quote!(#constant.only(input)));
        }
        let takes = (0..self.parsed.parameters.len()).map(|index| {
            let constant = parameter_constant(index);
            take(index, quote!(#constant.take(&mut arguments)))
        });
        quote! {
            #[allow(unused_mut, unused_variables)]
            let mut arguments = match ::limitless_faas::handler::Arguments::read(input, &[#(#names),*]) {
                ::core::result::Result::Ok(arguments) => arguments,
                ::core::result::Result::Err(outcome) => return outcome,
            };
            #(#takes)*
        }
    }
}

/// Whether a workflow meets a `Result` or a plain value: a `Result` is told by its name, through whatever alias.
fn returns(output: &syn::Type) -> TokenStream {
    let is_result = matches!(output, syn::Type::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == "Result"));
    let kind = if is_result { quote!(Fallible) } else { quote!(Plain) };
    quote!(::limitless_faas::workflow::#kind<#output>)
}

fn argument(index: usize) -> Ident {
    Ident::new(&format!("argument{index}"), proc_macro2::Span::mixed_site())
}

/// What is known of a parameter, as a constant.
fn parameter(index: usize, parameter: &Parameter) -> TokenStream {
    let (name, of, constant) = (bare(&parameter.binding.ident), &parameter.of, parameter_constant(index));
    let type_text = text::of_type(of);
    quote_spanned! {of.span()=>
        const #constant: ::limitless_faas::handler::Parameter<#of> =
            ::limitless_faas::handler::Parameter::<#of>::of(#name, #type_text);
    }
}

fn parameter_constant(index: usize) -> Ident {
    Ident::new(&format!("__PARAMETER{index}"), proc_macro2::Span::mixed_site())
}

fn point(point: &PointDef) -> TokenStream {
    let (number, label) = (point.number, &point.label);
    let line = u32::try_from(point.line).unwrap_or(0);
    quote!(::limitless_faas::handler::CheckpointDef { number: #number, line: #line, label: #label })
}

pub(crate) fn bare(name: &Ident) -> String {
    name.to_string().trim_start_matches("r#").to_owned()
}

/// The doc comment as one text.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(of) => match &of.lit {
                Lit::Str(line) => Some(line.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

fn refuse_two_kinds_of_state(function: &ItemFn, parsed: &Parsed, errors: &mut Errors) {
    if let Some(state) = parsed.named_state()
        && shapes::count_in_block(&function.block) > 0
    {
        errors.at(
            state,
            "a handler saves either a state that it names or what its checkpointed loops need, not both",
            "take `Context` without a state, or take `#[checkpoint]` away and call `ctx.checkpoint(&state)` in the loop",
        );
    }
}

fn lower(function: &ItemFn, parsed: &Parsed, errors: &mut Errors) -> (Vec<PointDef>, TokenStream) {
    let sound = errors.is_empty();
    let mut lowering = Lowering::new(errors, function.sig.asyncness.is_some());
    lowering.locals.extend(parsed.context.iter().flat_map(|(ident, _)| ident).map(ToString::to_string));
    let given = parsed.parameters.iter().map(|parameter| parameter.binding.clone()).collect();
    let body = lowering.body(given, &function.block, &parsed.output);
    // What can't be cut would be told of twice.
    let points = if sound { lowering.points } else { Vec::new() };
    (points, body)
}

fn emit_function(function: &ItemFn, body: &TokenStream) -> TokenStream {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    let (frame, flag, at, name) = (own("frame"), own("flag"), own("at"), sig.ident.clone());
    let mut sig = sig.clone();
    if shapes::count_in_block(block) > 0 {
        // A parameter that is saved is bound again at the first cut; before it, its `mut` may have no use.
        for parameter in &mut sig.inputs {
            if let FnArg::Typed(typed) = parameter
                && matches!(&*typed.pat, Pat::Ident(of) if of.mutability.is_some())
            {
                typed.attrs.push(syn::parse_quote!(#[allow(unused_mut)]));
            }
        }
    }
    let name = &name;
    let looped = (shapes::count_in_block(block) > 0).then(|| {
        quote! {
            let #flag = #frame.flag();
            let mut #at = #frame.point();
        }
    });
    quote! {
        #(#attrs)*
        #vis #sig {
            let #frame = ::limitless_faas::checkpoint::enter(<#name as ::limitless_faas::handler::Handler>::definition());
            #looped
            #body
        }
        #[cfg(panic = "abort")]
        ::core::compile_error!("a handler is suspended by unwinding, which `panic = \"abort\"` forbids\nhelp: take `panic = \"abort\"` out of the profile in Cargo.toml");
    }
}

/// What editors go on with: the function without our attributes, and a type that stands for its description.
pub(crate) fn fallback(mut function: ItemFn, errors: &Errors) -> TokenStream {
    shapes::strip(&mut function.block);
    let (errors, name, vis) = (errors.emit(), &function.sig.ident, &function.vis);
    let allowed = quote!(#[allow(unused, clippy::all, clippy::pedantic)]);
    if function.sig.receiver().is_some() {
        // A type can't stand beside a method.
        return quote!(#errors #allowed #function);
    }
    quote! {
        #errors
        #allowed
        #function
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #vis enum #name {}
        impl ::limitless_faas::handler::Handler for #name {
            fn definition() -> &'static ::limitless_faas::handler::HandlerDef {
                ::core::unreachable!()
            }
        }
    }
}
