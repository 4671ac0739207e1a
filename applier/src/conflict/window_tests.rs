use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::{Limits, Window, Writer};
use crate::conflict::key::Key;
use crate::conflict::key::tests::key;
use crate::conflict::rules::Effective;
use crate::conflict::seen::Seen;
use crate::ddl::Alteration;

/// Blocks of a few keys, most of them in files.
const TINY: Limits = Limits { open: 3, block: 12, memory: 100, filters: 20 };

fn gtids(region: u128, numbers: impl Iterator<Item = u64>) -> binlog::GtidSet {
    numbers.map(|number| binlog::Gtid::new(Uuid::from_u128(region), number)).collect()
}

fn writer(number: u64) -> Writer {
    let effective = Effective { time: number, region: "us".into() };
    Writer { gtids: gtids(2, number..=number), effective }
}

fn seen(up_to: u64) -> Seen {
    let mut seen = Seen::default();
    seen.add("us", &gtids(2, 1..=up_to), 0);
    seen
}

fn window(limits: Limits) -> Window {
    Window::behind(binlog::GtidSet::new(), 0, limits, std::env::temp_dir())
}

#[test]
fn only_the_last_writer_of_a_key_counts_and_only_while_it_is_unseen() {
    let mut window = window(Limits::default());
    window.write(&writer(1), &[key("t", "a"), key("t", "b")]);
    window.write(&writer(2), &[key("t", "a")]);
    let times = |window: &Window, name: &str, up_to| {
        let unseen = window.unseen(&key("t", name), &seen(up_to)).unwrap();
        unseen.iter().map(|writer| writer.effective.time).collect::<Vec<_>>()
    };
    assert_eq!(times(&window, "a", 1), [2]);
    assert_eq!(times(&window, "a", 2), [0u64; 0]);
    assert_eq!(times(&window, "b", 1), [0u64; 0]);
    assert_eq!(window.unseen(&key("t", "b"), &Seen::default()).unwrap(), [writer(1)]);
    assert!(window.unseen(&key("other", "a"), &Seen::default()).unwrap().is_empty());
    window.prune(&seen(1));
    assert_eq!(times(&window, "a", 1), [2]);
    window.prune(&seen(2));
    assert!(window.is_empty() && !window.has_any_of(key("t", "a").bucket));
}

#[test]
fn a_restart_needs_the_log_from_the_first_writer_that_may_be_unseen() {
    let gtids = |number| writer(number).gtids;
    let mut window = Window::behind(gtids(1), 1, Limits::default(), std::env::temp_dir());
    window.follow(&gtids(2), 2);
    window.write(&writer(3), &[key("t", "a")]);
    window.follow(&gtids(3), 3);
    window.follow(&gtids(4), 4);
    let up_to = |window: &Window| (window.done().gtids.count(), window.done().clock);
    assert_eq!(up_to(&window), (2, 2));
    assert!(window.covers(&gtids(4)));
    window.prune(&seen(3));
    assert_eq!(up_to(&window), (4, 4));
}

/// What a window must tell, remembered without any art.
#[derive(Default)]
struct Plain(Vec<(Key, Writer)>);

impl Plain {
    /// Of each region the last unseen writer of a key.
    fn unseen(&self, key: &Key, seen: &Seen) -> Vec<Effective> {
        let mut last: Vec<Effective> = Vec::new();
        for (_, writer) in self.0.iter().filter(|(k, _)| k == key) {
            if !seen.has(&writer.effective.region, &writer.gtids) {
                last.retain(|other| other.region != writer.effective.region);
                last.push(writer.effective.clone());
            }
        }
        last.sort();
        last
    }
}

