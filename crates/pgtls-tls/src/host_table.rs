//! [`HostTable`]: which row of `[[proxy.listener.host]]` a server name belongs to. Pure.

use std::collections::HashMap;

/// Rows by host name; an exact name wins over a wildcard, and of two rows with one name the first.
#[derive(Debug, Default)]
pub(crate) struct HostTable {
    exact: HashMap<String, usize>,
    /// Of `*.x`, the `x`.
    wildcard: HashMap<String, usize>,
}

impl HostTable {
    /// A table of the rows' host names, in their order.
    pub(crate) fn new<'a>(rows: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut table = Self::default();
        for (row, names) in rows.into_iter().enumerate() {
            for name in names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(domain) => table.wildcard.entry(domain.to_owned()).or_insert(row),
                    None => table.exact.entry(name).or_insert(row),
                };
            }
        }
        table
    }

    /// The row that `name` belongs to, whatever its case; a wildcard stands for exactly one label.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.exact.get(&name).copied().or_else(|| {
            let (label, domain) = name.split_once('.')?;
            let row = self.wildcard.get(domain)?;
            (!label.is_empty()).then_some(*row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> HostTable {
        let rows: Vec<Vec<_>> = rows
            .iter()
            .map(|names| names.iter().map(ToString::to_string).collect())
            .collect();
        HostTable::new(rows.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_name_finds_its_row_whatever_its_case() {
        let table = table(&[&["a.example", "B.example"], &["*.c.example"]]);
        let rows = [
            "A.Example",
            "b.example",
            "b.example.",
            "x.C.example",
            "d.example",
        ];
        let found = rows.map(|name| table.find(name));
        assert_eq!(found, [Some(0), Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let table = table(&[&["*.example"]]);
        let names = ["a.example", "a.b.example", "example", ".example", ""];
        let found = names.map(|name| table.find(name).is_some());
        assert_eq!(found, [true, false, false, false, false]);
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_and_the_first_row_over_the_second() {
        let table = table(&[&["*.example"], &["a.example"], &["a.example", "*.example"]]);
        assert_eq!(table.find("a.example"), Some(1));
        assert_eq!(table.find("b.example"), Some(0));
    }
}
