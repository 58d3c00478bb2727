//! The function process: what `main` does.

use std::sync::Arc;

use limitless_faas_core::manifest::{CheckpointSite, Handler, Manifest, NamedState, Workflow};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::engine::{Engine, fingerprint};
use crate::handler::HandlerDef;
use crate::runtime::http;

/// Serves handlers: the body of `main`.
///
/// The binary answers `OpenWhisk`, `OpenFaaS` and the local platform on one port; `BINARY describe` prints its manifest as
/// JSON.
///
/// ```no_run
/// use limitless_faas::handler;
///
/// /// Twice the number.
/// #[handler]
/// fn twice(n: u64) -> u64 {
///     2 * n
/// }
///
/// fn main() {
///     limitless_faas::serve!(twice);
/// }
/// ```
#[macro_export]
macro_rules! serve {
    ($($handler:path),+ $(,)?) => {
        $crate::__private::serve(::std::vec![$(<$handler as $crate::Handler>::definition()),+])
    };
}

/// What [`serve!`](crate::serve) calls. Returns when the process was asked to stop and everything has its answer; ends the
/// process with a status otherwise.
pub fn serve(handlers: Vec<&'static HandlerDef>) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    serve_with(handlers, &arguments);
}

/// The same for handlers and arguments that were not known when this was built.
pub(crate) fn serve_with(handlers: Vec<&'static HandlerDef>, arguments: &[String]) {
    let handlers: &'static [&'static HandlerDef] = handlers.leak();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(handlers),
        ["describe"] => describe(handlers),
        // How a process of a wrap's pool is started; nobody types it.
        [crate::workflow::WORKER] => crate::workflow::work(handlers),
        _ => Err(format!(
            "unknown arguments {arguments:?}\nhelp: without arguments this binary serves its handlers; `describe` prints \
             what they are. To run one on this machine: cargo faas run {} --input '{{…}}'",
            handlers.first().map_or("HANDLER", |handler| handler.name)
        )),
    };
    if let Err(message) = result {
        crate::engine::note(&message);
        std::process::exit(i32::from(FAILED));
    }
}

/// Handlers compute on the runtime's threads for blocking work, with as much stack as a program's main thread usually has.
const STACK_BYTES: usize = 8 << 20;
/// No platform sends one process more calls at once; a store needs a few threads besides.
const THREADS: usize = 1024;

/// The exit status of a function process that can't serve.
const FAILED: u8 = 2;

fn run(handlers: &'static [&'static HandlerDef]) -> Result<(), String> {
    let config = Config::from_env().map_err(|error| error.to_string())?;
    let port = config.port;
    let listener = http::listen(port).map_err(|error| format!("failed to listen on port {port}: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("handler")
        .thread_stack_size(STACK_BYTES)
        .max_blocking_threads(THREADS)
        .build()
        .map_err(|error| format!("failed to start: {error}"))?;
    let engine = Arc::new(Engine::new(config, handlers));
    let turns = engine.turns().clone();
    let served = turns.drive(runtime, async {
        stop_on_sigterm(engine.clone()).map_err(|error| format!("failed to watch for SIGTERM: {error}"))?;
        http::serve(listener, engine).await.map_err(|error| format!("failed to serve: {error}"))
    });
    served.unwrap_or_else(|| Err("the server ended before it was asked to".to_owned()))
}

fn stop_on_sigterm(engine: Arc<Engine>) -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminated.recv().await;
        engine.stop();
    });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the manifest is this command's output")]
fn describe(handlers: &[&'static HandlerDef]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&manifest(handlers)).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

pub(crate) fn manifest(handlers: &[&'static HandlerDef]) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        sdk: env!("CARGO_PKG_VERSION").to_owned(),
        handlers: handlers.iter().map(|handler| described(handler)).collect(),
    }
}

fn described(handler: &HandlerDef) -> Handler {
    Handler {
        name: handler.name.to_owned(),
        doc: handler.doc.to_owned(),
        is_async: handler.is_async,
        input: input_schema(handler),
        output: output_schema(handler),
        fingerprint: fingerprint(handler),
        checkpoints: handler
            .checkpoints
            .iter()
            .map(|site| CheckpointSite {
                number: site.number,
                line: site.line,
                source: site.label.to_owned(),
            })
            .collect(),
        state: handler
            .state
            .as_ref()
            .map(|state| NamedState { name: state.name.to_owned(), version: state.version }),
        workflow: handler
            .workflow
            .as_ref()
            .map(|workflow| Workflow { slo_ms: workflow.slo_ms, graph: workflow.graph(handler.name) }),
    }
}

/// The dialect stands at the top of a schema, and only there.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

fn nested(mut schema: Value) -> Value {
    if let Value::Object(fields) = &mut schema {
        fields.remove("$schema");
    }
    schema
}

fn output_schema(handler: &HandlerDef) -> Value {
    match handler.entry {
        #[cfg(feature = "programs")]
        crate::handler::Entry::Program(declared) => declared.output_schema(),
        _ => (handler.output.schema)().unwrap_or_else(|| json!({ "title": handler.output.type_text })),
    }
}

/// An object with one property per parameter; or the type's own schema where one parameter takes the whole input.
fn input_schema(handler: &HandlerDef) -> Value {
    #[cfg(feature = "programs")]
    if let crate::handler::Entry::Program(declared) = handler.entry {
        return declared.program.input_schema();
    }
    if let [only] = handler.parameters
        && (only.whole_input)()
    {
        return (only.schema)();
    }
    let properties: Map<String, Value> = handler
        .parameters
        .iter()
        .map(|parameter| (parameter.name.to_owned(), nested((parameter.schema)())))
        .collect();
    let required: Vec<&str> = handler
        .parameters
        .iter()
        .filter(|parameter| !parameter.type_text.starts_with("Option"))
        .map(|parameter| parameter.name)
        .collect();
    json!({ "$schema": DIALECT, "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
