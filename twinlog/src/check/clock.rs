//! How far two servers' clocks are apart, as well as it can be told from here.
//!
//! ```text
//!  here   ──q────────────────a──▶      the server's time was taken somewhere between question and answer:
//!  server ───────t───────────────▶     its clock is t - (q + a) / 2, give or take (a - q) / 2
//! ```
//! Both are measured against the same steady clock here, which drops out of the difference. Of several tries the
//! one with the shortest way counts.

use std::time::{Duration, Instant};

use wire::Connection;

use super::report::{About, Finding};

/// Tries; the best one counts.
const TRIES: usize = 7;
/// Clocks further apart are worth a word: within less, NTP keeps them.
const APART: Duration = Duration::from_millis(100);

/// A server's clock against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Its time minus the steady clock here, in microseconds.
    offset: i64,
    /// Give or take, in microseconds.
    uncertainty: i64,
}

/// Measures a server's clock; also the shortest time from question to answer.
pub(crate) async fn measure(
    connection: &mut Connection,
    steady: Instant,
) -> Result<(Option<Clock>, Duration), wire::Error> {
    connection.execute("SET time_zone = '+00:00'").await?;
    let mut best: Option<(Clock, Duration)> = None;
    for _ in 0..TRIES {
        let asked = steady.elapsed();
        let text = connection.query_rows("SELECT UNIX_TIMESTAMP(NOW(6))").await?.single_text()?;
        let trip = steady.elapsed().saturating_sub(asked);
        let Some(theirs) = micros(&text) else { continue };
        let middle = as_micros(asked + trip / 2);
        let clock = Clock { offset: theirs - middle, uncertainty: as_micros(trip / 2) };
        if best.is_none_or(|(_, shortest)| trip < shortest) {
            best = Some((clock, trip));
        }
    }
    let trip = best.map(|(_, trip)| trip).unwrap_or_default();
    Ok((best.map(|(clock, _)| clock), trip))
}

/// `1795254865.014526` as microseconds.
fn micros(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<6}");
    let micros: i64 = fraction.get(..6)?.parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Two regions' clocks; `newest` when a conflict between them is decided by time.
pub(crate) fn compare(about: &About, here: Option<Clock>, there: Option<Clock>, newest: bool) -> Finding {
    const ITEM: &str = "clock_skew";
    let (Some(here), Some(there)) = (here, there) else {
        return about.skipped(ITEM, "needs both servers' clocks");
    };
    let apart = there.offset - here.offset;
    let uncertainty = here.uncertainty + there.uncertainty;
    let found = format!(
        "{:.1} ms apart, give or take {:.1} ms",
        milliseconds(apart.abs()),
        milliseconds(uncertainty)
    );
    let wanted = format!("within {} ms", APART.as_millis());
    if apart.abs() - uncertainty <= as_micros(APART) {
        return about.pass(ITEM, found).wanted(wanted);
    }
    let why = if newest {
        "on_conflict = \"newest\" decides by these clocks: the region that is ahead wins too often"
    } else {
        "lag, commit times and \"newest\" are told by these clocks"
    };
    about.warn(ITEM, found).wanted(wanted).why(why).advice("let NTP or chrony keep both hosts' clocks")
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Clock, compare, micros};
    use crate::check::report::{About, Outcome};

    fn clock(offset: i64, uncertainty: i64) -> Option<Clock> {
        Some(Clock { offset, uncertainty })
    }

    #[test]
    fn a_time_with_any_number_of_digits_is_read() {
        assert_eq!(micros("1795254865.014526"), Some(1_795_254_865_014_526));
        assert_eq!(micros("7.5"), Some(7_500_000));
        assert_eq!(micros("7"), Some(7_000_000));
        assert_eq!(micros("soon"), None);
    }

    #[test]
    fn clocks_are_apart_only_beyond_what_the_measurement_leaves_open() {
        let pair = About::pair("eu", "us");
        let status = |here, there| compare(&pair, here, there, true).status;
        assert_eq!(status(clock(0, 500), clock(90_000, 500)), Outcome::Pass);
        assert_eq!(status(clock(0, 500), clock(120_000, 500)), Outcome::Warn);
        assert_eq!(status(clock(120_000, 500), clock(0, 500)), Outcome::Warn, "either may be ahead");
        assert_eq!(status(clock(0, 30_000), clock(120_000, 30_000)), Outcome::Pass);
        assert_eq!(status(clock(0, 0), None), Outcome::Skipped);
    }

    #[test]
    fn the_measurements_own_uncertainty_is_said() {
        let finding = compare(&About::pair("eu", "us"), clock(1_000, 250), clock(251_000, 250), false);
        assert_eq!(finding.found, "250.0 ms apart, give or take 0.5 ms");
        assert!(finding.why.is_some() && !finding.fix.is_empty());
    }
}
