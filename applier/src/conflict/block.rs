//! A part of the conflict window: what a run of adjacent transactions of the target's log wrote.
//!
//! ```text
//! Open: a hash table ── sealed ──▶ Block: 16 bytes a key, sorted ── spilled ──▶ Block: the same in a file
//! ```
//! A block is let go of as a whole, once every transaction still to come has seen all of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use binlog::GtidSet;

use super::key::Key;
use super::spill::Run;
use super::window::Done;

/// A key that was written. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) hash: u64,
    pub(super) check: u32,
    /// Which of the block's writers.
    pub(super) writer: u32,
}

/// Who wrote it. 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// Its hybrid time.
    pub(super) time: u64,
    /// Its number in its sequence; of a group, which of the block's groups.
    pub(super) number: u64,
    /// Which of the window's sequences.
    pub(super) sequence: u32,
    /// Which of the window's regions.
    pub(super) region: u16,
    /// Is it a group of several transactions?
    pub(super) is_group: bool,
}

/// What may be said of both kinds.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Whose transactions wrote these, by region.
    pub(super) writers: BTreeMap<u16, GtidSet>,
    /// The transactions of its groups.
    pub(super) groups: Vec<GtidSet>,
    /// The indexes of its keys.
    pub(super) buckets: HashSet<u64>,
    /// What was read of the log from its first writer on, up to the next block's.
    pub(super) read: Done,
}

/// The newest part.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) facts: Facts,
    authors: Vec<Author>,
    /// By key and region: the last writer.
    keys: HashMap<(u64, u32, u16), u32>,
}

/// A sealed part.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) facts: Facts,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    /// Sorted by key; of each key and region the last writer.
    InMemory {
        entries: Vec<Entry>,
        authors: Vec<Author>,
    },
    Spilled(Run),
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What it holds, in keys or writers, whatever are more.
    pub(super) fn len(&self) -> usize {
        self.keys.len().max(self.authors.len())
    }

    /// The next keys are written by this one. `number` of a group is set here.
    pub(super) fn begin(&mut self, mut author: Author, gtids: &GtidSet) {
        self.facts.writers.entry(author.region).or_default().union_with(gtids);
        if author.is_group {
            author.number = self.facts.groups.len() as u64;
            self.facts.groups.push(gtids.clone());
        }
        self.authors.push(author);
    }

    /// Writes a key.
    pub(super) fn put(&mut self, key: &Key) {
        let writer = self.authors.len().saturating_sub(1);
        let Some(author) = self.authors.get(writer) else { return };
        self.facts.buckets.insert(key.bucket);
        // A block is sealed long before it has so many writers.
        let writer = u32::try_from(writer).unwrap_or(u32::MAX);
        self.keys.insert((key.hash, key.check, author.region), writer);
    }

    /// Its writers of a key, one of each of these many regions at most.
    pub(super) fn find(&self, key: &Key, regions: u16) -> impl Iterator<Item = Author> {
        (0..regions).filter_map(|region| {
            let writer = self.keys.get(&(key.hash, key.check, region))?;
            self.authors.get(*writer as usize).copied()
        })
    }

    /// Sorts it.
    pub(super) fn seal(self) -> Block {
        let entry = |((hash, check, _), writer)| Entry { hash, check, writer };
        let mut entries: Vec<Entry> = self.keys.into_iter().map(entry).collect();
        entries.sort_unstable();
        Block { facts: self.facts, keys: Keys::compact(entries, &self.authors) }
    }
}

impl Keys {
    /// Leaves out writers whose keys were all written by others since.
    fn compact(mut entries: Vec<Entry>, authors: &[Author]) -> Self {
        let mut places = vec![u32::MAX; authors.len()];
        entries.iter().for_each(|entry| places[entry.writer as usize] = 0);
        let mut kept = Vec::with_capacity(places.iter().filter(|place| **place == 0).count());
        for (place, author) in places.iter_mut().zip(authors).filter(|(place, _)| **place == 0) {
            *place = u32::try_from(kept.len()).unwrap_or(u32::MAX);
            kept.push(*author);
        }
        entries.iter_mut().for_each(|entry| entry.writer = places[entry.writer as usize]);
        entries.shrink_to_fit();
        Self::InMemory { entries, authors: kept }
    }
}

impl Block {
    /// Keys that it holds, while they are in memory.
    pub(super) fn len_in_memory(&self) -> Option<usize> {
        match &self.keys {
            Keys::InMemory { entries, .. } => Some(entries.len()),
            Keys::Spilled(_) => None,
        }
    }

    /// All keys that it holds.
    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Keys::InMemory { entries, .. } => entries.len(),
            Keys::Spilled(run) => run.len(),
        }
    }

    /// Bytes of memory that its keys and their writers take.
    pub(super) fn bytes(&self) -> usize {
        match &self.keys {
            Keys::InMemory { entries, authors } => {
                entries.len() * size_of::<Entry>() + authors.len() * size_of::<Author>()
            }
            Keys::Spilled(run) => run.bytes(),
        }
    }

    /// Its writers of a key, one of each region at most.
    pub(super) fn find(&self, key: &Key) -> io::Result<Vec<Author>> {
        match &self.keys {
            Keys::Spilled(run) => run.find(key.hash, key.check),
            Keys::InMemory { entries, authors } => {
                let begin = entries.partition_point(|e| (e.hash, e.check) < (key.hash, key.check));
                let same = |e: &&Entry| (e.hash, e.check) == (key.hash, key.check);
                let found = entries[begin..].iter().take_while(same);
                Ok(found.filter_map(|e| authors.get(e.writer as usize).copied()).collect())
            }
        }
    }

    /// Puts its keys into a file of this folder. When that fails they stay where they are.
    pub(super) fn spill(&mut self, folder: &Path, filtered: bool) -> io::Result<()> {
        let Keys::InMemory { entries, authors } = &self.keys else { return Ok(()) };
        self.keys = Keys::Spilled(Run::write(folder, entries, authors, filtered)?);
        Ok(())
    }

    /// One block of two that follow each other; both in memory.
    pub(super) fn merge(older: Self, newer: Self) -> Self {
        let (mut facts, later) = (older.facts, newer.facts);
        let groups = facts.groups.len() as u64;
        facts.groups.extend(later.groups);
        facts.buckets.extend(later.buckets);
        facts.read.gtids.union_with(&later.read.gtids);
        facts.read.clock = facts.read.clock.max(later.read.clock);
        for (region, gtids) in later.writers {
            facts.writers.entry(region).or_default().union_with(&gtids);
        }
        let (Keys::InMemory { entries, authors }, Keys::InMemory { entries: more, authors: others }) =
            (older.keys, newer.keys)
        else {
            unreachable!("only blocks in memory are merged")
        };
        let behind = u32::try_from(authors.len()).unwrap_or(u32::MAX);
        let shifted = |mut author: Author| {
            author.number += if author.is_group { groups } else { 0 };
            author
        };
        let authors: Vec<Author> = authors.into_iter().chain(others.into_iter().map(shifted)).collect();
        let more = more.into_iter().map(|entry| Entry { writer: entry.writer + behind, ..entry });
        let mut all: Vec<Entry> = entries.into_iter().chain(more).collect();
        // Behind each other by key, and of each region the last: it has the greatest number.
        let place =
            |e: &Entry| (e.hash, e.check, authors[e.writer as usize].region, std::cmp::Reverse(e.writer));
        // Two runs that are sorted: they are merged.
        all.sort_by_key(place);
        all.dedup_by_key(|e| (e.hash, e.check, authors[e.writer as usize].region));
        Self { facts, keys: Keys::compact(all, &authors) }
    }
}
