//! The conflict window: the keys that were written in the target by transactions the source's region may not have
//! seen.
//!
//! It follows the target's own log. A key stays until the link's checkpoint covers a transaction that had seen its
//! writer. Of each region only the last writer of a key is kept: a region's transactions are seen in order, and their
//! hybrid times rise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use binlog::GtidSet;

use super::key::{Exact, Key};
use super::rules::Effective;
use super::seen::Seen;

/// A transaction that wrote in the target.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Its GTIDs, in its own region's numbering: one, or those of a group that was applied here.
    pub(crate) gtids: GtidSet,
    /// Where it was first committed, and its hybrid time.
    pub(crate) effective: Effective,
}

/// A key's writer, as far as it is known to be that key's.
#[derive(Clone, Debug)]
pub(crate) struct Unseen {
    pub(crate) writer: Arc<Writer>,
    /// The key that was written is another text that folds alike; whether it is the same key the server must tell.
    /// `None` when it is the same.
    pub(crate) in_question: Option<Exact>,
}

#[derive(Debug)]
struct Entry {
    bucket: u64,
    writer: Arc<Writer>,
    exact: Exact,
}

/// What a writer left behind, for the day it is seen.
#[derive(Debug)]
struct Written {
    writer: Arc<Writer>,
    folded: Vec<u128>,
    any: Vec<u64>,
    buckets: Vec<u64>,
    /// What was read from it on, up to the next.
    read: Done,
}

/// A part of the target's log that the window is done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) gtids: GtidSet,
    /// The target's hybrid clock at its end.
    pub(crate) clock: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Every transaction of the target's log up to here is in it, or of no concern.
    followed: GtidSet,
    /// The part of it that holds nothing a restart would need: all before the first writer that is kept.
    done: Done,
    by_key: HashMap<u128, Vec<Entry>>,
    /// The texts among them, by index: what can't be folded may equal each.
    texts: HashMap<u64, HashSet<u128>>,
    /// Keys that can't be folded, by index.
    any: HashMap<u64, Vec<Entry>>,
    /// How many keys of each index are held.
    buckets: HashMap<u64, usize>,
    written: VecDeque<Written>,
    keys: usize,
}

impl Window {
    /// A window that begins behind these transactions of the target.
    pub(crate) fn behind(followed: GtidSet, clock: u64) -> Self {
        let done = Done { gtids: followed.clone(), clock };
        Self { followed, done, ..Self::default() }
    }

    /// These transactions of the target's log are read, and its hybrid clock is at `clock` with them.
    pub(crate) fn follow(&mut self, gtids: &GtidSet, clock: u64) {
        self.followed.union_with(gtids);
        let read = self.written.back_mut().map_or(&mut self.done, |last| &mut last.read);
        read.gtids.union_with(gtids);
        read.clock = clock;
    }

    /// What a reader that begins anew may leave out.
    pub(crate) fn done(&self) -> &Done {
        &self.done
    }

    /// What of the target's log was read.
    pub(crate) fn followed(&self) -> &GtidSet {
        &self.followed
    }

    /// Is all of this read?
    pub(crate) fn covers(&self, gtids: &GtidSet) -> bool {
        self.followed.contains_all(gtids)
    }

    /// How many keys it holds.
    pub(crate) fn len(&self) -> usize {
        self.keys
    }

    /// Holds it no key?
    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Could a key of this index be in it?
    pub(crate) fn has_any_of(&self, bucket: u64) -> bool {
        self.buckets.contains_key(&bucket)
    }

    /// A transaction of the target's log wrote these keys.
    pub(crate) fn write(&mut self, writer: Writer, keys: Vec<Key>) {
        let writer = Arc::new(writer);
        let mut written = Written {
            writer: writer.clone(),
            folded: Vec::new(),
            any: Vec::new(),
            buckets: Vec::new(),
            read: Done::default(),
        };
        for key in keys {
            let entries = if key.any {
                written.any.push(key.bucket);
                self.any.entry(key.bucket).or_default()
            } else {
                written.folded.push(key.folded);
                if !key.exact.is_empty() {
                    self.texts.entry(key.bucket).or_default().insert(key.folded);
                }
                self.by_key.entry(key.folded).or_default()
            };
            written.buckets.push(key.bucket);
            *self.buckets.entry(key.bucket).or_default() += 1;
            self.keys += 1;
            let same =
                |e: &&mut Entry| e.writer.effective.region == writer.effective.region && e.exact == key.exact;
            match entries.iter_mut().find(same) {
                Some(entry) => entry.writer = writer.clone(),
                None => entries.push(Entry { bucket: key.bucket, writer: writer.clone(), exact: key.exact }),
            }
        }
        if !written.buckets.is_empty() {
            self.written.push_back(written);
        }
    }

    /// Who wrote this key, of those not in `seen`.
    pub(crate) fn unseen(&self, key: &Key, seen: &Seen) -> Vec<Unseen> {
        if !self.has_any_of(key.bucket) {
            return Vec::new();
        }
        let alike = if key.any { None } else { self.by_key.get(&key.folded) };
        let texts = key.any.then(|| self.texts.get(&key.bucket)).flatten().into_iter().flatten();
        let whole_index = texts.filter_map(|folded| self.by_key.get(folded));
        let candidates = alike.into_iter().chain(whole_index).chain(self.any.get(&key.bucket)).flatten();
        candidates
            .filter(|entry| entry.bucket == key.bucket)
            .filter(|entry| !seen.has(&entry.writer.effective.region, &entry.writer.gtids))
            .map(|entry| Unseen {
                writer: entry.writer.clone(),
                in_question: (entry.exact != key.exact).then(|| entry.exact.clone()),
            })
            .collect()
    }

