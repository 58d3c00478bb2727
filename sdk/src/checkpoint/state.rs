//! Named, versioned state for handlers that save it explicitly.
#![allow(clippy::result_large_err, reason = "an error here is a saved state that another version reads")]

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shape;

use super::codec::{StateReader, StateWriter, Unreadable, incompatible};
use crate::handler::StateDef;

/// What a handler with `ctx: Context<S>` saves: it has a name, a version and a way from older versions.
///
/// Derive it with `#[derive(State)]`. Without attributes the name is the type's and the version 1.
/// `#[state(name = "progress", version = 2, from = ProgressV1)]` together with
/// `impl Migrate<ProgressV1> for Progress` reads what version 1 saved.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "help: add `#[derive(State, Default, Serialize, Deserialize)]` to `{Self}`"
)]
pub trait State: Serialize + DeserializeOwned + Default + 'static {
    /// What the state is called in every one of its versions.
    const NAME: &'static str;
    /// Grows whenever the type changes in a way that old bytes would not fit.
    const VERSION: u32;

    /// Reads a saved state of this version or of one before it. `derive(State)` writes this.
    ///
    /// # Errors
    /// The saved state has another name or a version that nothing migrates from.
    #[doc(hidden)]
    fn restore(saved: SavedState<'_>) -> Result<Self, SavedState<'_>> {
        Err(saved)
    }
}

/// Makes a newer version of a state from an older one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it comes from `{Old}`",
    label = "no way from this version",
    note = "help: write `impl Migrate<{Old}> for {Self}`"
)]
pub trait Migrate<Old>: Sized {
    /// The state that means now what `old` meant then.
    fn migrate(old: Old) -> Self;
}

/// Reads a saved state as an older version, and migrates it.
///
/// # Errors
/// As [`State::restore`].
#[doc(hidden)]
pub fn older<Old: State, New: Migrate<Old>>(saved: SavedState<'_>) -> Result<New, SavedState<'_>> {
    Old::restore(saved).map(New::migrate)
}

/// What a context does with its state. Made once, so that a missing `State` is told of once.
#[doc(hidden)]
pub struct StateCodec<S> {
    definition: StateDef,
    pub(crate) initial: fn() -> S,
    pub(crate) read: fn(StateReader) -> Result<S, Unreadable>,
    pub(crate) write: fn(&mut StateWriter, &S) -> std::io::Result<()>,
}

impl<S> Clone for StateCodec<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for StateCodec<S> {}

impl<S> StateCodec<S> {
    /// What is known of the state's type.
    pub const fn of() -> StateCodec<S>
    where
        S: State,
    {
        StateCodec {
            definition: StateDef { name: S::NAME, version: S::VERSION },
            initial: S::default,
            read: read::<S>,
            write: write::<S>,
        }
    }

    /// For the handler's description.
    pub const fn definition(&self) -> StateDef {
        self.definition
    }
}

fn write<S: State>(to: &mut StateWriter, state: &S) -> std::io::Result<()> {
    to.raw(&(S::NAME, S::VERSION, fingerprint::<S>()))?;
    to.raw(state)
}

/// A saved state whose version is to be found.
pub struct SavedState<'a> {
    name: String,
    version: u32,
    fingerprint: u64,
    reader: &'a mut StateReader,
    failed: Option<Unreadable>,
}

impl<'a> SavedState<'a> {
    /// Reads it as `S` if it was saved as exactly that.
    ///
    /// # Errors
    /// Gives itself back if it was not.
    pub fn read<S: State>(mut self) -> Result<S, SavedState<'a>> {
        if self.failed.is_some() || self.name != S::NAME || self.version != S::VERSION {
            return Err(self);
        }
        if self.fingerprint != fingerprint::<S>() {
            let saved = format!("version {} with other fields", self.version);
            let present = format!("version {} with new ones; raise the version and migrate", S::VERSION);
            self.failed = Some(incompatible(S::NAME, &saved, &present));
            return Err(self);
        }
        match self.reader.raw(S::NAME) {
            Ok(state) => Ok(state),
            Err(error) => {
                self.failed = Some(error);
                Err(self)
            }
        }
    }
}

/// The point under which explicit state is saved.
pub(crate) const STATE_POINT: u32 = 0;

fn read<S: State>(mut reader: StateReader) -> Result<S, Unreadable> {
    let (point, label): (u32, String) = reader.raw("the point")?;
    if point != STATE_POINT {
        return Err(incompatible(S::NAME, &format!("the loop `{label}`"), "state that the handler names"));
    }
    let (name, version, fingerprint): (String, u32, u64) = reader.raw("the state's version")?;
    let (found_name, found_version) = (name.clone(), version);
    let saved = SavedState { name, version, fingerprint, reader: &mut reader, failed: None };
    let state = S::restore(saved).map_err(|saved| {
        saved.failed.unwrap_or_else(|| {
            let present = format!("`{}` version {}", S::NAME, S::VERSION);
            incompatible(S::NAME, &format!("`{found_name}` version {found_version}"), &present)
        })
    })?;
    reader.finish()?;
    Ok(state)
}

/// The type's fingerprint under the state's name, so that `ProgressV1` reads what `Progress` saved when it was version 1.
fn fingerprint<S: State>() -> u64 {
    shape::of::<S>().named(S::NAME).fingerprint()
}

macro_rules! plain_states {
    ($($of:ty),+) => {$(
        impl State for $of {
            const NAME: &'static str = stringify!($of);
            const VERSION: u32 = 1;
            fn restore(saved: SavedState<'_>) -> Result<Self, SavedState<'_>> {
                saved.read()
            }
        }
    )+};
}

plain_states!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    String
);

impl<T: State> State for Vec<T> {
    const NAME: &'static str = "Vec";
    const VERSION: u32 = T::VERSION;
    fn restore(saved: SavedState<'_>) -> Result<Self, SavedState<'_>> {
        saved.read()
    }
}

impl<T: State> State for Option<T> {
    const NAME: &'static str = "Option";
    const VERSION: u32 = T::VERSION;
    fn restore(saved: SavedState<'_>) -> Result<Self, SavedState<'_>> {
        saved.read()
    }
}
