//! The look at everything, once a second: asks every process, notes the hour, shows the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::history::{LOOKS, Point};
use super::hub::Hub;
use super::rates::{Counted, Moments};
use super::{snapshot, verify};
use crate::admin::unix_time;
use crate::command::answers;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches until `end`. Whoever does not answer holds up a look for as long as the admin client waits.
pub(super) async fn run(hub: Arc<Hub>, end: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moments: BTreeMap<String, Moments> = BTreeMap::new();
    // The largest lag of each link since the last point.
    let mut lags: BTreeMap<String, Option<f64>> = BTreeMap::new();
    for look in 0_usize.. {
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let file = hub.file();
        let (answers, verify) = tokio::select! {
            biased;
            () = end.cancelled() => return,
            told = async { tokio::join!(answers(&file), verify::look(&file)) } => told,
        };
        let at = unix_time();
        for link in file.links.values() {
            let (counted, lag) = snapshot::counted(&file, link, &answers, at);
            moments.entry(link.name.clone()).or_default().add(counted);
            let most = lags.entry(link.name.clone()).or_default();
            *most = most.iter().copied().chain(lag).reduce(f64::max);
        }
        for region in file.regions.keys() {
            let counted = snapshot::counted_by_relay(region, &answers, at);
            moments.entry(snapshot::relay_key(region)).or_default().add(counted);
        }
        hub.show(snapshot::take(&file, (&answers, &verify), &moments, at));
        if look % LOOKS == LOOKS - 1 {
            let links = moments.iter().filter(|(name, _)| file.links.contains_key(*name));
            hub.note(links.map(|(link, m)| point(link, m, at, lags.remove(link).flatten())).collect());
        }
    }
}

fn point(link: &str, moments: &Moments, at: f64, lag: Option<f64>) -> Point {
    let rate = |of: fn(&Counted) -> Option<u64>| moments.rate(of);
    Point {
        link: link.to_owned(),
        at,
        lag,
        transactions: rate(|c| c.transactions),
        rows: rate(|c| c.rows),
        bytes: rate(|c| c.bytes),
        echo: rate(|c| c.echo),
        conflicts: rate(|c| c.conflicts).map(|a_second| a_second * 60.0),
    }
}
