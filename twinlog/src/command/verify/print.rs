//! What people read, and what programs do.

use std::fmt::Write as _;
use std::io::Write as _;

use applier::verify::{Difference, RepairReport, TableReport, Unsettled};

use super::view::{Outcome, text};
use crate::cli::VerifyArgs;
use crate::command::status::{count, lines};
use crate::failure::Failure;

const HEAD: [&str; 5] = ["TABLE", "REGIONS", "RESULT", "ROWS", "RECHECKED CHUNKS"];

/// Prints the outcome on standard output.
pub(super) fn outcome(outcome: &Outcome, args: &VerifyArgs) -> Result<(), Failure> {
    let failed = |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot write the outcome", e);
    let text = match (args.output.json, args.continuous) {
        // A line each, for whoever reads along.
        (true, true) => outcome.json().to_string() + "\n",
        (true, false) => serde_json::to_string_pretty(&outcome.json()).map_err(|e| failed(&e))? + "\n",
        // What was shown before the repair is not shown again.
        (false, _) => render(outcome, args.repair.repair.is_none()),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| failed(&e))
}

/// Shows what a repair will do; gives the number of rows. For programs it is in the outcome.
pub(super) fn plan(tables: &[TableReport], args: &VerifyArgs) -> usize {
    let rows: Vec<&Difference> = tables.iter().flat_map(|t| &t.differences).collect();
    if !args.output.json {
        let mut out = std::io::stdout().lock();
        for row in &rows {
            // An output that is closed does not stop what was asked for.
            let _ = out.write_all(step(row).as_bytes());
        }
        let _ = out.flush();
    }
    rows.len()
}

/// What a repair does about one row.
fn step(row: &Difference) -> String {
    let place = format!("{}: {} {}", row.right, row.table, key(&row.key));
    if row.key.is_empty() || row.generated_only {
        return format!("leave  {place}: it can't be repaired\n");
    }
    match row.count {
        (0, _) => format!("delete {place}\n"),
        (_, 0) => format!("insert {place}\n"),
        _ => {
            let mut text = format!("update {place}\n");
            for column in &row.columns {
                // Writing to a string does not fail.
                let (new, old) = (super::view::text(&column.left), super::view::text(&column.right));
                let _ = writeln!(text, "    {}: {old} -> {new}", column.name);
            }
            text
        }
    }
}

fn render(outcome: &Outcome, with_rows: bool) -> String {
    let rows: Vec<Vec<String>> = outcome.tables.iter().map(row).collect();
    let mut out = lines(&HEAD, &rows);
    for table in &outcome.tables {
        for why in &table.definition {
            let _ = writeln!(out, "{}: {why}", table.table);
        }
        if with_rows {
            table.differences.iter().for_each(|difference| out += &describe(difference));
        }
        table.unsettled.iter().for_each(|row| out += &in_doubt(&table.table, row));
        if table.unnamed_chunks > 0 {
            let _ = writeln!(
                out,
                "{}: more rows differ, in {} chunks that were not looked into: raise --max-named",
                table.table, table.unnamed_chunks
            );
        }
    }
    if let Some(repair) = &outcome.repair {
        out += &repaired(repair);
    }
    let read: u64 = outcome.tables.iter().map(|t| t.rows).sum();
    let _ = writeln!(out, "{}: {} rows in {:.1} s", outcome.word(), count(Some(read)), outcome.seconds);
    out
}

fn row(table: &TableReport) -> Vec<String> {
    vec![
        table.table.clone(),
        format!("{} {}", table.left, table.right),
        table.result().into(),
        count(Some(table.rows)),
        count(Some(table.rechecked)),
    ]
}

fn describe(row: &Difference) -> String {
    let mut out = format!("{} {}: ", row.table, key(&row.key));
    out += &match row.count {
        (1, 0) => format!("only in {}\n", row.left),
        (0, 1) => format!("only in {}\n", row.right),
        (left, right) if row.key.is_empty() => {
            format!("{left} times in {}, {right} times in {}\n", row.left, row.right)
        }
        _ => "differs\n".into(),
    };
    for column in &row.columns {
        let sides = [(&row.left, row.count.0, &column.left), (&row.right, row.count.1, &column.right)];
        // A row without a key is shown as the side has it where there are more.
        let more = row.count.0.cmp(&row.count.1);
        let there = |(i, (_, count, _)): &(usize, (&String, u64, _))| {
            *count > 0
                && (!row.key.is_empty()
                    || more == if *i == 0 { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less })
        };
        let sides = sides.into_iter().enumerate().filter(there);
        let values: Vec<String> =
            sides.map(|(_, (region, _, value))| format!("{region} {}", text(value))).collect();
        let _ = writeln!(out, "    {}: {}", column.name, values.join(", "));
    }
    out
}

fn in_doubt(table: &str, row: &Unsettled) -> String {
    format!("{table} {}: not settled: {}\n", key(&row.key), row.why)
}

fn repaired(repair: &RepairReport) -> String {
    let RepairReport { inserted, updated, deleted, .. } = repair;
    let mut out = format!("repaired: {inserted} inserted, {updated} updated, {deleted} deleted\n");
    for row in &repair.unrepaired {
        let _ = writeln!(out, "{} {} in {}: not repaired: {}", row.table, key(&row.key), row.region, row.why);
    }
    for row in &repair.differences {
        let _ = write!(out, "still: {}", describe(row));
    }
    for row in &repair.unsettled {
        out += &in_doubt("after the repair", row);
    }
    out
}

/// `(id=5)`
fn key(key: &[(String, String)]) -> String {
    let parts: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("({})", parts.join(", "))
}