    /// Lets go of what every transaction still to come has seen.
    pub(crate) fn prune(&mut self, seen: &Seen) {
        while let Some(first) = self.written.front() {
            if !seen.has(&first.writer.effective.region, &first.writer.gtids) {
                return;
            }
            if let Some(written) = self.written.pop_front() {
                self.done.gtids.union_with(&written.read.gtids);
                self.done.clock = self.done.clock.max(written.read.clock);
                self.forget(&written);
            }
        }
    }

    fn forget(&mut self, written: &Written) {
        let gone = |entry: &Entry| Arc::ptr_eq(&entry.writer, &written.writer);
        for folded in &written.folded {
            remove(&mut self.by_key, folded, gone);
            if !self.by_key.contains_key(folded) {
                written.buckets.iter().for_each(|bucket| self.forget_text(*bucket, *folded));
            }
        }
        for bucket in &written.any {
            remove(&mut self.any, bucket, gone);
        }
        for bucket in &written.buckets {
            if let Some(count) = self.buckets.get_mut(bucket) {
                *count -= 1;
                if *count == 0 {
                    self.buckets.remove(bucket);
                }
            }
        }
        self.keys -= written.buckets.len();
    }
}

impl Window {
    fn forget_text(&mut self, bucket: u64, folded: u128) {
        if let Some(texts) = self.texts.get_mut(&bucket) {
            texts.remove(&folded);
            if texts.is_empty() {
                self.texts.remove(&bucket);
            }
        }
    }
}

fn remove<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<Entry>>, key: &K, gone: impl Fn(&Entry) -> bool) {
    if let Some(entries) = map.get_mut(key) {
        entries.retain(|entry| !gone(entry));
        if entries.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Window, Writer};
    use crate::conflict::key::tests::key;
    use crate::conflict::key::{ExactPart, Key};
    use crate::conflict::rules::Effective;
    use crate::conflict::seen::Seen;

    fn writer(number: u64) -> Writer {
        let gtids = [binlog::Gtid::new(Uuid::from_u128(2), number)].into_iter().collect();
        Writer { gtids, effective: Effective { time: number, region: "us".into() } }
    }

    fn seen(up_to: u64) -> Seen {
        let mut seen = Seen::default();
        let numbers = (1..=up_to).map(|n| binlog::Gtid::new(Uuid::from_u128(2), n));
        seen.add("us", &numbers.collect(), 0);
        seen
    }

    #[test]
    fn only_the_last_writer_of_a_key_counts_and_only_while_it_is_unseen() {
        let mut window = Window::default();
        window.write(writer(1), vec![key("t", "a"), key("t", "b")]);
        window.write(writer(2), vec![key("t", "a")]);
        let times = |window: &Window, name: &str, up_to| {
            let unseen = window.unseen(&key("t", name), &seen(up_to));
            unseen.iter().map(|u| u.writer.effective.time).collect::<Vec<_>>()
        };
        assert_eq!(times(&window, "a", 1), [2]);
        assert_eq!(times(&window, "a", 2), [0u64; 0]);
        assert_eq!(times(&window, "b", 1), [0u64; 0]);
        assert_eq!(window.unseen(&key("t", "b"), &Seen::default()).len(), 1);
        assert!(window.unseen(&key("other", "a"), &Seen::default()).is_empty());
        window.prune(&seen(1));
        assert_eq!((times(&window, "a", 0), times(&window, "b", 0)), (vec![2], vec![]));
        window.prune(&seen(2));
        assert!(window.is_empty() && window.by_key.is_empty() && window.buckets.is_empty());
    }

    #[test]
    fn a_restart_needs_the_log_from_the_first_writer_that_may_be_unseen() {
        let gtids = |number| writer(number).gtids;
        let mut window = Window::behind(gtids(1), 1);
        window.follow(&gtids(2), 2);
        window.write(writer(3), vec![key("t", "a")]);
        window.follow(&gtids(3), 3);
        window.follow(&gtids(4), 4);
        let up_to = |window: &Window| (window.done().gtids.count(), window.done().clock);
        assert_eq!(up_to(&window), (2, 2));
        assert!(window.covers(&gtids(4)));
        window.prune(&seen(3));
        assert_eq!(up_to(&window), (4, 4));
    }

    #[test]
    fn a_key_that_can_not_be_folded_is_in_question_with_every_other_of_its_index() {
        let mut window = Window::default();
        let exact = |value: &str| vec![ExactPart { bytes: value.into(), collation: Some(255) }];
        let any = |value: &str| Key { any: true, exact: exact(value), ..key("t", "") };
        let text = |table: &str, value: &str| Key { exact: exact(value), ..key(table, value) };
        window.write(writer(1), vec![text("t", "a"), text("other", "a")]);
        window.write(writer(2), vec![any("é")]);
        let questions = |value: &Key| {
            let mut found: Vec<_> = window.unseen(value, &Seen::default());
            found.sort_by_key(|u| u.writer.effective.time);
            found.iter().map(|u| (u.writer.effective.time, u.in_question.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(questions(&text("t", "a")), [(1, false), (2, true)]);
        assert_eq!(questions(&any("é")), [(1, true), (2, false)]);
        assert_eq!(questions(&text("other", "b")), []);
        window.prune(&seen(2));
        assert!(window.texts.is_empty() && window.any.is_empty(), "{window:?}");
    }
}
