//! Conflicts, for people and for programs.

use std::fmt::Write;

use applier::Recorded;
use serde_json::Value as Json;

/// A list, or with `lines` an object a line.
pub(super) fn json(conflicts: &[Recorded], lines: bool) -> Result<String, serde_json::Error> {
    if !lines {
        return Ok(serde_json::to_string_pretty(conflicts)? + "\n");
    }
    conflicts.iter().map(|c| Ok(serde_json::to_string(c)? + "\n")).collect()
}

/// A line each; with the heading when it is the first of them.
pub(super) fn table(conflicts: &[Recorded], heading: bool) -> String {
    let mut text = String::new();
    if heading {
        text += &line(
            &["ID", "DECIDED AT", "LINK", "TABLE", "KEY", "OPERATION", "KIND", "POLICY", "WINNER"]
                .map(String::from),
        );
    }
    for c in conflicts {
        let winner = match (c.is_open(), &c.resolution, &c.flipped_at) {
            (_, _, Some(_)) => format!("{}, flipped", c.winner),
            (true, None, _) => "waits for a decision".into(),
            (true, Some(answer), _) => format!("decided: {answer}"),
            (false, Some(answer), _) if c.winner == "nobody" => answer.clone(),
            _ => c.winner.clone(),
        };
        let link = c.link.split_once('/').map_or(c.link.as_str(), |(_, of_sync)| of_sync).replace('/', "-");
        let cells = [
            c.id.clone(),
            c.decided_at.chars().take(23).collect(),
            link,
            c.table.clone(),
            c.key.to_string(),
            c.operation.clone(),
            c.kind.clone(),
            c.policy.clone(),
            winner,
        ];
        text += &line(&cells);
    }
    text
}

fn line(cells: &[String; 9]) -> String {
    const WIDTHS: [usize; 9] = [8, 23, 8, 20, 18, 9, 8, 9, 0];
    let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{:width$}", printable(cell)));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
}

/// One conflict with all that is known, its rows side by side.
pub(super) fn both_rows(c: &Recorded) -> String {
    let mut text = String::new();
    let mut say = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:14}{}", printable(value));
        }
    };
    say("conflict", &c.id);
    say("decided at", &c.decided_at);
    say("link", &c.link);
    say("transaction", &format!("{} committed at {}", c.gtid, c.committed_at));
    say("row", &format!("{} {}", c.table, c.key));
    say("operation", &c.operation);
    say("kind", &c.kind);
    say("policy", &c.policy);
    say("winner", if c.is_open() { "nobody yet" } else { &c.winner });
    say("detail", &c.detail);
    say("unseen", &c.unseen);
    say("resolution", c.resolution.as_deref().unwrap_or_default());
    say("flipped at", c.flipped_at.as_deref().unwrap_or_default());
    text.push('\n');
    text += &side_by_side(c);
    if c.is_open() {
        let _ = writeln!(text, "\ndecide: twinlog conflicts resolve {} --take source|target|skip", c.id);
    }
    text
}

fn side_by_side(c: &Recorded) -> String {
    let rows = [&c.incoming_before, &c.incoming_after, &c.local_row];
    let empty = serde_json::Map::new();
    let of = |row: &'_ Option<Json>| {
        row.as_ref().and_then(Json::as_object).cloned().unwrap_or_else(|| empty.clone())
    };
    let [before, after, local] = rows.map(of);
    let mut names: Vec<&String> = Vec::new();
    for name in before.keys().chain(after.keys()).chain(local.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let cell = |row: &serde_json::Map<String, Json>, name: &str| {
        row.get(name).map_or(String::new(), |v| short(&v.to_string()))
    };
    let mut text = four(&["COLUMN", "INCOMING BEFORE", "INCOMING AFTER", "TARGET'S ROW"].map(String::from));
    for name in names {
        text += &four(&[name.clone(), cell(&before, name), cell(&after, name), cell(&local, name)]);
    }
    let absent: Vec<&str> = rows
        .iter()
        .zip(["before", "after", "in the target"])
        .filter_map(|(row, name)| row.is_none().then_some(name))
        .collect();
    if !absent.is_empty() {
        let _ = writeln!(text, "no row: {}", absent.join(", "));
    }
    text
}

fn four(cells: &[String; 4]) -> String {
    let padded = cells.iter().zip([20, 30, 30, 0]).map(|(cell, width)| format!("{:width$}", printable(cell)));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
}

fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.into();
    }
    format!("{}…", text.chars().take(LONGEST).collect::<String>())
}

/// Nothing that a terminal would obey: values are other people's.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}
