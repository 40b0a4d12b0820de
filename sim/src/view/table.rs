//! A table of text, as narrow as its contents allow and never wider than a terminal.

use std::fmt;

/// The widest table, in characters.
const WIDTH: usize = 100;
/// Between two columns.
const GAP: &str = "   ";

/// Rows under a head.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the head.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let last = self.head.len().saturating_sub(1);
        let width = |column: usize| all().map(|r| r[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..last).map(width).collect();
        let indent: usize = 2 + widths.iter().map(|w| w + GAP.len()).sum::<usize>();
        for row in all() {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}{GAP}"));
            }
            // The last column wraps between its words.
            let mut used = indent;
            for (index, word) in row[last].split(' ').enumerate() {
                let length = word.chars().count();
                if index > 0 && used + 1 + length > WIDTH {
                    line.push('\n');
                    line.push_str(&" ".repeat(indent));
                    used = indent;
                } else if index > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(word);
                used += length;
            }
            let lines: Vec<&str> = line.lines().map(str::trim_end).collect();
            writeln!(f, "{}", lines.join("\n"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_wraps() {
        let mut table = Table::new(&["KIND", "NAMES"]);
        table.row(["Service", "a"]);
        table.row(["Pod".to_owned(), ["hippo-primary"; 12].join(" ")]);
        let shown = table.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(&lines[..2], ["  KIND      NAMES", "  Service   a"]);
        assert!(lines.len() > 3 && lines[3].starts_with("            hippo-primary"), "{shown}");
        assert!(lines.iter().all(|l| l.chars().count() <= WIDTH), "{shown}");
    }
}
