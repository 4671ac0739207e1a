//! GTIDs as text: `uuid:1-5:7:tag:1-3,uuid:9`.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{GNO_END, Gtid, GtidSet, Sequence, Tag};

/// Why a text is no GTID or GTID set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GtidParseError {
    /// The part before the first colon is no uuid.
    #[error("not a uuid in a GTID: {0:?}")]
    Uuid(String),
    /// A part after the uuid is neither a tag nor an interval.
    #[error("neither a tag nor an interval of transaction numbers: {0:?}")]
    Part(String),
    /// A number is 0, too large, or an interval runs backwards.
    #[error("not a range of transaction numbers from 1 to 9223372036854775806: {0:?}")]
    Range(String),
    /// A uuid or a tag without numbers.
    #[error("no transaction numbers after {0:?}")]
    Empty(String),
    /// A set where one GTID was wanted.
    #[error("not one GTID: {0:?}")]
    NotOne(String),
}

impl FromStr for GtidSet {
    type Err = GtidParseError;

    /// Reads what the server prints and accepts: white space and empty items are passed over.
    fn from_str(text: &str) -> Result<Self, GtidParseError> {
        let mut set = Self::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            parse_item(item, &mut set)?;
        }
        Ok(set)
    }
}

fn parse_item(item: &str, set: &mut GtidSet) -> Result<(), GtidParseError> {
    let mut parts = item.split(':').map(str::trim);
    let mut sequence = Sequence::from(parse_uuid(parts.next().unwrap_or_default())?);
    let mut numbers = 0;
    for part in parts {
        if part.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            let (start, end) = parse_range(part)?;
            set.insert_run(sequence.clone(), start, end);
            numbers += 1;
            continue;
        }
        if !sequence.tag.is_empty() && numbers == 0 {
            return Err(GtidParseError::Empty(sequence.to_string()));
        }
        let tag = Tag::new(part).filter(|tag| !tag.is_empty());
        sequence.tag = tag.ok_or_else(|| GtidParseError::Part(part.into()))?;
        numbers = 0;
    }
    if numbers == 0 { Err(GtidParseError::Empty(item.into())) } else { Ok(()) }
}

/// A uuid with its dashes, or 32 hexadecimal digits; not the braced and URN forms.
fn parse_uuid(text: &str) -> Result<Uuid, GtidParseError> {
    let plain = matches!(text.len(), 32 | 36);
    let uuid = if plain { Uuid::try_parse(text).ok() } else { None };
    uuid.ok_or_else(|| GtidParseError::Uuid(text.into()))
}

fn parse_range(text: &str) -> Result<(u64, u64), GtidParseError> {
    let bad = || GtidParseError::Range(text.into());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u64 = first.trim().parse().map_err(|_| bad())?;
    let last: u64 = last.trim().parse().map_err(|_| bad())?;
    if first == 0 || last < first || last >= GNO_END { Err(bad()) } else { Ok((first, last + 1)) }
}

impl FromStr for Gtid {
    type Err = GtidParseError;

    fn from_str(text: &str) -> Result<Self, GtidParseError> {
        let set: GtidSet = text.parse()?;
        let mut sequences = set.sequences();
        match (sequences.next(), sequences.next()) {
            (Some((sequence, runs)), None) if runs.count() == 1 => {
                Ok(Self { sequence: sequence.clone(), gno: runs.runs()[0].0 })
            }
            _ => Err(GtidParseError::NotOne(text.into())),
        }
    }
}

impl fmt::Display for GtidSet {
    /// As the server prints it, without its line breaks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (sequence, runs) in self.sequences() {
            if last != Some(sequence.uuid) {
                let comma = if last.is_some() { "," } else { "" };
                write!(f, "{comma}{}", sequence.uuid.as_hyphenated())?;
            }
            last = Some(sequence.uuid);
            if !sequence.tag.is_empty() {
                write!(f, ":{}", sequence.tag.as_str())?;
            }
            for &(start, end) in runs.runs() {
                if end - start == 1 { write!(f, ":{start}")? } else { write!(f, ":{start}-{}", end - 1)? }
            }
        }
        Ok(())
    }
}
