//! What two revisions said, held against each other: the lines of `--json` kind that `bench/compare` gathers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

#[derive(Args)]
pub(crate) struct Options {
    /// One JSON object a line, of the first revision.
    first: PathBuf,
    /// And of the second.
    second: PathBuf,
}

/// Every figure that was told, by its name: once a round, or more often.
type Figures = BTreeMap<String, Vec<f64>>;

pub(crate) fn run(options: &Options) -> Result<()> {
    let (first, second) = (read(&options.first)?, read(&options.second)?);
    println!("{:64} {:>14} {:>14} {:>8}", "figure", "first", "second", "times");
    for (name, values) in &first {
        let Some(others) = second.get(name) else { continue };
        let (a, b) = (median(values), median(others));
        println!("{name:64} {a:14.2} {b:14.2} {:8.3}", b / a);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Figures> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut figures = Figures::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line)?;
        let name = value.get("bench").and_then(Value::as_str).unwrap_or("?").to_owned();
        gather(&name, &value, &mut figures);
    }
    Ok(figures)
}

/// Numbers under the names of the keys that lead to them; those of a list are rounds of one figure.
fn gather(name: &str, value: &Value, figures: &mut Figures) {
    match value {
        Value::Number(number) => figures.entry(name.into()).or_default().extend(number.as_f64()),
        Value::Array(list) => list.iter().for_each(|value| gather(name, value, figures)),
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| gather(&format!("{name} {key}"), value, figures))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
