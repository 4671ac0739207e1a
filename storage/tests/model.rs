//! A plain list of transactions runs beside the real log, under random schedules of all that can happen to it.
//!
//! `STORAGE_SEED=n` replays one schedule, `STORAGE_SCHEDULES=n` runs more of them.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use binlog::{Event, Gtid, GtidSet};
use common::{Source, only_events, options, read_all, segment_path};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use storage::{
    Acknowledged, Appended, Error, Item, LogReader, LogWriter, OnKnown, Options, RelayLog, SeekError,
};

/// One thing in the log: a transaction, or an event between two (then without GTID).
#[derive(Clone, Debug)]
struct Entry {
    gtid: Option<Gtid>,
    events: Vec<Event>,
}

/// The log as a list.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    durable: usize,
    purged: GtidSet,
}

impl Model {
    fn gtids(&self, upto: usize) -> GtidSet {
        self.entries[..upto].iter().filter_map(|entry| entry.gtid.clone()).collect()
    }

    /// All that a reader gets that has `has`, up to the durable end: without what stands between, which
    /// depends on where the reading begins.
    fn lacking(&self, has: &GtidSet) -> Vec<&Entry> {
        let lacks = |entry: &&Entry| entry.gtid.as_ref().is_some_and(|gtid| !has.contains(gtid));
        self.entries[..self.durable].iter().filter(lacks).collect()
    }
}

