//! What fell, in a sentence with both figures: it stands in the manifest, in the mail and in `status`.

use super::{Fall, TableFall};
use crate::units::show_size;

/// So many tables are named.
const NAMED: usize = 3;

impl Fall {
    /// `rows fell from the usual 6000 to 12, most of all in public.orders (5000 to 0)`. `worst` are the tables that lost most rows.
    #[must_use]
    pub fn words(&self, worst: &[TableFall]) -> String {
        let mut parts = Vec::new();
        if let Some((from, to)) = self.rows {
            parts.push(format!("rows fell from the usual {from} to {to}"));
        }
        if let Some((from, to)) = self.bytes {
            parts.push(format!("the size before compression fell from the usual {} to {}", show_size(from), show_size(to)));
        }
        if self.tables.is_empty() {
            if !worst.is_empty() {
                let named: Vec<String> =
                    worst.iter().take(NAMED).map(|table| format!("{} ({} to {})", name(table), table.from, left(table))).collect();
                if let Some(last) = parts.last_mut() {
                    last.push_str(&format!(", most of all in {}", named.join(", ")));
                }
            }
        } else {
            parts.extend(self.tables.iter().take(NAMED).map(emptied));
            match self.tables.len().saturating_sub(NAMED) {
                0 => {}
                1 => parts.push(String::from("so it is with 1 more table")),
                more => parts.push(format!("so it is with {more} more tables")),
            }
        }
        parts.join("; ")
    }
}

fn emptied(table: &TableFall) -> String {
    match table.to {
        Some(_) => format!("table {}, which always had rows (last {}), is empty", name(table), table.from),
        None => format!("table {} with {} rows is gone", name(table), table.from),
    }
}

fn left(table: &TableFall) -> String {
    table.to.map_or_else(|| String::from("gone"), |rows| rows.to_string())
}

/// A name from the server on one line and of bearable length.
fn name(table: &TableFall) -> String {
    let plain: String = table.table.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if plain.chars().count() > 80 { format!("{}…", plain.chars().take(79).collect::<String>()) } else { plain }
}
