//! A program that nobody can change, as `faas.toml` declares it.
//!
//! The program itself knows nothing of limits or checkpoints. What stands here says how an input becomes its arguments and its
//! standard input, and how what it leaves becomes the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One declared program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The name it is called by, as a handler is.
    pub name: Name,
    /// What it does, for people.
    #[serde(default)]
    pub about: String,
    /// The program: a path from the work folder, an absolute path, or a name on `PATH`.
    pub command: String,
    /// Its arguments, made from the input.
    #[serde(default)]
    pub args: Vec<Template>,
    /// What its standard input holds.
    #[serde(default)]
    pub stdin: Stdin,
    /// Where its result comes from.
    #[serde(default)]
    pub stdout: Stdout,
    /// Files and folders, relative to `faas.toml`, that are put into its work folder.
    #[serde(default)]
    pub files: Vec<RelativePath>,
    /// Its environment, beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How long it may run in all its invocations together.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The least reserve before a time limit, where it is known to need more than is measured.
    #[serde(default)]
    pub margin: Option<Span>,
}

/// Why a value of a declaration can't be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadDeclaration(String);

fn bad(message: impl Into<String>) -> BadDeclaration {
    BadDeclaration(message.into())
}

/// A program's name: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = BadDeclaration;

    fn try_from(text: String) -> Result<Self, BadDeclaration> {
        let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !text.is_empty() && text.len() <= 64 && text.chars().all(is_sound) {
            return Ok(Self(text));
        }
        Err(bad(format!(
            "a program's name has letters, digits, `-` and `_`, and at most 64 of them: not `{text}`"
        )))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What standard input holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// The input object as JSON.
    #[default]
    Json,
    /// The text of the input's field `stdin`.
    Text,
    /// Nothing.
    None,
}

/// Where the result comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Stdout {
    /// Standard output is one JSON value: the result.
    #[default]
    Json,
    /// Standard output is the result, as a JSON string.
    Text,
    /// The result is this file in the work folder: JSON if its name ends so, else text. Standard output goes to the logs.
    File(RelativePath),
}

impl TryFrom<String> for Stdout {
    type Error = BadDeclaration;

    fn try_from(text: String) -> Result<Self, BadDeclaration> {
        match (text.as_str(), text.strip_prefix("file:")) {
            ("json", _) => Ok(Self::Json),
            ("text", _) => Ok(Self::Text),
            (_, Some(path)) => Ok(Self::File(RelativePath::try_from(path.to_owned())?)),
            _ => Err(bad(format!("stdout is \"json\", \"text\" or \"file:NAME\", not `{text}`"))),
        }
    }
}

impl From<Stdout> for String {
    fn from(stdout: Stdout) -> Self {
        match stdout {
            Stdout::Json => "json".to_owned(),
            Stdout::Text => "text".to_owned(),
            Stdout::File(path) => format!("file:{}", path.0),
        }
    }
}

/// A path that stays below the folder it starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// The path as text, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RelativePath {
    type Error = BadDeclaration;

    fn try_from(text: String) -> Result<Self, BadDeclaration> {
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if text.split('/').all(is_part) {
            return Ok(Self(text));
        }
        Err(bad(format!("`{text}` is no path below the folder of faas.toml, such as `data/words.txt`")))
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

/// A length of time as a person writes it: `90s`, `500ms`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// Milliseconds.
    pub ms: u64,
}

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

impl TryFrom<String> for Span {
    type Error = BadDeclaration;

    fn try_from(text: String) -> Result<Self, BadDeclaration> {
        let parse = |(unit, ms): &(&str, u64)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*ms);
        let ms = UNITS.iter().find_map(parse).filter(|ms| *ms > 0);
        ms.map(|ms| Self { ms }).ok_or_else(|| {
            bad(format!("`{text}` is no length of time such as `500ms`, `90s`, `15m` or `2h`"))
        })
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        let (unit, of) = UNITS.iter().rev().find(|(_, of)| span.ms.is_multiple_of(*of)).unwrap_or(&UNITS[0]);
        format!("{}{unit}", span.ms / of)
    }
}

/// A text with `{input}` and `{input.FIELD}` in it; `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The whole input.
    Input,
    /// A field of it.
    Field(String),
}

