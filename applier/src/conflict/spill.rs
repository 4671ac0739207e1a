//! A block of the conflict window in a file: 16 bytes a key and 24 a writer on the disk, 1.3 bytes a key in memory.
//!
//! ```text
//! keys, sorted: hash u64, check u32, writer u32 │ writers: time u64, number u64, sequence u32, region u16, group u16
//! ```
//! Little endian. The file has no name: it is gone with the process, however that ends. In memory are a filter, which
//! tells of 99 in 100 keys that they are not in it, and the hash that each page of keys begins with.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::block::{Author, Entry};

const ENTRY: usize = 16;
const AUTHOR: usize = 24;
/// Keys that are read at once: 4 KiB.
const PAGE: usize = 256;

/// A block's keys in a file.
#[derive(Debug)]
pub(super) struct Run {
    file: File,
    entries: usize,
    /// What each page begins with.
    pages: Vec<u64>,
    filter: Option<Filter>,
}

impl Run {
    /// Writes keys that are sorted, and their writers.
    pub(super) fn write(
        folder: &Path,
        entries: &[Entry],
        authors: &[Author],
        filtered: bool,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut out = BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(folder)?);
        for e in entries {
            out.write_all(&e.hash.to_le_bytes())?;
            out.write_all(&e.check.to_le_bytes())?;
            out.write_all(&e.writer.to_le_bytes())?;
        }
        for a in authors {
            out.write_all(&a.time.to_le_bytes())?;
            out.write_all(&a.number.to_le_bytes())?;
            out.write_all(&a.sequence.to_le_bytes())?;
            out.write_all(&a.region.to_le_bytes())?;
            out.write_all(&u16::from(a.is_group).to_le_bytes())?;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let pages = entries.chunks(PAGE).filter_map(|page| page.first()).map(|e| e.hash).collect();
        let filter = filtered.then(|| Filter::of(entries));
        Ok(Self { file, entries: entries.len(), pages, filter })
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.pages.len() * 8 + self.filter.as_ref().map_or(0, |filter| filter.bits.len() * 8)
    }

    /// The writers of a key.
    pub(super) fn find(&self, hash: u64, check: u32) -> io::Result<Vec<Author>> {
        let mut found = Vec::new();
        if self.filter.as_ref().is_some_and(|filter| !filter.may_have(hash, check)) {
            return Ok(found);
        }
        // What is equal to the beginning of a page may stand at the end of the page before.
        let first = self.pages.partition_point(|page| *page < hash).saturating_sub(1);
        for page in first..self.pages.len() {
            if self.pages[page] > hash {
                break;
            }
            let keys = PAGE.min(self.entries - page * PAGE);
            let mut bytes = vec![0; keys * ENTRY];
            self.file.read_exact_at(&mut bytes, (page * PAGE * ENTRY) as u64)?;
            for entry in bytes.chunks_exact(ENTRY).filter(|e| number(&e[..8]) == hash) {
                if number(&entry[8..12]) == u64::from(check) {
                    found.push(self.author(number(&entry[12..]))?);
                }
            }
        }
        Ok(found)
    }

    fn author(&self, at: u64) -> io::Result<Author> {
        let mut bytes = [0; AUTHOR];
        self.file.read_exact_at(&mut bytes, (self.entries * ENTRY) as u64 + at * AUTHOR as u64)?;
        let broken = |_| io::Error::new(io::ErrorKind::InvalidData, "a writer of the conflict window");
        Ok(Author {
            time: number(&bytes[..8]),
            number: number(&bytes[8..16]),
            sequence: u32::try_from(number(&bytes[16..20])).map_err(broken)?,
            region: u16::try_from(number(&bytes[20..22])).map_err(broken)?,
            is_group: number(&bytes[22..]) == 1,
        })
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A Bloom filter: 10 bits a key, of which 6 are set.
#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    const BITS: usize = 10;
    const SET: u64 = 6;

    fn of(entries: &[Entry]) -> Self {
        let mut filter = Self { bits: vec![0; (entries.len() * Self::BITS).div_ceil(64).max(1)] };
        for entry in entries {
            for (word, bit) in filter.places(entry.hash, entry.check) {
                filter.bits[word] |= bit;
            }
        }
        filter
    }

    fn may_have(&self, hash: u64, check: u32) -> bool {
        self.places(hash, check).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    fn places(&self, hash: u64, check: u32) -> impl Iterator<Item = (usize, u64)> + use<> {
        let all = self.bits.len() as u64 * 64;
        let step = u64::from(check) << 1 | 1;
        (0..Self::SET).map(move |i| {
            let at = hash.wrapping_add(i.wrapping_mul(step).wrapping_mul(0x9e37_79b9_7f4a_7c15)) % all;
            // Below the number of words, which is a usize.
            (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::{Author, Entry, Run};

    #[test]
    fn what_is_in_a_file_is_found_and_nothing_else_and_few_questions_reach_the_file() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut entries: Vec<Entry> =
            (0..10_000u32).map(|writer| Entry { hash: rng.random(), check: rng.random(), writer }).collect();
        // One hash over more than a page, and the greatest.
        entries.extend((0..600).map(|check| Entry { hash: 1 << 63, check, writer: check }));
        entries.push(Entry { hash: u64::MAX, check: 5, writer: 9 });
        entries.sort_unstable();
        let author =
            |n: u64| Author { time: n, number: n << 40, sequence: 3, region: 2, is_group: n % 2 == 1 };
        let authors: Vec<Author> = (0..10_000).map(author).collect();
        for filtered in [true, false] {
            let run = Run::write(&std::env::temp_dir(), &entries, &authors, filtered).unwrap();
            for e in &entries {
                assert_eq!(run.find(e.hash, e.check).unwrap(), [author(e.writer.into())], "{e:?}");
            }
            assert_eq!(run.find(1 << 63, 600).unwrap(), []);
            assert_eq!(run.find(0, 0).unwrap(), []);
        }
        let run = Run::write(&std::env::temp_dir(), &entries, &authors, true).unwrap();
        let filter = run.filter.as_ref().unwrap();
        let false_hits = (0..10_000).filter(|_| filter.may_have(rng.random(), rng.random())).count();
        assert!(false_hits < 300, "{false_hits} of 10,000");
        assert!(run.bytes() < entries.len() * 13 / 10 + 1000);
    }

    #[test]
    fn a_key_by_several_writers_gives_them_all() {
        let entries: Vec<Entry> = (0..3).map(|writer| Entry { hash: 4, check: 4, writer }).collect();
        let author = |n: u16| Author { time: 1, number: 1, sequence: 0, region: n, is_group: false };
        let run =
            Run::write(&std::env::temp_dir(), &entries, &[author(0), author(1), author(2)], true).unwrap();
        assert_eq!(run.find(4, 4).unwrap().len(), 3);
        assert_eq!(run.find(4, 5).unwrap().len(), 0);
    }
}
