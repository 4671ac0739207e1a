//! Pairs of measurements, and what to say of them.

use serde::Serialize;

/// One side-by-side run: how long the peer took, and how long Twinlog did; seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) peer: f64,
    pub(crate) twinlog: f64,
}

impl Pair {
    /// How many times faster Twinlog was.
    pub(crate) fn ratio(&self) -> f64 {
        self.peer / self.twinlog
    }
}

/// Prints a line for a pair as it comes.
pub(crate) fn show(name: &str, pair: &Pair) {
    println!(
        "{name:28} peer {:8.2} s   twinlog {:8.2} s   {:5.2} times",
        pair.peer,
        pair.twinlog,
        pair.ratio()
    );
}

/// Prints the median, and all of it as JSON.
pub(crate) fn report(name: &str, pairs: &[Pair]) -> anyhow::Result<()> {
    let mut ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(0.0);
    println!("{name:28} median of {} pairs: {median:.2} times", pairs.len());
    println!("{}", serde_json::json!({ "bench": name, "median_ratio": median, "pairs": pairs }));
    Ok(())
}
