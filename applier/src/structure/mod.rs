//! The structure of what is in step, made in the target where it is missing: `initial = "structure"`.
//!
//! ```text
//! source ─ read.rs ─▶ definitions ─ plan.rs ─▶ steps ─ steps.rs ─▶ <meta>.structure ─ run.rs ─▶ target
//!                                      ▲
//!                       existing.rs ───┘ what is there already
//! ```
//! Indexes of large tables are steps that wait until the rows are copied: `behind.rs`.
//!
//! The definitions are read twice around the source's `gtid_executed`, until both readings are alike: so they are those
//! of that very set, and the link begins behind it. A statement that alters a table later comes over the link.
//!
//! **Promise 2** (exactly once) holds here too: all steps are written down before the first is run, each with a GTID of
//! the link's own, so that after a kill at any moment it is known which have run. **Promise 4**: that uuid belongs to
//! the source's region, so that the way back leaves the statements out.
//!
//! `CREATE` statements run with `foreign_key_checks = 0`, so that tables can be made in any order, also those that are
//! each other's parents.

mod behind;
mod existing;
mod plan;
mod read;
mod run;
mod steps;

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::Connection;

use crate::filter::Filter;
use crate::life::gate::Gate;
use crate::meta::Meta;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::source::Source;
use crate::{Config, Error, target};
use binlog::GtidSet;

use steps::Planned;

pub(crate) use behind::{Behind, make as make_behind, waiting};
pub(crate) use steps::{COLUMNS, TABLE};

/// Namespace of the uuids that links own.
const LINKS: Uuid = Uuid::from_u128(0x7477_696e_6c6f_672d_6c69_6e6b_2d75_7569);
/// How often definitions that change while they are read are read again.
const ATTEMPTS: usize = 20;

/// What else is made with the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// Triggers. They do not fire for what a link applies.
    pub triggers: bool,
    /// Procedures and functions.
    pub routines: bool,
    /// Events, disabled.
    pub events: bool,
    /// Definers are left out: the account that writes is the definer.
    pub definer_is_writer: bool,
}

/// The GTID uuid of what a link runs by itself. It is the same wherever and whenever it is asked for, so that the way
/// back and every other region know whose it is.
pub(crate) fn link_uuid(link: &LinkKey) -> Uuid {
    Uuid::new_v5(&LINKS, link.text().as_bytes())
}

/// Where a paused link waits before it makes the next object.
#[derive(Clone, Copy)]
pub(crate) struct Pause<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) stop: &'a CancellationToken,
}

impl Pause<'_> {
    async fn pass(self) -> Result<(), Error> {
        if self.gate.pass(self.stop).await { Ok(()) } else { Err(Error::Stopped) }
    }
}

/// What is to be made, and what for.
pub(crate) struct Task<'a> {
    /// Of what is in step by this.
    pub(crate) filter: &'a Filter,
    /// Tells this from what else was planned for the link, at other times.
    pub(crate) of: String,
    /// What was planned is gone on with only if its definitions are of a moment behind this.
    pub(crate) behind: &'a GtidSet,
    /// These tables of the source may stay in the target as they are, if they are there.
    pub(crate) stay: &'a [Name],
}

/// What was made.
pub(crate) struct Made {
    /// The set of the source's transactions that the definitions are of.
    pub(crate) begin: GtidSet,
    /// Every table in step then.
    pub(crate) tables: Vec<Name>,
}

/// The tables of what was planned and begun, if it was for this: see [`Task`].
pub(crate) async fn begun(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    of: &str,
    behind: &GtidSet,
) -> Result<Vec<Name>, Error> {
    let planned = steps::load(connection, schema, link).await?.filter(Planned::has_begun);
    let planned = planned.filter(|planned| planned.is_for(of, behind));
    Ok(planned.map(|planned| planned.tables).unwrap_or_default())
}

/// Makes what is missing.
///
/// Cancellation safe: what has run is known from its GTID.
pub(crate) async fn make(
    config: &Config,
    link: &LinkKey,
    connection: &mut Connection,
    meta: &Meta,
    source: &mut Source,
    task: &Task<'_>,
    pause: Pause<'_>,
) -> Result<Made, Error> {
    let begun = steps::load(connection, &meta.schema, link).await?;
    if let Some(planned) = begun.filter(Planned::has_begun) {
        // Whatever it was for: a statement of it may be about to commit.
        run::all(connection, &meta.schema, link, &planned, pause).await?;
        if planned.is_for(&task.of, task.behind) {
            return Ok(Made { begin: planned.begin, tables: planned.tables });
        }
    }
    let Read { definitions, begin, large } = definitions(config, task.filter, source).await?;
    let is_table = |d: &&read::Definition| d.kind == read::Kind::Table;
    let name = |d: &read::Definition| (d.database.clone(), d.name.clone());
    let tables: Vec<Name> = definitions.iter().filter(is_table).map(name).collect();
    let wanted = plan::Wanted {
        filter: task.filter,
        programs: config.load.programs,
        version: connection.server_version(),
    };
    let needed = behind::needed(&definitions);
    let mut statements = plan::plan(definitions, &wanted)?;
    existing::settle(connection, config, task.stay, &mut statements).await?;
    behind::split(connection, &large, &needed, &mut statements).await?;
    pause.pass().await?;
    let planned = Planned { of: task.of.clone(), begin, tables, steps: Vec::new() };
    let planned = steps::write(connection, &meta.schema, link, planned, statements).await?;
    run::all(connection, &meta.schema, link, &planned, pause).await?;
    pause.pass().await?;
    Ok(Made { begin: planned.begin, tables: planned.tables })
}

/// The definitions of one moment.
struct Read {
    definitions: Vec<read::Definition>,
    /// The source's transactions up to it.
    begin: GtidSet,
    /// Tables with many rows, where rows are copied.
    large: HashSet<Name>,
}

async fn definitions(config: &Config, filter: &Filter, source: &mut Source) -> Result<Read, Error> {
    let mut reader = target::connect_source(&config.source_servers).await?;
    let mut before = read::all(&mut reader, filter, config.load.programs).await?;
    for _ in 0..ATTEMPTS {
        let begin = source.executed().await?;
        let after = read::all(&mut reader, filter, config.load.programs).await?;
        if read::are_alike(&before, &after) {
            // Where no rows are copied, none are waited for.
            let large = match config.load.initial.has_data() {
                true => behind::large(&mut reader).await?,
                false => HashSet::new(),
            };
            return Ok(Read { definitions: after, begin, large });
        }
        before = after;
    }
    Err(Error::DefinitionChanged { table: "of the source".into() })
}
