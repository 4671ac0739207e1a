//! What stands for a text and for all that are equal to it by its collation: told by the server.
//!
//! `WEIGHT_STRING` is what the server's own indexes compare texts by. Where a collation pads, trailing spaces count for
//! nothing, so their weights go. Asked for many texts at once; what was asked lately is remembered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use wire::Connection;

use super::key::{Key, RowKey, Text};
use crate::collations::Collations;
use crate::{Error, sql};

/// Texts in one question.
const ASKED_AT_ONCE: usize = 500;
/// Texts that are remembered, at most; all are forgotten then.
const REMEMBERED: usize = 50_000;
/// Hexadecimal digits of an answer that are kept: 128 bits.
const DIGITS: usize = 32;

/// Weights of texts.
#[derive(Debug)]
pub(crate) struct Weights {
    collations: Arc<Collations>,
    known: HashMap<Text, u128>,
}

impl Weights {
    pub(crate) fn new(collations: Arc<Collations>) -> Self {
        Self { collations, known: HashMap::new() }
    }

    /// The texts of these keys that are not known yet; [`Self::key`] folds them all once those are learned, until the
    /// next call.
    pub(crate) fn lacking<'k>(&mut self, keys: impl Iterator<Item = &'k RowKey>) -> HashSet<Text> {
        let mut texts = keys.flat_map(RowKey::texts).peekable();
        if texts.peek().is_some() && self.known.len() > REMEMBERED {
            self.known.clear();
        }
        texts.filter(|text| !self.known.contains_key(text)).cloned().collect()
    }

    /// Asks for the weights of texts.
    ///
    /// # Errors
    ///
    /// What keeps the server from answering.
    pub(crate) async fn learn(
        &mut self,
        connection: &mut Connection,
        lacking: HashSet<Text>,
    ) -> Result<(), Error> {
        let lacking: Vec<Text> = lacking.into_iter().collect();
        for some in lacking.chunks(ASKED_AT_ONCE) {
            let query = self.question(some);
            let weights = ask(connection, &query, some.len()).await?;
            self.known.extend(some.iter().cloned().zip(weights));
        }
        Ok(())
    }

    /// A key folded, of those that were learned.
    pub(crate) fn key(&self, key: &RowKey) -> Key {
        key.fold(|text| self.known.get(text).copied().unwrap_or_default())
    }

    fn question(&self, texts: &[Text]) -> String {
        let terms: Vec<String> = texts.iter().map(|text| self.term(text)).collect();
        format!("SELECT CONCAT_WS(',', {})", terms.join(", "))
    }

    /// A term that gives the weight of a text, hashed.
    fn term(&self, text: &Text) -> String {
        let Some(collation) = self.collations.get(text.collation) else {
            return format!("SHA2({}, 256)", sql::bytes(&text.bytes));
        };
        let (charset, name) = (&collation.charset, &collation.name);
        let value = format!("_{charset} {}", sql::bytes(&text.bytes));
        let value = text.prefix.map_or(value.clone(), |n| format!("LEFT({value}, {n})"));
        let weight = format!("WEIGHT_STRING({value} COLLATE {name})");
        if collation.pads {
            let space = format!("WEIGHT_STRING(CONVERT(' ' USING {charset}) COLLATE {name})");
            return format!("SHA2(TRIM(TRAILING {space} FROM {weight}), 256)");
        }
        format!("SHA2({weight}, 256)")
    }
}

/// So many weights.
async fn ask(connection: &mut Connection, query: &str, wanted: usize) -> Result<Vec<u128>, Error> {
    let failed = Error::target("asking by what texts are compared");
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let text = rows.single_text().map_err(&failed)?;
    let weight = |digits: &str| u128::from_str_radix(digits.get(..DIGITS)?, 16).ok();
    let weights: Option<Vec<u128>> = text.split(',').map(weight).collect();
    let odd = || failed(wire::Error::Invalid { what: format!("not {wanted} weights: {text}") });
    weights.filter(|weights| weights.len() == wanted).ok_or_else(odd)
}
