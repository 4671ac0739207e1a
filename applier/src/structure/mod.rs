//! The structure of what is in step, made in the target where it is missing: `initial = "structure"`.
//!
//! ```text
//! source ─ read.rs ─▶ definitions ─ plan.rs ─▶ steps ─ steps.rs ─▶ <meta>.structure ─ run.rs ─▶ target
//!                                      ▲
//!                       existing.rs ───┘ what is there already
//! ```
//! The definitions are read twice around the source's `gtid_executed`, until both readings are alike: so they are those
//! of that very set, and the link begins behind it. A statement that alters a table later comes over the link.
//!
//! **Promise 2** (exactly once) holds here too: all steps are written down before the first is run, each with a GTID of
//! the link's own, so that after a kill at any moment it is known which have run. **Promise 4**: that uuid belongs to
//! the source's region, so that the way back leaves the statements out.
//!
//! `CREATE` statements run with `foreign_key_checks = 0`, so that tables can be made in any order, also those that are
//! each other's parents.

mod existing;
mod plan;
mod read;
mod run;
mod steps;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::Connection;

use crate::filter::Filter;
use crate::life::gate::Gate;
use crate::meta::Meta;
use crate::origin::LinkKey;
use crate::source::Source;
use crate::{Config, Error, target};
use binlog::GtidSet;

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

/// Makes what is missing, and gives the set of the source's transactions that the definitions are of.
///
/// Cancellation safe: what has run is known from its GTID.
pub(crate) async fn make(
    config: &Config,
    link: &LinkKey,
    connection: &mut Connection,
    meta: &Meta,
    source: &mut Source,
    pause: Pause<'_>,
) -> Result<GtidSet, Error> {
    let filter = Filter::new(config.objects.clone(), &config.meta_schema);
    let begun = steps::load(connection, &meta.schema, link).await?;
    let planned = match begun.filter(|planned| planned.has_begun()) {
        Some(planned) => planned,
        None => {
            let (definitions, begin) = definitions(config, &filter, source).await?;
            let wanted = plan::Wanted {
                filter: &filter,
                programs: config.load.programs,
                version: connection.server_version(),
            };
            let mut statements = plan::plan(definitions, &wanted)?;
            existing::settle(connection, config, &mut statements).await?;
            pause.pass().await?;
            steps::write(connection, &meta.schema, link, &begin, statements).await?
        }
    };
    run::all(connection, &meta.schema, link, &planned, pause).await?;
    pause.pass().await?;
    Ok(planned.begin)
}

/// The definitions of one moment, and the source's transactions up to it.
async fn definitions(
    config: &Config,
    filter: &Filter,
    source: &mut Source,
) -> Result<(Vec<read::Definition>, GtidSet), Error> {
    let mut reader = target::connect_source(&config.source_servers).await?;
    let mut before = read::all(&mut reader, filter, config.load.programs).await?;
    for _ in 0..ATTEMPTS {
        let begin = source.executed().await?;
        let after = read::all(&mut reader, filter, config.load.programs).await?;
        if read::are_alike(&before, &after) {
            return Ok((after, begin));
        }
        before = after;
    }
    Err(Error::DefinitionChanged { table: "of the source".into() })
}
