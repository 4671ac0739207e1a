//! Are many tables still what a group was checked against? Asked under the group's own metadata locks.
//!
//! The definition of each table can be asked for, at some 60 µs a table: of a group over a hundred tables that was a
//! quarter of the time. A prepared statement tells it of all its tables at once, at 1.5 µs each. The server gives a table
//! a new number each time it opens its definition; a prepared statement whose tables have other numbers than at its
//! last run is prepared anew before it runs (`check_and_update_table_version` in `sql/sql_base.cc`), and the session
//! counts that (`Com_stmt_reprepare`). So while the count stands still, what a definition was known to be still holds; when
//! it has moved, those of the group are asked for again.
//!
//! ```text
//! BEGIN, checkpoint, rows   EXECUTE twinlog_0   EXECUTE twinlog_1   how often prepared anew?   (definitions)   COMMIT
//! ```
//! Statements are of a block of tables, for a join has at most 61, and are of use where a group changes several of a
//! block. Other tables are asked for one by one.

use std::collections::HashMap;
use std::sync::Arc;

use wire::{Answer, Connection};

use crate::apply::Failure;
use crate::attempt::{self, Owner, definition_question};
use crate::catalog::{TargetTable, definition_in};
use crate::{Error, sql};

/// Of a block with fewer tables in a group, each is asked for by itself.
const MANY: usize = 8;
/// Tables of a statement.
const BLOCK: usize = 60;
/// Statements of a session: tables beyond them are asked for by themselves.
const BLOCKS: usize = 16;

/// How often the session prepared a statement anew because one of its tables was not the same.
const PREPARED_ANEW: &str =
    "SELECT VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Com_stmt_reprepare'";

/// What one session of the target has prepared, and what it knows by that.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    blocks: Vec<Block>,
    /// By its quoted name, which block a table is in.
    block_of: HashMap<String, usize>,
    /// [`PREPARED_ANEW`], when it was asked last.
    prepared_anew: Option<String>,
    /// The target refuses the statements: a table may be hidden from this account.
    is_off: bool,
}

#[derive(Debug, Default)]
struct Block {
    /// Quoted.
    names: Vec<String>,
    is_prepared: bool,
    /// Definitions that hold while nothing is prepared anew.
    known: HashMap<String, String>,
}

/// What is asked about a group's tables behind its rows.
#[derive(Debug, Default)]
pub(crate) struct Asked<'t> {
    /// Numbers of blocks, with the group's tables in them.
    blocks: Vec<(usize, Vec<&'t Arc<TargetTable>>)>,
    /// Asked for one by one.
    alone: Vec<&'t Arc<TargetTable>>,
}

impl<'t> Asked<'t> {
    /// The definition of each.
    fn one_by_one(tables: &'t [Arc<TargetTable>]) -> Self {
        Self { blocks: Vec::new(), alone: tables.iter().collect() }
    }

    /// Are prepared statements among it?
    pub(crate) fn is_by_statements(&self) -> bool {
        !self.blocks.is_empty()
    }

    pub(crate) fn statements(&self) -> Vec<String> {
        let run = self.blocks.iter().map(|(number, _)| format!("EXECUTE {}", statement_name(*number)));
        let count = (!self.blocks.is_empty()).then(|| PREPARED_ANEW.to_owned());
        let definitions = self.alone.iter().map(|table| definition_question(table));
        run.chain(count).chain(definitions).collect()
    }
}

