//! Prometheus's text format: help, type and samples of one metric after the other, each with the labels of its process.

use std::collections::BTreeMap;
use std::fmt::Write;

use measure::Histogram;

/// Whether a number only grows.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// Text under way.
pub(super) struct Page {
    pub(super) text: String,
    /// `sync="…",link="…"`
    pub(super) labels: String,
}

impl Page {
    pub(super) fn head(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, more: &str, value: f64) {
        let comma = if more.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{more}}} {value}", self.labels);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, Kind::Gauge);
        self.sample(name, "", value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, Kind::Counter);
        self.sample(name, "", number(value));
    }

    /// Several samples of one metric, each with further labels; nothing when there are none.
    pub(super) fn each(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(name, help, kind);
        }
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, Kind::Histogram);
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.sample(&bucket, &format!("le=\"{bound}\""), number(count));
        }
        self.sample(&bucket, "le=\"+Inf\"", number(histogram.count()));
        self.sample(&format!("{name}_sum"), "", histogram.sum());
        self.sample(&format!("{name}_count"), "", number(histogram.count()));
    }

    pub(super) fn states(&mut self, name: &str, help: &str, known: &[&str], now: &str) {
        self.head(name, help, Kind::Gauge);
        let now = if known.contains(&now) { now } else { "other" };
        for state in known {
            self.sample(name, &format!("state=\"{state}\""), f64::from(u8::from(*state == now)));
        }
    }
}

/// Several processes' pages as one: the samples of a metric stand together, under one HELP and TYPE, as the format asks.
/// Each sample keeps its labels, which say whose it is.
pub(super) fn merged(pages: &[String]) -> String {
    let mut metrics: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for page in pages {
        let mut name = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                name = rest.split(' ').next().unwrap_or_default();
            }
            let (head, samples) = metrics.entry(name).or_default();
            if !line.starts_with('#') {
                *samples += line;
                samples.push('\n');
            } else if head.lines().count() < 2 {
                *head += line;
                head.push('\n');
            }
        }
    }
    metrics.into_values().map(|(head, samples)| head + &samples).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

/// A text inside a label's quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{Kind, Page, merged};

    #[test]
    fn pages_of_several_processes_become_one_with_each_metric_once() {
        let page = |labels: &str, lag: f64| {
            let mut page = Page { text: String::new(), labels: labels.into() };
            page.gauge("lag", "How far.", lag);
            page.each(
                "rows",
                "How many.",
                Kind::Gauge,
                [("op=\"a\"".to_owned(), 1.0), ("op=\"b\"".to_owned(), 2.0)],
            );
            page.text
        };
        assert_eq!(
            merged(&[page("link=\"x\"", 1.0), page("link=\"y\"", 2.0)]),
            "# HELP lag How far.\n# TYPE lag gauge\nlag{link=\"x\"} 1\nlag{link=\"y\"} 2\n\
             # HELP rows How many.\n# TYPE rows gauge\nrows{link=\"x\",op=\"a\"} 1\nrows{link=\"x\",op=\"b\"} 2\n\
             rows{link=\"y\",op=\"a\"} 1\nrows{link=\"y\",op=\"b\"} 2\n"
        );
    }
}
