//! `verify = { … }` of a link: the options of `twinlog verify`, under the same names and with the same defaults.

use std::time::Duration;

use applier::TablePatterns;
use applier::verify::Limits;

use super::file::Verify;
use super::reader::Section;
use super::value;

/// Rounds may follow each other so closely, and no closer.
const LEAST_EVERY: Duration = Duration::from_secs(1);

/// Reads it, where a link has it.
pub(super) fn read(link: &Section<'_>) -> Option<Verify> {
    let section = link.section("verify")?;
    let every = section.required("every", value::duration).unwrap_or(LEAST_EVERY);
    if every < LEAST_EVERY {
        section.fault("every", "must be 1s at least");
    }
    let only = section.strings("table").and_then(|mut patterns| {
        // As on the command line: exclusions alone are taken from everything.
        if patterns.iter().all(|pattern| pattern.starts_with('!')) {
            patterns.insert(0, "*.*".into());
        }
        TablePatterns::parse(&patterns).map_err(|error| section.fault("table", error.to_string())).ok()
    });
    let defaults = Limits::default();
    let duration =
        |key: &'static str, default: Duration| section.parsed(key, value::duration).unwrap_or(default);
    let load = section.integer("max_load", 0, u64::from(u32::MAX)).unwrap_or(25);
    let lag = duration("max_lag", Duration::from_secs(30));
    let number = |key: &'static str, high: u64, default: usize| {
        section.integer(key, 1, high).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let limits = Limits {
        chunk_time: duration("chunk_time", defaults.chunk_time).max(Duration::from_millis(1)),
        sessions: number("sessions", 64, defaults.sessions),
        max_rows_per_second: section.integer("max_rows_per_second", 1, u64::MAX),
        max_load: u32::try_from(load).ok().filter(|load| *load > 0),
        max_lag: Some(lag).filter(|lag| !lag.is_zero()),
        wait: duration("wait", defaults.wait),
        max_named: number("max_named", u64::from(u32::MAX), defaults.max_named),
        max_unkeyed_rows: section
            .integer("max_unkeyed_rows", 0, u64::MAX)
            .unwrap_or(defaults.max_unkeyed_rows),
        ..defaults
    };
    section.finish();
    Some(Verify { every, only, limits })
}
