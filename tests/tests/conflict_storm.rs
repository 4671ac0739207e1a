//! Regions that collide on purpose, all the time: whatever is killed or cut, both end equal, and every write that does
//! not stand at the end is accounted for.
//!
//! `TWINLOG_STORM_SECONDS` makes it longer: 25 seconds for each pair of policies when it is not set.

mod oracle;

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, seed};
use oracle::{Write, Writer, explain};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(60);
/// Few enough rows that both sides change the same ones.
const ROWS: u32 = 12;

fn duration() -> Duration {
    let seconds = std::env::var("TWINLOG_STORM_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(25))
}

async fn pair(eu_us: &str, us_eu: &str) -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", &format!("on_conflict = \"{eu_us}\""));
        file.add_to_link("us-eu", &format!("on_conflict = \"{us_eu}\""));
    });
    // Rows collide by their primary key and by their unique key, which goes with it.
    let table = "CREATE TABLE shop.hot (id INT PRIMARY KEY, code VARCHAR(20) COLLATE utf8mb4_0900_ai_ci NOT NULL, \
         n BIGINT, UNIQUE KEY code (code))";
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", table]).await;
    }
    pair.start().await;
    pair
}

/// Inserts, updates and deletes on the same few rows, one to three a transaction, until the time is over; what was
/// committed.
async fn write(region: &Region, seed: u64, until: Instant) -> Vec<Write> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut writer = Writer::open(region).await;
    let mut committed = Vec::new();
    while Instant::now() < until {
        committed.extend(writer.transaction(&mut rng, ROWS).await);
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..12))).await;
    }
    committed
}

/// Writers on both sides while processes are killed and links are cut; then both regions must become equal.
async fn storm(pair: Pair, overwrites: Option<&str>) {
    let seed = seed();
    let end = Instant::now() + duration();
    let mut rng = StdRng::seed_from_u64(seed);
    let writers = async {
        tokio::join!(
            write(&pair.eu, seed ^ 1, end),
            write(&pair.us, seed ^ 2, end),
            write(&pair.us, seed ^ 3, end)
        )
    };
    let troubles = async {
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(rng.random_range(500..3000))).await;
            let link = ["eu-us", "us-eu"][rng.random_range(0..2)];
            match rng.random_range(0..3) {
                0 => {
                    let process = Process::ALL[rng.random_range(0..Process::ALL.len())];
                    pair.kill9(process);
                    pair.start_one(process);
                }
                1 => {
                    pair.link(link).cut();
                    tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
                    pair.link(link).mend();
                }
                _ => {
                    pair.link(link).hold();
                    tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
                    pair.link(link).release();
                }
            }
        }
    };
    let ((eu, us, us_too), ()) = tokio::join!(writers, troubles);
    pair.wait_in_step(SOON).await;
    let (mut conflicts, mut undecided) = (0, 0);
    for region in [&pair.eu, &pair.us] {
        let query =
            "SELECT CONCAT_WS(' ', kind, winner, COUNT(*)) FROM twinlog.conflict GROUP BY kind, winner";
        println!("{}: {:?}", region.name(), region.rows::<String>(query).await);
        conflicts += region.row::<u64>("SELECT COUNT(*) FROM twinlog.conflict").await;
        undecided += region.row::<u64>("SELECT COUNT(*) FROM twinlog.conflict WHERE winner = 'nobody'").await;
    }
    let written = [eu, [us, us_too].concat()];
    println!("rows written {} and {}, conflicts recorded {conflicts}", written[0].len(), written[1].len());
    assert!(conflicts > 0, "nothing collided");
    assert_eq!(undecided, 0);
    let [stand, seen, lost] = explain(&pair, written, ROWS, overwrites).await;
    println!("of the last writes {stand} stand, {seen} were seen by the winner, {lost} have lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_that_collide_all_the_time_end_equal_when_the_later_change_wins() {
    storm(pair("newest", "newest").await, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_that_collide_all_the_time_end_equal_when_one_side_overwrites_and_the_other_ignores() {
    storm(pair("overwrite", "ignore").await, Some("eu")).await;
}
