//! What a mistyped name may have meant.

/// The one of `names` that `typed` most likely meant.
pub fn closest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = fold(typed);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, &fold(name)), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(typed.chars().count()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A help line about the names there are, with the likely one first.
pub fn among<'a>(what: &str, typed: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = closest(typed, names.clone()) {
        return format!("did you mean `{name}`?");
    }
    let mut all: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let more = all.len().saturating_sub(20);
    all.truncate(20);
    match (all.len(), more) {
        (0, _) => format!("there is no {what}"),
        (1, 0) => format!("the only {what} is {}", all.join(", ")),
        (_, 0) => format!("the {} are {}", plural(what), all.join(", ")),
        _ => format!("the {} are {} and {more} more", plural(what), all.join(", ")),
    }
}

fn plural(what: &str) -> String {
    what.strip_suffix('y').map_or_else(|| format!("{what}s"), |stem| format!("{stem}ies"))
}

/// Names compare without regard to case, `-` and `_`.
pub fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name() {
        let names = ["factors", "matrix", "word_count"];
        for (typed, meant) in [("factor", "factors"), ("fcators", "factors"), ("word-counts", "word_count")] {
            assert_eq!(closest(typed, names), Some(meant));
        }
        assert_eq!(closest("fractal", names), None);
        assert_eq!(closest("x", []), None);
        assert_eq!(among("handler", "zzz", names), "the handlers are `factors`, `matrix`, `word_count`");
        assert_eq!(among("handler", "factor", names), "did you mean `factors`?");
        assert_eq!(among("binary", "zzz", ["a", "b"]), "the binaries are `a`, `b`");
        assert_eq!(among("binary", "zzz", ["a"]), "the only binary is `a`");
    }
}
