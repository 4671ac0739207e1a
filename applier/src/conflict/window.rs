//! The conflict window: the keys that were written in the target by transactions the source's region may not have
//! seen.
//!
//! ```text
//! done │ block, in a file │ block, in a file │ block │ block │ open ◀── written
//! ```
//! It follows the target's own log, in blocks of adjacent transactions: the newest is open, small ones are merged, and
//! beyond [`Limits::memory`] the oldest go into files. A key takes 40 bytes of memory at most where each transaction
//! writes one key, 16 where each writes many, and 1.3 once it is in a file. A block is let go of when the link's checkpoint
//! covers a transaction that had seen all its writers.
//!
//! Of each region only the last writer of a key in a block is kept: a region's transactions are seen in order, and their
//! hybrid times rise.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use binlog::{Gtid, GtidSet, Sequence};

use super::block::{Author, Block, Facts, Open};
use super::key::Key;
use super::rules::Effective;
use super::seen::Seen;
use crate::ddl::Alteration;

/// The index that stands for statements: no table's, for those are hashed.
const ALTERED: u64 = 0;

/// A transaction that wrote in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    /// Its GTIDs, in its own region's numbering: one, or those of a group that was applied here.
    pub(crate) gtids: GtidSet,
    /// Where it was first committed, and its hybrid time.
    pub(crate) effective: Effective,
}

/// A part of the target's log that the window is done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) gtids: GtidSet,
    /// The target's hybrid clock at its end.
    pub(crate) clock: u64,
}

/// How large its parts may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Keys or writers of the open block.
    pub(crate) open: usize,
    /// Keys of a block; adjacent ones are merged up to that. Merging holds the window for as long as sorting so many.
    pub(crate) block: usize,
    /// Bytes of keys in memory, before the oldest blocks are put into files.
    pub(crate) memory: usize,
    /// Bytes of filters: files beyond that are looked into for each key.
    pub(crate) filters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open: 4096, block: 1 << 20, memory: 128 << 20, filters: 256 << 20 }
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Every transaction of the target's log up to here is in it, or of no concern.
    followed: GtidSet,
    /// The part of it that holds nothing a restart would need: all before the first block.
    done: Done,
    /// Who wrote: regions, and the sequences of their GTIDs.
    regions: Vec<String>,
    sequences: Vec<Sequence>,
    blocks: VecDeque<Block>,
    open: Open,
    /// In how many blocks each index has keys, the open one left out.
    buckets: HashMap<u64, usize>,
    /// Statements that altered tables, in the log's order; the key of each in the blocks holds back what a restart needs.
    altered: VecDeque<(Writer, Arc<Alteration>)>,
    limits: Limits,
    folder: PathBuf,
    /// The last attempt to put a block into a file failed.
    spill_failed: bool,
}

impl Window {
    /// A window that begins behind these transactions of the target, and puts what memory does not hold into files of
    /// this folder.
    pub(crate) fn behind(followed: GtidSet, clock: u64, limits: Limits, folder: PathBuf) -> Self {
        let done = Done { gtids: followed.clone(), clock };
        Self { followed, done, limits, folder, ..Self::default() }
    }

    /// These transactions of the target's log are read, and its hybrid clock is at `clock` with them.
    pub(crate) fn follow(&mut self, gtids: &GtidSet, clock: u64) {
        self.followed.union_with(gtids);
        let read = match self.blocks.back_mut() {
            _ if !self.open.is_empty() => &mut self.open.facts.read,
            Some(block) => &mut block.facts.read,
            None => &mut self.done,
        };
        read.gtids.union_with(gtids);
        read.clock = read.clock.max(clock);
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

    /// Holds it no key?
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.open.is_empty()
    }

    /// Could a key of this index be in it?
    pub(crate) fn has_any_of(&self, bucket: u64) -> bool {
        self.buckets.contains_key(&bucket) || self.open.facts.buckets.contains(&bucket)
    }

