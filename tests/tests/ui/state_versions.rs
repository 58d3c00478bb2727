use limitless_faas::State;
use serde::{Deserialize, Serialize};

#[derive(State, Default, Serialize, Deserialize)]
struct First {
    done: u64,
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(from = First)]
struct NoVersion {
    done: u64,
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(version = 2, from = First)]
struct NotMigrated {
    done: u64,
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(versoin = 2)]
struct Misspelt {
    done: u64,
}

#[derive(State, Default, Serialize, Deserialize)]
struct Generic<T> {
    done: T,
}

fn main() {}
