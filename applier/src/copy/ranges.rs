//! Which part of a table is copied. Pure.
//!
//! A table's key space is cut into pieces `(after, upto]`, which lie in the key's order and never overlap. What lies in none
//! is not copied. Pieces that are done grow together, so that few are held however large the table is.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::order::{KeyShape, SortKey};

/// A chunk's number, for as long as the process runs.
pub(crate) type ChunkId = u64;

/// What is to be done with a change to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its chunk is to come: passed over.
    NotYet,
    /// Its chunk is being read: passed over, and noted for the chunk.
    Reading(ChunkId),
    /// Its chunk has its place, and may still be written: applied behind it.
    Placed(ChunkId),
    /// Copied: applied.
    Done,
}

impl Part {
    fn is_of(self, id: ChunkId) -> bool {
        matches!(self, Self::Reading(of) | Self::Placed(of) if of == id)
    }
}

#[derive(Debug)]
struct Piece {
    after: Option<SortKey>,
    upto: Option<SortKey>,
    part: Part,
}

/// The pieces of one table.
#[derive(Debug)]
pub(crate) struct Ranges {
    /// `None`: the table has no key, and is one piece.
    shape: Option<KeyShape>,
    pieces: Vec<Piece>,
    /// Keys that are being settled, whatever piece they lie in.
    keys: HashMap<SortKey, Part>,
}

impl Ranges {
    pub(crate) fn new(shape: Option<KeyShape>) -> Self {
        Self { shape, pieces: Vec::new(), keys: HashMap::new() }
    }

    pub(crate) fn shape(&self) -> Option<&KeyShape> {
        self.shape.as_ref()
    }

    /// Adds a piece.
    pub(crate) fn add(&mut self, after: Option<SortKey>, upto: Option<SortKey>, part: Part) {
        let at = self.pieces.partition_point(|piece| match (&piece.upto, &after) {
            (Some(upto), Some(after)) => self.compare(upto, after) != Ordering::Greater,
            _ => false,
        });
        self.pieces.insert(at, Piece { after, upto, part });
        self.join(at);
    }

    /// Is this chunk one of the table's?
    pub(crate) fn has(&self, id: ChunkId) -> bool {
        self.position_of(id).is_some() || self.keys.values().any(|part| part.is_of(id))
    }

    /// These keys are read once more.
    pub(crate) fn add_keys(&mut self, keys: &[SortKey], part: Part) {
        self.keys.extend(keys.iter().map(|key| (key.clone(), part)));
    }

    /// Is any key being read once more?
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Keys that are read once more go on to their next part; in the end to that of their piece.
    fn move_keys(&mut self, id: ChunkId, to: Part) {
        if to == Part::Done {
            self.keys.retain(|_, part| !part.is_of(id));
        } else {
            self.keys.values_mut().filter(|part| part.is_of(id)).for_each(|part| *part = to);
        }
    }

    fn position_of(&self, id: ChunkId) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.part.is_of(id))
    }

    /// A chunk goes on to its next part.
    pub(crate) fn move_on(&mut self, id: ChunkId, to: Part) {
        self.move_keys(id, to);
        if let Some(at) = self.position_of(id) {
            self.pieces[at].part = to;
            self.join(at);
        }
    }

    /// Joins a piece that is done with those beside it.
    fn join(&mut self, at: usize) {
        let joins = |a: &Piece, b: &Piece| a.part == Part::Done && b.part == Part::Done && a.upto == b.after;
        if at + 1 < self.pieces.len() && joins(&self.pieces[at], &self.pieces[at + 1]) {
            let next = self.pieces.remove(at + 1);
            self.pieces[at].upto = next.upto;
        }
        if at > 0 && joins(&self.pieces[at - 1], &self.pieces[at]) {
            let this = self.pieces.remove(at);
            self.pieces[at - 1].upto = this.upto;
        }
    }

    /// Where a key belongs. A key of a table without one: to the whole.
    pub(crate) fn part_of(&self, key: Option<&SortKey>) -> Part {
        let Some(key) = key.filter(|_| self.shape.is_some()) else {
            return self.pieces.first().map_or(Part::NotYet, |piece| piece.part);
        };
        if let Some(part) = self.keys.get(key) {
            return *part;
        }
        let at = self.pieces.partition_point(|piece| {
            piece.upto.as_ref().is_some_and(|upto| self.compare(upto, key) == Ordering::Less)
        });
        let Some(piece) = self.pieces.get(at) else { return Part::NotYet };
        let is_behind = piece.after.as_ref().is_none_or(|after| self.compare(after, key) == Ordering::Less);
        if is_behind { piece.part } else { Part::NotYet }
    }

    /// Is the whole table copied?
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece { after: None, upto: None, part: Part::Done }])
    }

    fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        self.shape.as_ref().map_or(Ordering::Equal, |shape| shape.compare(a, b))
    }
}