impl Template {
    /// The text made from an input: a string stands as it is, anything else as JSON.
    ///
    /// # Errors
    /// Names the field that the input lacks.
    pub fn fill(&self, input: &Value) -> Result<String, BadDeclaration> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Input => filled.push_str(&input.to_string()),
                Part::Field(name) => match input.get(name) {
                    Some(Value::String(text)) => filled.push_str(text),
                    Some(value) => filled.push_str(&value.to_string()),
                    None => return Err(bad(format!("the field `{name}` is missing"))),
                },
            }
        }
        if filled.contains('\0') {
            return Err(bad("an argument can't hold a NUL character"));
        }
        Ok(filled)
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) | Part::Input => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Template {
    type Error = BadDeclaration;

    fn try_from(text: String) -> Result<Self, BadDeclaration> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let found = &rest[at..];
            if let Some(after) = found.strip_prefix("{{").or_else(|| found.strip_prefix("}}")) {
                plain.push_str(&found[..1]);
                rest = after;
                continue;
            }
            let (name, after) =
                found.strip_prefix('{').and_then(|inner| inner.split_once('}')).ok_or_else(|| {
                    bad(format!(
                        "a brace in `{text}` stands alone; write `{{{{` or `}}}}` for one that is meant"
                    ))
                })?;
            parts.extend(part_of_text(&mut plain));
            parts.push(placeholder(name)?);
            rest = after;
        }
        plain.push_str(rest);
        parts.extend(part_of_text(&mut plain));
        Ok(Self { text, parts })
    }
}

fn part_of_text(plain: &mut String) -> Option<Part> {
    (!plain.is_empty()).then(|| Part::Text(std::mem::take(plain)))
}

fn placeholder(name: &str) -> Result<Part, BadDeclaration> {
    match (name, name.strip_prefix("input.")) {
        ("input", _) => Ok(Part::Input),
        (_, Some(field)) if !field.is_empty() => Ok(Part::Field(field.to_owned())),
        _ => Err(bad(format!("there is no `{{{name}}}`: write `{{input}}` or `{{input.FIELD}}`"))),
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl Program {
    /// JSON Schema of the input: an object, with the fields that the declaration names.
    pub fn input_schema(&self) -> Value {
        let of_stdin = (self.stdin == Stdin::Text).then_some("stdin");
        let fields: BTreeSet<&str> = self.args.iter().flat_map(Template::fields).chain(of_stdin).collect();
        let schema = |name: &&str| {
            let schema = if Some(*name) == of_stdin { json!({ "type": "string" }) } else { json!({}) };
            ((*name).to_owned(), schema)
        };
        let properties: Map<String, Value> = fields.iter().map(schema).collect();
        // What reads the input as JSON may want fields of which nothing is known here.
        let is_closed =
            self.stdin != Stdin::Json && !self.args.iter().any(|arg| arg.parts.contains(&Part::Input));
        json!({ "type": "object", "properties": properties, "required": fields, "additionalProperties": !is_closed })
    }

    /// What standard input holds for this input.
    ///
    /// # Errors
    /// Names the field that the input lacks.
    pub fn stdin_text(&self, input: &Value) -> Result<String, BadDeclaration> {
        match self.stdin {
            Stdin::Json => Ok(input.to_string()),
            Stdin::None => Ok(String::new()),
            Stdin::Text => match input.get("stdin") {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(_) => Err(bad("the field `stdin` is no string")),
                None => Err(bad("the field `stdin` is missing")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template, BadDeclaration> {
        Template::try_from(text.to_owned())
    }

    #[test]
    fn arguments_are_made_from_the_input() {
        let input = json!({ "n": 360, "name": "two words", "list": [1, 2] });
        for (text, filled) in [
            ("plain", "plain"),
            ("--n={input.n}", "--n=360"),
            ("{input.name}", "two words"),
            ("{input.list}", "[1,2]"),
            ("{{{input.n}}}", "{360}"),
            ("{input}", &input.to_string()),
        ] {
            assert_eq!(template(text).unwrap().fill(&input).unwrap(), filled, "{text}");
        }
        let missing = template("{input.m}").unwrap().fill(&input).unwrap_err();
        assert_eq!(missing.to_string(), "the field `m` is missing");
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for text in ["{", "}", "{input", "{inputs}", "{input.}", "a } b"] {
            assert!(template(text).is_err(), "{text}");
        }
        for path in ["", "/etc", "a/../b", "./a", "a//b"] {
            assert!(RelativePath::try_from(path.to_owned()).is_err(), "{path}");
        }
        for span in ["", "s", "5", "-5s", "0s", "1.5h", "99999999999999999h"] {
            assert!(Span::try_from(span.to_owned()).is_err(), "{span}");
        }
        assert!(Stdout::try_from("xml".to_owned()).is_err() && Name::try_from("a b".to_owned()).is_err());
    }

    #[test]
    fn a_declaration_reads_back_as_it_was_written() {
        let json = json!({
            "name": "count", "about": "", "command": "wc", "args": ["-{input.what}"], "stdin": "text", "stdout": "file:out.json",
            "files": ["data"], "env": { "A": "b" }, "timeout": "90s", "margin": "500ms",
        });
        let program: Program = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(program.timeout, Some(Span { ms: 90_000 }));
        assert_eq!(serde_json::to_value(&program).unwrap(), json);
        assert_eq!(program.input_schema()["required"], json!(["stdin", "what"]));
        assert_eq!(program.input_schema()["additionalProperties"], json!(false));
    }
}
