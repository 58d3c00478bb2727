//! What a live binding must be able to do, asserted once per binding.

use std::any::{type_name, type_name_of_val};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Frame, Save};
use super::order::is_random;

/// A value that can be saved in a checkpoint and restored from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be saved in a checkpoint",
    label = "lives across a checkpointed loop, but `{Self}` is not `Serialize + DeserializeOwned`",
    note = "help: derive `Serialize` and `Deserialize` for it, give it a smaller scope so that it ends before the loop, or write `#[rebuild] let` to have it evaluated again after a resume"
)]
pub trait Keep: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Keep for T {}

/// Saves one binding. Made where the binding is, so that hooks add no bound and no error of their own.
pub struct Encoder<T> {
    name: &'static str,
    put: fn(&mut Save, &'static str, &T),
}

impl<T> Clone for Encoder<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Encoder<T> {}

/// Asserts that a binding can be saved.
#[inline(always)]
pub fn keep<T: Keep>(name: &'static str, _: &T) -> Encoder<T> {
    Encoder { name, put: Save::put::<T> }
}

impl<T> Encoder<T> {
    /// Saves the binding's present value.
    #[cold]
    #[inline(never)]
    pub fn put(self, save: &mut Save, value: &T) {
        (self.put)(save, self.name, value);
    }

    /// For [`Seen::check`].
    pub fn type_of(self) -> (&'static str, &'static str) {
        (self.name, type_name::<T>())
    }
}

/// Whether a cut's types were looked at in this process.
pub struct Seen(AtomicBool);

impl Seen {
    /// Not yet.
    #[allow(clippy::new_without_default, reason = "made in a static only")]
    pub const fn new() -> Seen {
        Seen(AtomicBool::new(false))
    }

    /// Refuses, by panicking in the first run that could save them, types whose meaning serde loses.
    ///
    /// The compiler can't see this behind a type of another crate; a refusal at the first run is what is left.
    #[inline]
    pub fn check(&self, frame: &Frame, types: &[(&'static str, &'static str)]) {
        if self.is_due(frame) {
            for (name, of) in types {
                refuse_shared(name, of);
            }
        }
    }

    /// The same for an iterator that comes in another order after a resume.
    #[inline]
    pub fn check_order<I: ?Sized>(&self, frame: &Frame, iterator: &I, label: &str) {
        if self.is_due(frame) {
            refuse_random(type_name_of_val(iterator), label);
        }
    }

    fn is_due(&self, frame: &Frame) -> bool {
        frame.active() && !self.0.swap(true, Ordering::Relaxed)
    }
}

/// The user's mistake, found only at run time.
#[cold]
fn refuse_shared(name: &str, of: &str) {
    let shared = ["alloc::rc::Rc<", "alloc::sync::Arc<", "alloc::rc::Weak<", "alloc::sync::Weak<"];
    assert!(
        !shared.iter().any(|pointer| of.contains(pointer)),
        "`{name}: {of}` lives across a checkpointed loop, but a checkpoint would turn one shared value into several; help: own the value, or keep indices"
    );
}

/// The user's mistake, found only at run time.
#[cold]
fn refuse_random(of: &str, label: &str) {
    assert!(
        !is_random(of),
        "`{label}` iterates over `{of}`, which may come in another order after a resume; help: use a BTreeMap or BTreeSet, or collect the keys into a Vec before the loop"
    );
}

/// How many iterations of a loop without calls run between two hooks.
const STRIDE: usize = 4096;

/// Whether operators on this value cost about as much as on a number.
///
/// Of the bindings that a loop without calls uses; an operator of a big-integer type may run long.
#[inline]
pub fn plain_cost<T: ?Sized>(value: &T) -> bool {
    let mut name = type_name_of_val(value);
    let wrappers = ["alloc::vec::Vec<", "&mut ", "&", "[", "(", "core::option::Option<"];
    while let Some(inner) = wrappers.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    let plain = matches!(
        &name[..end],
        "u8" | "u16"
            | "u32"
            | "u64"
            | "u128"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "i128"
            | "isize"
            | "f32"
            | "f64"
            | "bool"
            | "char"
    );
    plain && !name[end..].starts_with("::") && !name.contains(',')
}

/// The stride of a loop without calls, given the cost of each binding that it uses.
#[inline]
pub fn stride(plain: &[bool]) -> usize {
    if plain.iter().all(|plain| *plain) { STRIDE } else { 1 }
}
