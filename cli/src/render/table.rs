//! Rows in columns.

/// Lines with `rows` below `heads`, each column as wide as its widest cell; the last one as it is.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - visible(cell))))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(heads)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

/// Characters that take room on a terminal.
fn visible(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        let rows = [["a".to_owned(), "x".to_owned()], ["\u{1b}[1mlong\u{1b}[0m".to_owned(), "y".to_owned()]];
        let text = anstream::adapter::strip_str(&table(["id", "what"], &rows)).to_string();
        assert_eq!(text, "id    what\na     x\nlong  y");
    }
}
