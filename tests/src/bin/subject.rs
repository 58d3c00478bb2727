//! Handlers that the tests across crates run.
use limitless_faas::checkpoint::{Outcome, Session};
use limitless_faas::handler::{self, Entry, Handler, HandlerDef, OutputDef};
use serde_json::value::RawValue;

#[allow(non_camel_case_types)]
enum squares {}
impl Handler for squares {
    fn definition() -> &'static HandlerDef {
        static DEF: HandlerDef = HandlerDef {
            name: "squares",
            doc: "",
            is_async: false,
            parameters: &[],
            output: OutputDef { type_text: "u64", schema: || None },
            fingerprint: 7,
            checkpoints: &[],
            state: None,
            entry: Entry::Sync(run),
        };
        &DEF
    }
}
fn run(session: &Session, input: &RawValue) -> Outcome {
    let v: serde_json::Value = serde_json::from_str(input.get()).unwrap();
    let (n, pause) = (v["n"].as_u64().unwrap(), v["pause_us"].as_u64().unwrap_or(0));
    let ctx = handler::context::<Vec<u64>>(session);
    let mut at = ctx.state();
    if at.is_empty() {
        at = vec![0, 0];
    }
    while at[0] < n {
        ctx.blocking_checkpoint(&at);
        if pause > 0 {
            std::thread::sleep(std::time::Duration::from_micros(pause));
        }
        at[1] = at[1].wrapping_add(at[0] * at[0]);
        at[0] += 1;
    }
    Outcome::Returned(Ok(RawValue::from_string(at[1].to_string()).unwrap()))
}
fn main() {
    limitless_faas::serve!(squares);
}