#[test]
fn blocks_merged_and_put_into_files_tell_what_a_plain_list_tells() {
    let seed = std::env::var("CONFLICT_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(rand::random);
    println!("CONFLICT_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for limits in [TINY, Limits { memory: 100_000, ..TINY }, Limits { open: 40, ..TINY }, Limits::default()] {
        let (mut window, mut plain, mut all_seen) = (window(limits), Plain::default(), Seen::default());
        let mut next = [1u64, 1];
        for step in 0..600u64 {
            let region = rng.random_range(0..2usize);
            let (name, id) = [("us", 2), ("ap", 3)][region];
            let last = next[region] + u64::from(rng.random_bool(0.3)) * rng.random_range(1..4);
            let gtids = gtids(id, next[region]..=last);
            next[region] = last + 1;
            let effective = Effective { time: step, region: name.into() };
            let writer = Writer { gtids, effective };
            let keys: Vec<Key> = (0..rng.random_range(1..6))
                .map(|_| key(["t", "u"][rng.random_range(0..2)], &rng.random_range(0..30).to_string()))
                .collect();
            window.write(&writer, &keys);
            window.follow(&writer.gtids, step);
            plain.0.extend(keys.into_iter().map(|key| (key, writer.clone())));
            // What an incoming transaction has seen: more than all before it.
            let (us, ap) = (rng.random_range(0..=next[0]), rng.random_range(0..=next[1]));
            if rng.random_bool(0.05) {
                all_seen.add("us", &self::gtids(2, 1..=us), 0);
                all_seen.add("ap", &self::gtids(3, 1..=ap), 0);
                window.prune(&all_seen);
            }
            let mut seen = all_seen.clone();
            seen.add("us", &self::gtids(2, 1..=rng.random_range(0..=next[0])), 0);
            for _ in 0..5 {
                let key = key("t", &rng.random_range(0..40).to_string());
                let mut told: Vec<Effective> = Vec::new();
                for found in window.unseen(&key, &seen).unwrap() {
                    // Of each region the last counts: it is the greatest.
                    told.retain(|other| other.region != found.effective.region || *other > found.effective);
                    if !told.iter().any(|other| other.region == found.effective.region) {
                        told.push(found.effective);
                    }
                }
                told.sort();
                assert_eq!(told, plain.unseen(&key, &seen), "step {step} {limits:?}");
            }
        }
        if limits.memory == TINY.memory && limits.open == TINY.open {
            assert!(window.size().in_files > 0, "nothing was put into files: {:?}", window.size());
        }
        all_seen.add("us", &gtids(2, 1..=next[0]), 0);
        all_seen.add("ap", &gtids(3, 1..=next[1]), 0);
        window.prune(&all_seen);
        assert!(window.is_empty() && window.buckets.is_empty(), "{:?}", window.size());
        assert_eq!(window.done().gtids, *window.followed());
    }
}

/// The numbers that `window.rs` promises.
#[test]
fn a_key_takes_few_bytes() {
    let fill = |limits: Limits, keys_each: u64| {
        let mut window = window(limits);
        for number in 0..200_000 / keys_each {
            let keys: Vec<Key> =
                (0..keys_each).map(|n| key("t", &(number * keys_each + n).to_string())).collect();
            window.write(&writer(number + 1), &keys);
            window.follow(&writer(number + 1).gtids, number);
        }
        let size = window.size();
        assert_eq!(size.keys, 200_000);
        // The open block is a few thousand keys at most, and not what is asked about.
        (size.bytes - window.open.len() * 80) * 10 / (size.keys - window.open.len())
    };
    assert!((390..=400).contains(&fill(Limits::default(), 1)), "one key a transaction");
    assert!((160..=165).contains(&fill(Limits::default(), 100)), "many keys a transaction");
    let in_files = fill(Limits { memory: 0, ..Limits::default() }, 1);
    assert!(in_files <= 14, "in files: {in_files} tenths of a byte");
}

#[test]
fn a_window_that_can_write_no_file_goes_on_in_memory() {
    let mut window =
        Window::behind(binlog::GtidSet::new(), 0, TINY, "/proc/nothing/can/be/written/here".into());
    for number in 1..100 {
        window.write(&writer(number), &[key("t", &number.to_string())]);
    }
    assert_eq!(window.size().in_files, 0);
    assert_eq!(window.unseen(&key("t", "5"), &Seen::default()).unwrap(), [writer(5)]);
}

#[test]
fn a_statement_that_altered_tables_is_kept_until_it_is_seen() {
    let alteration = |number: u64| Alteration {
        gtid: binlog::Gtid::new(Uuid::from_u128(2), number),
        statement: format!("TRUNCATE t{number}"),
        changes: Vec::new(),
    };
    let unseen = |window: &Window, up_to| {
        let all = window.alterations(&seen(up_to));
        all.iter().map(|a| a.statement.clone()).collect::<Vec<_>>()
    };
    let mut window = window(Limits::default());
    window.alter(writer(1), alteration(1));
    window.follow(&gtids(2, 1..=1), 1);
    window.write(&writer(2), &[key("t", "a")]);
    window.alter(writer(3), alteration(3));
    window.follow(&gtids(2, 2..=3), 3);
    assert_eq!(unseen(&window, 0), ["TRUNCATE t1", "TRUNCATE t3"]);
    assert_eq!(unseen(&window, 1), ["TRUNCATE t3"]);
    assert!(window.done().gtids.is_empty(), "a restart reads it again");
    window.prune(&seen(3));
    assert!(unseen(&window, 0).is_empty() && window.is_empty());
    assert_eq!(window.done().gtids, gtids(2, 1..=3));
}
