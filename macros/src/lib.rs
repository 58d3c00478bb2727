//! The procedural macros of `limitless-faas`; use them through that crate.
//!
//! `#[handler]` makes a function a handler, `#[checkpoint]` inside it cuts the function at a loop,
//! `#[rebuild]` has a binding evaluated again after a resume, `#[derive(State)]` names and versions
//! what a handler saves itself.

use proc_macro::TokenStream;

mod bindings;
mod blocks;
mod branches;
mod errors;
mod handler;
mod hooks;
mod iterators;
mod known;
mod liveness;
mod loops;
mod program;
mod shapes;
mod signature;
mod state;
mod stride;
mod text;
mod workflow;

#[cfg(test)]
mod expansion_tests;

/// Makes a function a handler: a function that the platform calls with a JSON input.
///
/// ```ignore
/// /// The prime factors of `n`, smallest first.
/// #[handler]
/// fn factors(n: u64) -> Vec<u64> {
///     let mut rest = n;
///     let mut found = Vec::new();
///     #[checkpoint]
///     for d in 2..=n.isqrt() {
///         while rest % d == 0 {
///             found.push(d);
///             rest /= d;
///         }
///     }
///     if rest > 1 {
///         found.push(rest);
///     }
///     found
/// }
/// ```
///
/// The function stays an ordinary function: `factors(360)` in a unit test just runs. Beside it stands a type of the same
/// name that implements `Handler`, which `serve!(factors)` uses.
///
/// # Input and result
/// The input is a JSON object with a field for each parameter; unknown and missing fields are errors, but a missing
/// `Option` is `None`. If the only parameter's type deserialises as a struct, the whole input is that struct: the type
/// decides, never the input. A first parameter `ctx: Context` or `ctx: Context<State>` is no field. The result is the
/// JSON of the return value; the `Err` of a `Result` is an application error, shown by its `Display`.
///
/// # `#[checkpoint]`
/// Before a `for`, `while` or `loop` it makes each iteration a place where the function can be suspended and gone on
/// with in another process: what stands before the loop does not run again. The loop may be a statement, the right side of
/// `let` or `=`, or the last expression; in branches of `if` and `match`, in blocks, and in other checkpointed loops.
/// - What was bound before the loop and is used in or after it is saved; so it has to be `Serialize` and
///   `DeserializeOwned`. What is not used any more is dropped *before* the loop, earlier than in the function as
///   written.
/// - A range's bounds are evaluated once. Anything else that a `for` iterates over is evaluated again after a resume
///   and has to give the same elements; what it is made from must not change in the loop.
/// - The place is the top of the loop's body. It costs one relaxed load; a loop over a range or a slice whose body is plain
///   arithmetic has one place per 4096 turns, so that it can be vectorised.
///
/// # `#[rebuild]`
/// Before a `let` it has the binding evaluated again after a resume rather than saved: for borrows, connections, guards.
/// It is evaluated once more before each checkpointed loop, unless it stands right before it, and what it is made from must not
/// change until its last use.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(arguments.into(), &item.into()).into()
}

/// Makes an `async fn` a workflow: a graph of handler calls that is known before it runs.
///
/// ```ignore
/// #[workflow(slo_ms = 200)]
/// async fn report(url: String) -> Result<Report> {
///     let page = fetch(&url).await?;
///     let (words, lang) = try_join!(count(&page), detect(&page))?;
///     merge(words, lang).await
/// }
/// ```
///
/// Two rules: `.await` on a handler's call is a node, and nothing runs in an order in which Rust would not run it.
/// - `try_join!(a(x), b(y))?` and `join!(a(x), b(y))` run nodes side by side; `map(items, handler).await` runs one for each
///   item; `when(condition, handler, input).await` runs one or none. `if` and `match` may hold nodes in their arms.
/// - An argument is the handler's type or a reference to it, which is cloned.
/// - `#[retry(3)]` before a `let` tries its nodes up to three times more where they return `Err`.
/// - What stands between nodes is plain Rust. Where an execution goes on in another invocation it is evaluated again, with
///   the nodes' recorded results; so it has to come to the same.
#[proc_macro_attribute]
pub fn workflow(arguments: TokenStream, item: TokenStream) -> TokenStream {
    workflow::expand(arguments.into(), &item.into()).into()
}

/// Makes a program a handler: what it is called with is JSON on its standard input, what it prints is its result as JSON.
///
/// ```ignore
/// /// How often each word occurs in a text.
/// #[program("python3", "-c", include_str!("words.py"))]
/// fn words(text: String) -> Result<BTreeMap<String, u32>>;
/// ```
///
/// The arguments of the attribute are the command, a name on `PATH` or a path, and its arguments: expressions, each of a text.
/// The program gets what the platform would send for this signature, `{"text": …}`, and ends with status 0; else the error says its
/// status and the last that it wrote to its standard error, all of which goes to the logs. It is started for each call, with the
/// environment of the function, and killed where nobody wants its result any more. It does not outlive a time limit: what the limit cuts off starts again.
///
/// It is a node of a workflow like any handler, wherever that runs. Called as a function it wants a tokio runtime with I/O.
#[proc_macro_attribute]
pub fn program(arguments: TokenStream, item: TokenStream) -> TokenStream {
    program::expand(arguments.into(), &item.into()).into()
}

/// Has a place only inside a function with `#[handler]`, which takes it away. Anywhere else it is this error.
#[proc_macro_attribute]
pub fn checkpoint(_: TokenStream, item: TokenStream) -> TokenStream {
    errors::outside_handler("checkpoint", &item.into()).into()
}

/// Has a place only inside a function with `#[handler]`, which takes it away. Anywhere else it is this error.
#[proc_macro_attribute]
pub fn rebuild(_: TokenStream, item: TokenStream) -> TokenStream {
    errors::outside_handler("rebuild", &item.into()).into()
}

/// Makes a type the state of handlers with `ctx: Context<Type>`: gives it a name, a version, and a way from older ones.
///
/// ```ignore
/// #[derive(State, Default, Serialize, Deserialize)]
/// #[state(name = "progress", version = 2, from = ProgressV1)]
/// struct Progress {
///     done: u64,
///     words: u64,
/// }
///
/// impl Migrate<ProgressV1> for Progress {
///     fn migrate(old: ProgressV1) -> Self {
///         Progress { done: old.done, words: 0 }
///     }
/// }
/// ```
///
/// Without attributes the name is the type's and the version 1; a newer version has the name of the one that it comes
/// from.
#[proc_macro_derive(State, attributes(state))]
pub fn state(item: TokenStream) -> TokenStream {
    state::expand(item.into()).into()
}