/// The real log beside its model, and the sources that feed it.
struct Run {
    random: StdRng,
    dir: tempfile::TempDir,
    options: Options,
    open: Option<(RelayLog, LogWriter)>,
    model: Model,
    sources: Vec<Source>,
    current: usize,
    /// Readers that go on through everything but a reopening, with the GTIDs they still wait for.
    followers: Vec<(LogReader, GtidSet)>,
    /// What the one link has acknowledged.
    acknowledged: GtidSet,
    /// What the file `durable` once held, and for which segment.
    old_mark: Option<(u64, Vec<u8>)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut options = options();
        options.segment_size = random.random_range(500..20_000);
        let mut run = Self {
            random,
            dir: tempfile::tempdir().unwrap(),
            options,
            open: None,
            model: Model::default(),
            sources: vec![Source::new(1), Source::new(2)],
            current: 0,
            followers: Vec::new(),
            acknowledged: GtidSet::new(),
            old_mark: None,
        };
        run.sources.iter_mut().for_each(|source| _ = source.next_file());
        run.reopen();
        run
    }

    fn log(&self) -> RelayLog {
        self.open.as_ref().unwrap().0.clone()
    }

    fn writer(&mut self) -> &mut LogWriter {
        &mut self.open.as_mut().unwrap().1
    }

    fn reopen(&mut self) {
        let (log, writer) = RelayLog::open(self.dir.path(), self.options.clone()).unwrap();
        log.register("link");
        self.open = Some((log, writer));
        self.connect(OnKnown::Refuse);
    }

    /// The source begins to send, from its current file.
    fn connect(&mut self, on_known: OnKnown) {
        let from = self.sources[self.current].source_file();
        let writer = self.writer();
        writer.discard_unfinished().unwrap();
        writer.on_known(on_known);
        writer.source_file(&from).unwrap();
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..45 => self.transaction(),
            45..50 => self.half_a_transaction(),
            50..55 => self.next_file(),
            55..57 => self.other_source(),
            57..60 => self.send_again(),
            60..75 => self.sync(),
            75..83 => self.read(),
            83..88 => self.follow(),
            88..92 => self.purge(),
            92..95 => self.close_and_reopen(),
            _ => self.crash(),
        }
        self.note_durable();
    }

    fn transaction(&mut self) {
        let mut sizes = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            let large = self.random.random_bool(0.02);
            sizes.push(self.random.random_range(0..if large { 1_500_000 } else { 300 }));
        }
        let source = &mut self.sources[self.current];
        let gtid = Some(source.gtid());
        let events = source.transaction(&sizes);
        for event in &events {
            assert_ne!(self.writer().append(event).unwrap(), Appended::Passed);
        }
        self.model.entries.push(Entry { gtid, events });
    }

    /// The connection is lost inside a transaction, which is sent again, or not.
    fn half_a_transaction(&mut self) {
        let before = self.sources[self.current].clone();
        let sizes = [100, self.random.random_range(0..2_000_000), 100];
        let events = self.sources[self.current].transaction(&sizes);
        let n = self.random.random_range(1..events.len());
        for event in &events[..n] {
            assert_eq!(self.writer().append(event).unwrap(), Appended::Inside);
        }
        self.sources[self.current] = before;
        if self.random.random_bool(0.3) {
            self.sync();
        }
        self.connect(OnKnown::Refuse);
    }

    fn next_file(&mut self) {
        let source = &mut self.sources[self.current];
        let rotate = source.rotate();
        let previous = source.next_file();
        let from = source.source_file();
        let writer = self.writer();
        assert_eq!(writer.append(&rotate).unwrap(), Appended::Whole);
        writer.source_file(&from).unwrap();
        assert_eq!(writer.append(&previous).unwrap(), Appended::Whole);
        self.model.entries.push(Entry { gtid: None, events: vec![rotate] });
        // Making the segment syncs what lies before it.
        self.model.durable = self.model.entries.len();
    }

    fn other_source(&mut self) {
        self.current = 1 - self.current;
        self.connect(OnKnown::Refuse);
    }

    /// A reconnect, the last transaction of this source first.
    fn send_again(&mut self) {
        let uuid = self.sources[self.current].uuid;
        let mut of_source = self.model.entries.iter().rev();
        let last = of_source.find(|entry| entry.gtid.as_ref().is_some_and(|gtid| gtid.uuid() == uuid));
        let Some(last) = last.cloned() else { return };
        let on_known = *[OnKnown::Skip, OnKnown::Compare].choose(&mut self.random).unwrap();
        self.connect(on_known);
        for event in &last.events {
            assert_eq!(self.writer().append(event).unwrap(), Appended::Passed, "{on_known:?}");
        }
    }

    /// A new segment, and a comparison, make durable what lies before: always a beginning, never less than before.
    fn note_durable(&mut self) {
        let durable = self.log().gtids_durable();
        let is_durable = |entry: &Entry| entry.gtid.as_ref().is_none_or(|gtid| durable.contains(gtid));
        let n = self.model.entries.iter().take_while(|entry| is_durable(entry)).count();
        assert_eq!(self.model.gtids(n), *durable);
        self.model.durable = n.max(self.model.durable);
    }

    fn sync(&mut self) {
        let end = self.writer().sync().unwrap();
        self.model.durable = self.model.entries.len();
        assert_eq!(*end.gtids, self.model.gtids(self.model.durable));
        if self.random.random_bool(0.2) {
            let mark = fs::read(self.dir.path().join("durable")).unwrap();
            self.old_mark = Some((end.position.segment, mark));
        }
    }

    /// A set that a downstream may have: up to some transaction, and some more.
    fn some_set(&mut self) -> GtidSet {
        let upto = self.random.random_range(0..=self.model.durable);
        let mut set = self.model.gtids(upto);
        for entry in &self.model.entries[upto..self.model.durable] {
            if let Some(gtid) = entry.gtid.as_ref().filter(|_| self.random.random_bool(0.1)) {
                set.insert(gtid);
            }
        }
        set
    }

    fn read(&mut self) {
        let has = self.some_set();
        let log = self.log();
        assert_eq!(*log.gtids_purged(), self.model.purged);
        let mut reader = match log.reader(&has) {
            Ok(reader) => reader,
            Err(SeekError::Purged { missing }) => {
                assert_eq!(missing, self.model.purged.minus(&has));
                assert!(!missing.is_empty());
                return;
            }
            Err(e) => panic!("{e}"),
        };
        assert!(has.contains_all(&self.model.purged));
        let events = transactions_of(read_all(&mut reader));
        let expected: Vec<_> = self.model.lacking(&has).iter().flat_map(|e| e.events.clone()).collect();
        assert!(events == expected, "{} events of {}", events.len(), expected.len());
    }

    fn follow(&mut self) {
        if self.followers.len() < 3 {
            let has = self.some_set();
            if let Ok(reader) = self.log().reader(&has) {
                self.followers.push((reader, has));
            }
        }
        let mut followers = std::mem::take(&mut self.followers);
        followers.retain_mut(|(reader, has)| self.follow_on(reader, has));
        self.followers = followers;
    }

    fn follow_on(&self, reader: &mut LogReader, has: &mut GtidSet) -> bool {
        let mut events = Vec::new();
        let gone = loop {
            match reader.next_batch(1000) {
                Ok(batch) if batch.items.is_empty() => break false,
                Ok(batch) => events.extend(transactions_of(batch.items)),
                Err(Error::PurgedUnread { .. }) => break true,
                Err(e) => panic!("{e}"),
            }
        };
        let lacking = self.model.lacking(has);
        let expected: Vec<_> = lacking.iter().flat_map(|entry| entry.events.clone()).collect();
        assert!(events[..] == expected[..events.len()]);
        assert_eq!(events.len() < expected.len(), gone);
        has.union_with(reader.has());
        !gone
    }

    fn purge(&mut self) {
        let log = self.log();
        let mut acknowledged = self.some_set();
        acknowledged.union_with(&self.acknowledged);
        log.acknowledge("link", &Acknowledged::Gtids(acknowledged.clone()));
        self.acknowledged = acknowledged;
        let later = SystemTime::now() + Duration::from_secs(1000);
        log.purge(later, Duration::ZERO).unwrap();
        let purged = (*log.gtids_purged()).clone();
        assert!(purged.contains_all(&self.model.purged));
        assert!(self.acknowledged.contains_all(&purged.minus(&self.model.purged)));
        // What was purged is a beginning of the log.
        let n = self
            .model
            .entries
            .iter()
            .take_while(|e| e.gtid.as_ref().is_none_or(|g| purged.contains(g)))
            .count();
        assert_eq!(self.model.gtids(n), purged);
        self.model.purged = purged;
    }

    fn close_and_reopen(&mut self) {
        self.followers.clear();
        let (log, writer) = self.open.take().unwrap();
        writer.close().unwrap();
        drop(log);
        self.model.durable = self.model.entries.len();
        self.spoil_index();
        self.reopen();
        assert_eq!(*self.log().gtids_durable(), self.model.gtids(self.model.durable));
    }

    fn spoil_index(&mut self) {
        if self.random.random_bool(0.3) {
            fs::remove_dir_all(self.dir.path().join("index")).unwrap();
            self.acknowledged = GtidSet::new();
        }
    }

    /// The machine loses power: of what was not synced, any part can be gone or spoilt.
    fn crash(&mut self) {
        self.followers.clear();
        let (log, writer) = self.open.take().unwrap();
        let durable = log.durable_end().position;
        let newest = log.segments().last().map(|segment| segment.segment);
        drop((log, writer));
        if let Some(newest) = newest {
            let from = if newest == durable.segment { durable.offset } else { u64::MAX };
            self.spoil_unsynced(newest, from);
            // It is flushed when a segment begins, and may be behind since.
            if let Some((_, mark)) = self.old_mark.take().filter(|(segment, _)| *segment == newest) {
                fs::write(self.dir.path().join("durable"), mark).unwrap();
            }
        }
        self.spoil_index();
        self.reopen();
        self.recovered();
    }

    fn spoil_unsynced(&mut self, segment: u64, from: u64) {
        let path = segment_path(self.dir.path(), segment);
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        if length <= from {
            return;
        }
        let keep = self.random.random_range(from..=length);
        file.set_len(keep).unwrap();
        if self.random.random_bool(0.3) && keep > from {
            let at = self.random.random_range(from..keep);
            let zeros = vec![0; usize::try_from((keep - at).min(4096)).unwrap()];
            file.write_all_at(&zeros, at).unwrap();
        }
    }

    /// The log holds a beginning of what was appended, with all that was durable; the sources go on from there.
    fn recovered(&mut self) {
        let received = (*self.log().gtids_durable()).clone();
        let holds = |entry: &Entry| entry.gtid.as_ref().is_none_or(|gtid| received.contains(gtid));
        let mut n = self.model.entries.iter().take_while(|entry| holds(entry)).count();
        assert_eq!(self.model.gtids(n), received);
        assert!(n >= self.model.durable, "durable data lost: {n} of {}", self.model.durable);
        // A rotate at the end may be gone with what followed; it belongs to no set.
        if n > self.model.durable && self.model.entries[n - 1].gtid.is_none() {
            n -= 1;
        }
        let lost = self.model.entries.split_off(n);
        self.model.durable = n;
        for source in &mut self.sources {
            let uuid = source.uuid;
            let own: Vec<_> =
                lost.iter().filter(|e| e.gtid.as_ref().is_some_and(|g| g.uuid() == uuid)).collect();
            let Some(first) = own.first() else { continue };
            // The source still has them: it goes back to where the first of them was.
            let begin = &first.events[0];
            source.next_gno = first.gtid.as_ref().unwrap().gno;
            source.position = u64::from(begin.log_pos()) - u64::from(begin.size());
            source.executed = received.restricted_to(|of| of == uuid);
        }
        self.connect(OnKnown::Refuse);
    }
}

/// The events that belong to transactions.
fn transactions_of(items: Vec<Item>) -> Vec<Event> {
    let between = [binlog::EventKind::Rotate];
    only_events(items).into_iter().filter(|event| !between.contains(&event.kind())).collect()
}

fn schedule(seed: u64) {
    println!("STORAGE_SEED={seed}");
    let mut run = Run::new(seed);
    for _ in 0..400 {
        run.step();
    }
    run.sync();
    run.follow();
    run.read();
    run.close_and_reopen();
    run.read();
}

#[test]
fn the_log_does_what_a_list_does_under_any_schedule() {
    let number = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().unwrap());
    if let Some(seed) = number("STORAGE_SEED") {
        return schedule(seed);
    }
    for _ in 0..number("STORAGE_SCHEDULES").unwrap_or(10) {
        schedule(rand::random());
    }
}