impl Versions {
    /// Chooses what to ask, and prepares what that needs. Not within a transaction: its locks would stay.
    pub(crate) async fn choose<'t>(
        &mut self,
        connection: &mut Connection,
        tables: &'t [Arc<TargetTable>],
    ) -> Result<Asked<'t>, Error> {
        if self.is_off || tables.len() < MANY {
            return Ok(Asked::one_by_one(tables));
        }
        let mut of_blocks: Vec<Vec<&Arc<TargetTable>>> = vec![Vec::new(); BLOCKS];
        let mut asked = Asked::default();
        for table in tables {
            match self.place(table) {
                Some(number) => of_blocks[number].push(table),
                None => asked.alone.push(table),
            }
        }
        for (number, tables) in of_blocks.into_iter().enumerate() {
            if tables.len() >= MANY && self.prepare(connection, number).await? {
                asked.blocks.push((number, tables));
            } else {
                asked.alone.extend(tables);
            }
        }
        Ok(asked)
    }

    /// The first table that is not what the group was checked against, by the answers to what was asked. Under the
    /// locks of the group still, which is rolled back when this fails.
    pub(crate) async fn altered<'t>(
        &mut self,
        owner: &Owner,
        connection: &mut Connection,
        asked: &Asked<'t>,
        answers: &[Answer],
    ) -> Result<Option<&'t TargetTable>, Failure> {
        let mut rest = answers.get(asked.blocks.len()..).unwrap_or_default();
        if !asked.blocks.is_empty() {
            self.heed(rest.first());
            rest = rest.get(1..).unwrap_or_default();
        }
        if let Some(table) = attempt::altered(asked.alone.iter().copied(), rest) {
            return Ok(Some(table));
        }
        let in_blocks = || asked.blocks.iter().flat_map(|(n, tables)| tables.iter().map(move |t| (*n, *t)));
        let unknown: Vec<_> =
            in_blocks().filter(|(n, t)| !self.blocks[*n].known.contains_key(&name(t))).collect();
        if !unknown.is_empty() {
            let told = owner.definitions(connection, unknown.iter().map(|(_, table)| *table)).await?;
            for ((number, table), answer) in unknown.iter().zip(&told) {
                if let Some(create) = definition_in(answer) {
                    self.blocks[*number].known.insert(name(table), create);
                }
            }
        }
        let differs = |(n, table): &(usize, &Arc<TargetTable>)| {
            self.blocks[*n].known.get(&name(table)) != Some(&table.create)
        };
        Ok(in_blocks().find(differs).map(|(_, table)| &**table))
    }

    /// Nothing is known any more, and everything is prepared again: a statement was refused, and one of ours may be why.
    pub(crate) fn forget(&mut self) {
        *self = Self { is_off: self.is_off, ..Self::default() };
    }

    /// The block of a table, as far as there is room for it.
    fn place(&mut self, table: &TargetTable) -> Option<usize> {
        let name = name(table);
        if let Some(number) = self.block_of.get(&name) {
            return Some(*number);
        }
        if self.blocks.last().is_none_or(|block| block.names.len() == BLOCK) {
            if self.blocks.len() == BLOCKS {
                return None;
            }
            self.blocks.push(Block::default());
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        block.names.push(name.clone());
        block.is_prepared = false;
        self.block_of.insert(name, number);
        Some(number)
    }

    /// `false` if the target refuses it.
    async fn prepare(&mut self, connection: &mut Connection, number: usize) -> Result<bool, Error> {
        let block = &mut self.blocks[number];
        if block.is_prepared {
            return Ok(true);
        }
        // What is prepared has the numbers of now: nobody says what happened between its last run and this.
        block.known.clear();
        let select = format!("SELECT 1 FROM {} LIMIT 0", block.names.join(", "));
        let prepare = format!("PREPARE {} FROM {}", statement_name(number), sql::text(&select));
        match connection.execute(prepare).await {
            Ok(_) => block.is_prepared = true,
            Err(wire::Error::Server(source)) => {
                tracing::debug!(error = %source, "definitions are asked for one by one");
                self.is_off = true;
            }
            Err(error) => return Err(Error::target("preparing to ask for definitions")(error)),
        }
        Ok(block.is_prepared)
    }

    /// Forgets all definitions if a statement was prepared anew, whichever: a group that failed in between has not
    /// looked.
    fn heed(&mut self, answer: Option<&Answer>) {
        let count = answer.and_then(count_in);
        if count.is_none() || count != self.prepared_anew {
            self.blocks.iter_mut().for_each(|block| block.known.clear());
        }
        self.prepared_anew = count;
    }
}

fn name(table: &TargetTable) -> String {
    sql::table(&table.database, &table.table)
}

fn statement_name(number: usize) -> String {
    format!("twinlog_{number}")
}

fn count_in(answer: &Answer) -> Option<String> {
    let Answer::Rows(rows) = answer else { return None };
    rows.first()?.text("VARIABLE_VALUE").ok()
}
