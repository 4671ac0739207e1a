//! What is told: a line for people, or an object for programs.

use anyhow::Result;
use serde_json::{Value, json};

/// Where results go.
pub(super) struct Report {
    pub(super) json: bool,
}

impl Report {
    /// What goes on; never a result.
    pub(super) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A result.
    pub(super) fn result(&self, text: &str, value: &Value) {
        if self.json { println!("{value}") } else { println!("{text}") }
    }

    /// What it was measured on.
    pub(super) fn machine(&self) -> Result<()> {
        let cores = std::thread::available_parallelism()?.get();
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let kib = memory.split_whitespace().nth(1).unwrap_or("0").parse::<u64>()?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let load = load.split_whitespace().next().unwrap_or("?").to_owned();
        self.result(
            &format!("{cores} cores, {} GiB of memory, load {load} before", kib >> 20),
            &json!({ "bench": "machine", "cores": cores, "memory_gib": kib >> 20, "load_before": load }),
        );
        Ok(())
    }
}

/// The middle one.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Of sorted values.
pub(super) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(0)
}

/// Megabytes a second.
pub(super) fn rate(bytes: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let bytes = bytes as f64;
    bytes / 1e6 / seconds
}

/// To two digits, for JSON.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