    /// A transaction of the target's log wrote these keys.
    pub(crate) fn write(&mut self, writer: &Writer, keys: &[Key]) {
        let author = self.author(writer);
        let mut begun = false;
        for key in keys {
            if !begun {
                self.open.begin(author, &writer.gtids);
                begun = true;
            }
            self.open.put(key);
            if self.open.len() >= self.limits.open {
                self.seal();
                begun = false;
            }
        }
    }

    /// A statement of the target's log altered tables.
    pub(crate) fn alter(&mut self, writer: Writer, alteration: Alteration) {
        let mut hasher = DefaultHasher::new();
        alteration.gtid.to_string().hash(&mut hasher);
        self.write(&writer, &[Key { bucket: ALTERED, hash: hasher.finish(), check: 0 }]);
        self.altered.push_back((writer, Arc::new(alteration)));
    }

    /// The statements that altered tables and are not in `seen`, in the log's order.
    pub(crate) fn alterations(&self, seen: &Seen) -> Vec<Arc<Alteration>> {
        let is_unseen = |w: &Writer| !seen.has(&w.effective.region, &w.gtids);
        self.altered.iter().filter(|(w, _)| is_unseen(w)).map(|(_, a)| a.clone()).collect()
    }

    fn author(&mut self, writer: &Writer) -> Author {
        let region = place(&mut self.regions, &writer.effective.region);
        let mut sequences = writer.gtids.sequences();
        let one = sequences.next().filter(|(_, numbers)| numbers.count() == 1 && sequences.next().is_none());
        let one = one.and_then(|(sequence, numbers)| Some((sequence, numbers.runs().first()?.0)));
        let sequence = one.map_or(0, |(sequence, _)| place(&mut self.sequences, sequence));
        Author {
            time: writer.effective.time,
            number: one.map_or(0, |(_, number)| number),
            sequence: u32::try_from(sequence).unwrap_or(u32::MAX),
            // A sync has a few regions.
            region: u16::try_from(region).unwrap_or(u16::MAX),
            is_group: one.is_none(),
        }
    }

    /// Who wrote this key, of those not in `seen`.
    ///
    /// # Errors
    ///
    /// A file of the window can't be read.
    pub(crate) fn unseen(&self, key: &Key, seen: &Seen) -> io::Result<Vec<Writer>> {
        let mut unseen = Vec::new();
        if !self.has_any_of(key.bucket) {
            return Ok(unseen);
        }
        let regions = u16::try_from(self.regions.len()).unwrap_or(u16::MAX);
        let newest = self.open.find(key, regions).map(|author| self.writer(&author, &self.open.facts));
        unseen.extend(newest.filter(|writer| !seen.has(&writer.effective.region, &writer.gtids)));
        for block in self.blocks.iter().filter(|block| block.facts.buckets.contains(&key.bucket)) {
            let writers = block.find(key)?.into_iter().map(|author| self.writer(&author, &block.facts));
            unseen.extend(writers.filter(|writer| !seen.has(&writer.effective.region, &writer.gtids)));
        }
        Ok(unseen)
    }

    fn writer(&self, author: &Author, facts: &Facts) -> Writer {
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let gtids = if author.is_group {
            facts.groups.get(index(author.number)).cloned().unwrap_or_default()
        } else {
            let sequence = self.sequences.get(author.sequence as usize).cloned();
            sequence.into_iter().map(|sequence| Gtid { sequence, gno: author.number }).collect()
        };
        let region = self.regions.get(usize::from(author.region)).cloned().unwrap_or_default();
        Writer { gtids, effective: Effective { time: author.time, region } }
    }

    /// Lets go of what every transaction still to come has seen.
    pub(crate) fn prune(&mut self, seen: &Seen) {
        self.altered.retain(|(w, _)| !seen.has(&w.effective.region, &w.gtids));
        while self.blocks.front().is_some_and(|block| self.is_seen(&block.facts, seen)) {
            let Some(block) = self.blocks.pop_front() else { return };
            self.count(&block, false);
            self.let_go(&block.facts);
        }
        if self.blocks.is_empty() && !self.open.is_empty() && self.is_seen(&self.open.facts, seen) {
            let open = std::mem::take(&mut self.open);
            self.let_go(&open.facts);
        }
    }

