//! Types of many kinds, and what is found of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use super::*;

fn text<T: DeserializeOwned>() -> String {
    of::<T>().to_string()
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Progress {
    done: u64,
    words: Vec<String>,
}

#[test]
fn primitives_and_containers() {
    assert_eq!(text::<u64>(), "u64");
    assert_eq!(text::<(i8, i16, i32, i64, i128)>(), "(i8, i16, i32, i64, i128)");
    assert_eq!(text::<(u8, u16, u32, u128, f32, f64)>(), "(u8, u16, u32, u128, f32, f64)");
    assert_eq!(text::<(bool, char, String, ())>(), "(bool, char, String, ())");
    assert_eq!(text::<(usize,)>(), "(u64,)");
    assert_eq!(text::<Vec<Option<f32>>>(), "Vec<Option<f32>>");
    assert_eq!(text::<[u8; 32]>(), "[u8; 32]");
    assert_eq!(text::<(f64, f64)>(), "[f64; 2]");
    assert_eq!(text::<HashMap<String, BTreeSet<u8>>>(), "Map<String, Vec<u8>>");
    assert_eq!(text::<VecDeque<Box<str>>>(), "Vec<String>");
    assert_eq!(text::<(Box<u8>, std::cell::Cell<u8>, std::sync::Mutex<u16>)>(), "(u8, u8, u16)");
    assert_eq!(text::<[u8; 0]>(), "()");
    assert_eq!(text::<Result<u8, String>>(), "enum Result { Ok(u8), Err(String) }");
    assert_eq!(text::<std::ops::Range<u64>>(), "struct Range { start: u64, end: u64 }");
    assert_eq!(text::<std::marker::PhantomData<u8>>(), "struct PhantomData");
}

#[test]
fn the_types_of_std_that_refuse_values() {
    assert_eq!(text::<NonZeroU64>(), "u64");
    assert_eq!(text::<(NonZeroU8, u8, Option<NonZeroU64>)>(), "(u8, u8, Option<u64>)");
    assert_eq!(text::<Duration>(), "struct Duration { secs: u64, nanos: u32 }");
    assert_eq!(text::<SystemTime>(), "struct SystemTime { secs_since_epoch: u64, nanos_since_epoch: u32 }");
    assert_eq!(text::<PathBuf>(), "String");
    assert_eq!(text::<IpAddr>(), "enum IpAddr { V4([u8; 4]), V6([u8; 16]) }");
    assert_eq!(of_readable::<(IpAddr, SocketAddr, u8)>().to_string(), "(String, String, u8)");
    assert_eq!(text::<std::ops::Bound<u8>>(), "enum Bound { Unbounded, Included(u8), Excluded(u8) }");
    assert_eq!(text::<std::ffi::CString>(), "bytes");
}

#[test]
fn structs_and_enums() {
    #[derive(Deserialize)]
    struct Marker;
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Id(u64);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Pair(u8, String);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Move {
        Stay,
        By(i32),
        To(i32, u8),
        Named { x: Option<f64>, id: Id },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Game {
        moves: Vec<Move>,
        last: Option<Move>,
        progress: Progress,
    }
    assert_eq!(text::<Marker>(), "struct Marker");
    assert_eq!(text::<Id>(), "struct Id(u64)");
    assert_eq!(text::<Pair>(), "struct Pair(u8, String)");
    assert_eq!(text::<Progress>(), "struct Progress { done: u64, words: Vec<String> }");
    assert_eq!(text::<Move>(), "enum Move { Stay, By(i32), To(i32, u8), Named { x: Option<f64>, id: Id } }");
    let shape = of::<Game>();
    let Shape::Struct(_, Fields::Named(fields)) = &shape else { panic!("{shape}") };
    assert_eq!(fields[0].shape, Shape::Sequence(Box::new(of::<Move>())));
    assert_eq!(fields[1].shape, Shape::Option(Box::new(of::<Move>())));
    assert_eq!(fields[2].shape, of::<Progress>());
}

#[test]
fn recursive_types_end_at_their_name() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct List {
        head: u32,
        tail: Option<Box<List>>,
        after: bool,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Tree {
        children: Vec<Tree>,
        named: BTreeMap<String, Tree>,
        value: NonZeroU8,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Expr {
        Add(Box<Expr>, Box<Expr>, u8),
        Neg(Box<Expr>),
        Call { name: String, arguments: Vec<Expr>, first: Box<Expr> },
        Number(f64),
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Even {
        Zero,
        Next(Box<Odd>),
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Odd {
        before: Box<Even>,
        n: u8,
    }
    assert_eq!(text::<List>(), "struct List { head: u32, tail: Option<List>, after: bool }");
    assert_eq!(text::<Tree>(), "struct Tree { children: Vec<Tree>, named: Map<String, Tree>, value: u8 }");
    assert_eq!(
        text::<Expr>(),
        "enum Expr { Add(Expr, Expr, u8), Neg(Expr), \
         Call { name: String, arguments: Vec<Expr>, first: Expr }, Number(f64) }"
    );
    assert_eq!(text::<Vec<Odd>>(), "Vec<Odd>");
    assert_eq!(text::<Odd>(), "struct Odd { before: Even, n: u8 }");
    let Shape::Struct(_, Fields::Named(fields)) = of::<Odd>() else { panic!() };
    assert_eq!(fields[0].shape.to_string(), "enum Even { Zero, Next(Odd) }");
    assert_eq!(text::<Even>(), "enum Even { Zero, Next(Odd) }");
}

#[test]
fn generic_types_of_one_name_are_not_taken_for_recursive() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Wrap<T> {
        value: T,
    }
    let Shape::Struct(_, Fields::Named(fields)) = of::<Wrap<Wrap<u8>>>() else { panic!() };
    assert_eq!(fields[0].shape.to_string(), "struct Wrap { value: u8 }");
}

#[test]
fn types_without_any_value_end() {
    #[derive(Deserialize)]
    enum Never {}
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Endless {
        next: Box<Endless>,
        other: Box<Endless>,
        n: u8,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Nested(Box<Nested>);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Turn {
        Again(Box<Turn>),
        Both(Box<Turn>, Box<Turn>),
    }
    assert_eq!(text::<Never>(), "enum Never {  }");
    assert_eq!(text::<Option<Never>>(), "Option<Never>");
    assert_eq!(text::<Endless>(), "struct Endless { next: Endless, other: Endless, n: u8 }");
    assert_eq!(text::<Nested>(), "struct Nested(Nested)");
    assert!(text::<Turn>().starts_with("enum Turn { Again(Turn), Both(Turn, "));
}

/// Takes only what `is_good` takes, whatever `T` it is made from.
macro_rules! strict {
    ($name:ident($inner:ty), $is_good:expr) => {
        #[derive(Debug)]
        #[allow(dead_code)]
        struct $name($inner);
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let inner = <$inner>::deserialize(deserializer)?;
                let is_good: fn(&$inner) -> bool = $is_good;
                if is_good(&inner) { Ok(Self(inner)) } else { Err(de::Error::custom("not good")) }
            }
        }
    };
}

strict!(NonEmpty(String), |text| !text.is_empty());
strict!(Address(String), |text| text.contains('@'));
strict!(Impossible(String), |_| false);
strict!(Three(Vec<u8>), |bytes| bytes.len() == 3);
strict!(Sorted((u8, u8)), |pair| pair.0 <= pair.1);
strict!(Refusing(Progress), |_| false);

#[test]
fn types_that_refuse_values_are_seen_through() {
    assert_eq!(text::<(NonEmpty, u8)>(), "(String, u8)");
    assert_eq!(text::<(Option<Address>, Vec<NonEmpty>, u8)>(), "(Option<String>, Vec<String>, u8)");
    assert_eq!(text::<(Three, bool)>(), "(Vec<u8>, bool)");
    assert_eq!(text::<(Sorted, bool)>(), "([u8; 2], bool)");
    assert_eq!(text::<BTreeMap<NonEmpty, Address>>().as_str(), "Map<String, String>");
}

impl PartialEq for NonEmpty {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for NonEmpty {}
impl PartialOrd for NonEmpty {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for NonEmpty {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[test]
fn what_stands_beside_an_impossible_type_is_still_seen() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Holder {
        before: u8,
        bad: Impossible,
        worse: Refusing,
        maybe: Option<Impossible>,
        after: f64,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Either {
        Bad(Impossible),
        Pair(Impossible, u8),
        Good(u8),
        Named { bad: Impossible, n: u16 },
    }
    assert_eq!(text::<(u8, Vec<Holder>, bool)>().as_str(), "(u8, Vec<Holder>, bool)");
    let found = of::<Holder>().to_string();
    assert_eq!(
        found,
        "struct Holder { before: u8, bad: String, worse: Progress, maybe: Option<String>, after: f64 }"
    );
    let found = of::<Either>().to_string();
    assert_eq!(
        found,
        "enum Either { Bad(String), Pair(String, unknown), Good(u8), Named { bad: String, n: u16 } }"
    );
}

#[test]
fn types_that_take_anything_are_opaque() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Untagged {
        Number(u8),
        Text(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code)]
    enum Tagged {
        One { x: u8 },
        Two { y: u8 },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flat {
        n: u8,
        #[serde(flatten)]
        more: Progress,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Holder {
        json: serde_json::Value,
        untagged: Untagged,
        tagged: Tagged,
        flat: Flat,
        after: u8,
    }
    let found = text::<Holder>();
    assert!(found.starts_with("struct Holder { json: Value, untagged: "), "{found}");
    assert!(found.ends_with(", flat: Flat, after: u8 }"), "{found}");
    assert_eq!(of::<Flat>(), Shape::Opaque("Flat".to_owned()));
}

#[test]
fn attributes_of_serde_are_followed() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Attributes {
        first_name: String,
        #[serde(rename = "type")]
        kind: u8,
        #[serde(skip)]
        cache: u64,
        #[serde(default)]
        later: u16,
        #[serde(alias = "zz_old")]
        new: bool,
    }
    #[derive(Deserialize)]
    #[serde(tag = "t", content = "c")]
    #[allow(dead_code)]
    enum Adjacent {
        A(u8),
        B(String),
    }
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Transparent {
        _inner: u32,
    }
    #[derive(Deserialize)]
    #[serde(try_from = "u8")]
    #[allow(dead_code)]
    enum Level {
        Seven,
    }
    impl TryFrom<u8> for Level {
        type Error = String;
        fn try_from(level: u8) -> Result<Self, String> {
            if level == 7 { Ok(Self::Seven) } else { Err("not seven".to_owned()) }
        }
    }
    assert_eq!(
        text::<Attributes>(),
        "struct Attributes { firstName: String, type: u8, later: u16, new: bool }"
    );
    assert!(text::<Adjacent>().starts_with("struct Adjacent { t: Adjacent, c: "), "{}", text::<Adjacent>());
    assert_eq!(text::<(Transparent, Level, bool)>(), "(u32, u8, bool)");
}

#[test]
fn a_type_that_panics_is_opaque() {
    #[derive(Debug)]
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            panic!("not prepared for {text:?}");
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Holder {
        bad: Panics,
        after: u8,
    }
    assert_eq!(text::<Holder>(), "struct Holder { bad: Panics, after: u8 }");
}

#[test]
fn large_types_end_soon() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Two<T> {
        a: Vec<T>,
        b: Option<Box<T>>,
    }
    type Wide<T> = Two<Two<Two<Two<T>>>>;
    let started = std::time::Instant::now();
    let _ = of::<Wide<Wide<Wide<Wide<u8>>>>>();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn shapes_survive_json() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Mixed {
        Unit,
        One(Progress),
        Two(Box<u8>, Box<str>),
        Named { map: BTreeMap<u8, [f32; 3]> },
    }
    for shape in [of::<Mixed>(), of::<Progress>(), of::<serde_json::Value>(), of::<(u8, Option<()>)>()] {
        assert_eq!(Shape::from_json(&shape.to_json()).unwrap(), shape);
    }
    assert_eq!(
        of::<Progress>().to_json(),
        r#"{"struct":["Progress",{"named":[["done","u64"],["words",{"sequence":"string"}]]}]}"#
    );
}

/// The same name with other content, as after an edit.
macro_rules! version {
    ($name:ident: $($item:tt)*) => {{
        #[derive(Deserialize)]
        #[allow(dead_code)]
        $($item)*
        of::<$name>()
    }};
}

#[test]
fn fingerprints_change_with_what_changes_the_bytes_and_differences_name_it() {
    let old = version!(P: struct P { done: u64, words: u64 });
    assert_eq!(
        old.fingerprint(),
        version!(P: struct P {
            /// Documented now.
            done: u64,
            words: u64
        })
        .fingerprint()
    );
    assert_eq!(old.difference(&old.clone()), None);
    let cases = [
        (
            version!(P: struct P { words: u64, done: u64 }),
            "the fields of `P` were in the order `done`, `words`, are in the order `words`, `done`",
        ),
        (version!(P: struct P { done: f64, words: u64 }), "field `done` of `P` was u64, is f64"),
        (version!(P: struct P { finished: u64, words: u64 }), "field `done` of `P` is now called `finished`"),
        (version!(P: struct P { done: u64 }), "field `words` of `P` is gone"),
        (version!(P: struct P { done: u64, words: u64, more: u8 }), "field `more` of `P` is new"),
        (
            version!(P: struct P { done: u64, words: Vec<Option<u8>> }),
            "field `words` of `P` was u64, is Vec<Option<u8>>",
        ),
        (version!(P: struct P(u64, u64);), "`P` had fields with names, has 2 fields without names"),
        (version!(Q: struct Q { done: u64, words: u64 }), "the type was P, is Q"),
    ];
    for (new, sentence) in cases {
        assert_eq!(new.difference(&old).as_deref(), Some(sentence));
        assert_ne!(new.fingerprint(), old.fingerprint(), "{sentence}");
    }
}

#[test]
fn differences_within_are_named_where_they_are() {
    let old = version!(E: enum E { A, B(u8), C { x: Vec<Option<u8>> } });
    let cases = [
        (version!(E: enum E { A, New, B(u8), C { x: Vec<Option<u8>> } }), "variant `New` of `E` is new"),
        (
            version!(E: enum E { A, C { x: Vec<Option<u8>> }, B(u8) }),
            "the variants of `E` were in the order `A`, `B`, `C`, are in the order `A`, `C`, `B`",
        ),
        (
            version!(E: enum E { A, B(u8), C { x: Vec<Option<i8>> } }),
            "field `x` of `E::C` was Vec<Option<u8>>, is Vec<Option<i8>>",
        ),
        (version!(E: enum E { A, B(u16), C { x: Vec<Option<u8>> } }), "the content of `E::B` was u8, is u16"),
        (
            version!(E: enum E { A(u8), B(u8), C { x: Vec<Option<u8>> } }),
            "`E::A` had no fields, has one field without a name",
        ),
    ];
    for (new, sentence) in cases {
        assert_eq!(new.difference(&old).as_deref(), Some(sentence));
        assert_ne!(new.fingerprint(), old.fingerprint(), "{sentence}");
        let (new, old) = (Shape::Option(Box::new(new)), Shape::Option(Box::new(old.clone())));
        assert_eq!(new.difference(&old).as_deref(), Some(sentence), "also within an option");
    }
    assert_eq!(
        of::<(u8, u64)>().difference(&of::<(u8, u32)>()).unwrap(),
        "the type was (u8, u32), is (u8, u64)"
    );
}

#[test]
fn fingerprints_are_the_same_everywhere() {
    // Written down once: a change of these strands every suspended execution.
    assert_eq!(of::<u64>().fingerprint(), 0xdd9e_ba19_0776_c8b0);
    assert_eq!(of::<Progress>().fingerprint(), 0xc9dc_4dcd_556f_50aa);
}

#[test]
fn schemas_describe_the_json() {
    #[derive(Serialize, Deserialize)]
    struct Node {
        name: String,
        children: Vec<Node>,
        weight: Option<f64>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Move {
        Stay,
        By(i8),
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Colour {
        Red,
        Green,
    }
    let schema = of::<Node>().json_schema();
    assert_eq!(
        schema,
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": "#/$defs/Node",
            "$defs": { "Node": {
                "title": "Node",
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "children": { "type": "array", "items": { "$ref": "#/$defs/Node" } },
                    "weight": { "anyOf": [{ "type": "number" }, { "type": "null" }] },
                },
                "required": ["name", "children"],
            } },
        })
    );
    let schema = of::<(Move, Colour)>().json_schema();
    let by = serde_json::json!({
        "type": "object", "required": ["By"], "additionalProperties": false,
        "properties": { "By": { "type": "integer", "minimum": -128, "maximum": 127 } },
    });
    assert_eq!(schema["prefixItems"][0]["oneOf"], serde_json::json!([{ "const": "Stay" }, by]));
    assert_eq!(schema["prefixItems"][1]["enum"], serde_json::json!(["Red", "Green"]));
    assert_eq!(schema["minItems"], 2);
}

#[test]
fn only_fields_without_a_default_are_required() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Input {
        n: u64,
        #[serde(default)]
        factor: f64,
        label: Option<String>,
        from: IpAddr,
        inner: Vec<Inner>,
        choice: Choice,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Inner {
        a: u8,
        b: u8,
    }
    impl Default for Inner {
        fn default() -> Self {
            Self { a: 1, b: 2 }
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Choice {
        None,
        Some {
            x: u8,
            #[serde(default)]
            y: u8,
        },
    }
    let schema = of_readable::<Input>().json_schema();
    assert_eq!(schema["required"], serde_json::json!(["n", "from", "inner", "choice"]));
    assert_eq!(schema["properties"]["inner"]["items"]["required"], serde_json::json!([]));
    let choice = &schema["properties"]["choice"]["oneOf"][1]["properties"]["Some"];
    assert_eq!(choice["required"], serde_json::json!(["x"]));
    assert_eq!(schema["properties"]["from"]["type"], "string");
    // Defaults are no difference to a saved state.
    assert_eq!(of::<Inner>().to_string(), "struct Inner { a: u8, b: u8 }");
}

#[test]
fn a_renamed_type_is_renamed_within_itself_too() {
    let old = version!(TreeV1: struct TreeV1 { leaves: Vec<u8>, below: Option<Box<TreeV1>>, all: Vec<(u8, TreeV1)> });
    let new = version!(Tree: struct Tree { leaves: Vec<u8>, below: Option<Box<Tree>>, all: Vec<(u8, Tree)> });
    assert_ne!(old, new);
    assert_eq!(old.named("Tree"), new);
    assert_eq!(of::<u64>().named("Tree"), of::<u64>());
}
