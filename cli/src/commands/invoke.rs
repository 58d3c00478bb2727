//! `cargo faas invoke`: call a handler on a platform that runs already.

use std::time::{Duration, Instant};

use limitless_faas_core::ExecutionId;
use serde_json::{Value, json};

use super::run::fresh_key;
use super::{Session, answered, conclude, with_id};
use crate::args::Invoke;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::follow::Follow;
use crate::platform::{self, Answer, Ask, Call, Client, failure_in};
use crate::project::Input;
use crate::records::Records;
use crate::recover::Patience;
use crate::render::Progress;
use crate::report::advise;
use crate::state::State;

pub(super) async fn invoke(session: &Session, args: &Invoke) -> Result<()> {
    let input = Input::read(&args.input)?;
    let dev = State::here(&session.global).ok().and_then(|state| state.dev());
    let (client, dev_store) = platform::find(&args.remote, dev)?;
    let key = args.key.clone().map_or_else(fresh_key, Ok)?;
    let call = Call {
        handler: args.handler.clone(),
        input,
        key,
        callback: args.callback.clone(),
        keep_ms: args.keep,
    };
    if args.detach {
        return detach(session, &client, &call).await;
    }
    let patience = if dev_store.is_some() { Patience::nearby() } else { Patience::default() };
    let store = match &args.store {
        Some(url) => Some(State::store_url(&session.global, Some(url))?),
        None => dev_store,
    };
    match store {
        Some(url) => follow(session, &client, &url, call, patience).await,
        None => wait_for_answer(session, &client, call).await,
    }
}

async fn detach(session: &Session, client: &Client, call: &Call) -> Result<()> {
    let activation = client.call(call).await?;
    let id = call.execution();
    if session.ui.is_json() {
        return session
            .ui
            .print_json(&json!({ "execution": id, "status": "queued", "activation": activation }));
    }
    session.ui.print(id.as_str())
}

async fn follow(
    session: &Session,
    client: &Client,
    store: &str,
    call: Call,
    patience: Patience,
) -> Result<()> {
    let records = Records::open(store)?;
    let ask = Ask::First(call);
    let id = ask.execution();
    session.ui.status("Calling", &format!("{} as {id} on {}", ask.handler(), client.base()));
    session.leaves(&id, &format!(" --store {store}"));
    let begun = Instant::now();
    let mut follow = Follow::new(&records, client, ask, None).with_patience(patience);
    let ended = {
        let mut progress = Progress::new(&session.ui);
        match follow.begin().await {
            Ok(()) => follow.wait_for_end(&mut progress).await,
            Err(error) => Err(error),
        }
    };
    let waited_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    match ended {
        Ok(ended) => conclude(session, &records, ended, &follow.into_seen(), Some(waited_us)).await,
        Err(error) => Err(with_id(error, &id)),
    }
}

fn lost(id: &ExecutionId, why: String) -> Error {
    let error =
        Error::platform(format!("execution {id} lost its invocation")).because(std::io::Error::other(why));
    error.help(format!("what it saved is in its store: cargo faas resume {id} --store URL"))
}

/// Without a store there is only what the platform tells: the answer to the first delivery.
async fn wait_for_answer(session: &Session, client: &Client, call: Call) -> Result<()> {
    const LONGEST: Duration = Duration::from_secs(2);
    let id = call.execution();
    let activation = if client.keeps_answers() { client.call(&call).await? } else { String::new() };
    let ask = Ask::First(call);
    let mut pause = Duration::from_millis(50);
    let answer = loop {
        match client.answer(&ask, &activation).await? {
            Answer::Function(answer) => break answer,
            Answer::Lost(why) => return Err(lost(&id, why)),
            Answer::Pending => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST);
    };
    if let Some(failure) = failure_in(&answer.value) {
        return Err(advise(Error::failure(&failure), &failure, id.as_str()));
    }
    let told = |name: &str| answer.value.get(name).and_then(Value::as_str);
    if told("execution") == Some(id.as_str()) && told("status").is_some() {
        return Err(Error::new(Exit::Unfinished, format!("execution {id} goes on in further invocations"))
            .help(format!("name its store to wait for the result: cargo faas status {id} --store URL"))
            .help("or have the result posted: --callback URL"));
    }
    answered(session, &answer)
}