#[cfg(test)]
mod tests {
    use binlog::row::{Column, ColumnType, Value};

    use super::super::order::{KeyPart, KeyShape, SortKey};
    use super::{Part, Ranges};

    fn shape() -> KeyShape {
        let column = Column::new(ColumnType::Integer { bytes: 4 }, false);
        KeyShape { parts: vec![KeyPart { position: 0, column, down: false, weight: None }] }
    }

    fn key(n: i64) -> SortKey {
        vec![shape().parts[0].turn(&Value::Signed(n)).unwrap()]
    }

    #[test]
    fn a_key_belongs_to_the_piece_around_it_and_ends_belong_to_the_piece_before() {
        let mut ranges = Ranges::new(Some(shape()));
        ranges.add(Some(key(20)), Some(key(30)), Part::Placed(3));
        ranges.add(None, Some(key(10)), Part::Done);
        ranges.add(Some(key(10)), Some(key(20)), Part::Reading(2));
        let parts = [-5, 10, 11, 20, 21, 30, 31].map(|n| ranges.part_of(Some(&key(n))));
        let (reading, placed) = (Part::Reading(2), Part::Placed(3));
        assert_eq!(parts, [Part::Done, Part::Done, reading, reading, placed, placed, Part::NotYet]);
    }

    #[test]
    fn pieces_that_are_done_grow_together_until_the_table_is_complete() {
        let mut ranges = Ranges::new(Some(shape()));
        ranges.add(None, Some(key(10)), Part::Reading(1));
        ranges.add(Some(key(10)), Some(key(20)), Part::Reading(2));
        ranges.add(Some(key(20)), None, Part::Reading(3));
        for id in [3, 1, 2] {
            assert!(!ranges.is_complete());
            ranges.move_on(id, Part::Placed(id));
            ranges.move_on(id, Part::Done);
        }
        assert!(ranges.is_complete() && ranges.pieces.len() == 1);
    }

    #[test]
    fn a_gap_left_by_an_interrupted_copy_is_not_copied() {
        let mut ranges = Ranges::new(Some(shape()));
        ranges.add(None, Some(key(10)), Part::Done);
        ranges.add(Some(key(20)), Some(key(30)), Part::Done);
        assert_eq!(ranges.part_of(Some(&key(15))), Part::NotYet);
        assert_eq!(ranges.part_of(Some(&key(25))), Part::Done);
        ranges.add(Some(key(10)), Some(key(20)), Part::Done);
        assert_eq!(ranges.pieces.len(), 1);
    }

    #[test]
    fn a_table_without_a_key_is_one_piece() {
        let mut ranges = Ranges::new(None);
        assert_eq!(ranges.part_of(None), Part::NotYet);
        ranges.add(None, None, Part::Reading(1));
        assert_eq!(ranges.part_of(None), Part::Reading(1));
        ranges.move_on(1, Part::Done);
        assert!(ranges.is_complete());
    }
}