    fn is_seen(&self, facts: &Facts, seen: &Seen) -> bool {
        let has = |(region, gtids): (&u16, &GtidSet)| {
            self.regions.get(usize::from(*region)).is_some_and(|region| seen.has(region, gtids))
        };
        facts.writers.iter().all(has)
    }

    fn let_go(&mut self, facts: &Facts) {
        self.done.gtids.union_with(&facts.read.gtids);
        self.done.clock = self.done.clock.max(facts.read.clock);
    }

    /// What is written from now on is let go of by itself: what came before may be seen long before it.
    pub(crate) fn begin_block(&mut self) {
        if !self.open.is_empty() {
            self.seal();
        }
    }

    /// Seals the open block; merges small ones, so that there are few, and puts into files what is too much.
    fn seal(&mut self) {
        let block = std::mem::take(&mut self.open).seal();
        self.count(&block, true);
        self.blocks.push_back(block);
        while let Some(newer) = self.blocks.pop_back() {
            let sizes =
                self.blocks.back().and_then(|older| Some((older.len_in_memory()?, newer.len_in_memory()?)));
            let fit = |(a, b): (usize, usize)| a <= 2 * b && a + b <= self.limits.block;
            let older = if sizes.is_some_and(fit) { self.blocks.pop_back() } else { None };
            let Some(older) = older else {
                self.blocks.push_back(newer);
                break;
            };
            self.count(&older, false);
            self.count(&newer, false);
            let merged = Block::merge(older, newer);
            self.count(&merged, true);
            self.blocks.push_back(merged);
        }
        self.spill();
    }

    fn spill(&mut self) {
        let in_memory = |block: &Block| block.len_in_memory().is_some();
        while self.blocks.iter().filter(|b| in_memory(b)).map(Block::bytes).sum::<usize>()
            > self.limits.memory
        {
            let filters: usize = self.blocks.iter().filter(|b| !in_memory(b)).map(Block::bytes).sum();
            let Some(oldest) = self.blocks.iter_mut().find(|block| in_memory(block)) else { return };
            if let Err(error) = oldest.spill(&self.folder, filters < self.limits.filters) {
                // It goes on in memory, and the next block is a new attempt.
                if !self.spill_failed {
                    let folder = self.folder.display();
                    tracing::warn!(%error, %folder, "the conflict window stays in memory: no file can be written");
                }
                self.spill_failed = true;
                return;
            }
            self.spill_failed = false;
        }
    }

    fn count(&mut self, block: &Block, more: bool) {
        for bucket in &block.facts.buckets {
            let blocks = self.buckets.entry(*bucket).or_default();
            *blocks = if more { *blocks + 1 } else { blocks.saturating_sub(1) };
            if *blocks == 0 {
                self.buckets.remove(bucket);
            }
        }
    }

    /// How many keys it holds, of those each in how many files, and how many bytes of memory they take, about.
    pub(crate) fn size(&self) -> Size {
        let blocks = self.blocks.iter();
        let spilled = blocks.clone().filter(|block| block.len_in_memory().is_none());
        Size {
            keys: self.open.len() + blocks.clone().map(Block::len).sum::<usize>(),
            in_files: spilled.map(Block::len).sum(),
            // Of a hash table, what is free counts too.
            bytes: self.open.len() * 80 + blocks.map(Block::bytes).sum::<usize>(),
        }
    }
}

/// See [`Window::size`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) keys: usize,
    pub(crate) in_files: usize,
    pub(crate) bytes: usize,
}

/// Where it is in the list, at whose end it is put if it is new.
fn place<T: Clone + PartialEq>(all: &mut Vec<T>, one: &T) -> usize {
    if let Some(at) = all.iter().position(|known| known == one) {
        return at;
    }
    all.push(one.clone());
    all.len() - 1
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
