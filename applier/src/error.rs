//! What can go wrong on a link, and what to do about it.

use binlog::event::EventError;
use binlog::payload::PayloadError;
use binlog::transaction::SequenceError;
use binlog::{Gtid, GtidSet};
use uuid::Uuid;
use wire::ServerError;

use crate::Kind;

/// Why a link could not start or go on. [`Error::is_transient`] says whether trying again may help,
/// [`Error::remedy`] what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be talked to.
    #[error("{server}: {doing}")]
    Wire {
        /// `target` or `source`.
        server: &'static str,
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        #[source]
        source: wire::Error,
    },
    /// A server's setting makes the link impossible.
    #[error("{server}: {name} is {value}, and must be {wanted}")]
    Setting {
        /// `target` or `source`.
        server: &'static str,
        /// The variable.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The account may not do what an applier does.
    #[error("target: user {user} lacks a privilege: {missing}")]
    Privilege {
        /// The account's user name.
        user: String,
        /// The statement that grants it.
        missing: String,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// What answers is not the relay that the link reads.
    #[error("source: the relay at {address} serves region {serves} of sync {sync}, not {wanted}")]
    WrongRelay {
        /// The address.
        address: String,
        /// Its region.
        serves: String,
        /// Its sync.
        sync: String,
        /// The region the link reads.
        wanted: String,
    },
    /// The relay has nothing to serve yet.
    #[error("source: the relay has not reached its own source yet")]
    RelayNotReady,
    /// The stream ended.
    #[error("source: the stream ended")]
    StreamEnded,
    /// The link was told to stop while it waited.
    #[error("stopped while it waited for the target's relay")]
    Stopped,
    /// More keys were written in the target unseen by the source than the conflict window holds.
    #[error("target: more than {keys} keys were written in region {region} that the source has not seen")]
    WindowFull {
        /// The target's region.
        region: String,
        /// How many the window holds.
        keys: usize,
    },
    /// The meta schema was written by another region: a restored copy.
    #[error("target: schema {schema} belongs to region {found}, and this link writes into {wanted}")]
    ForeignMeta {
        /// The schema.
        schema: String,
        /// The region in it.
        found: String,
        /// The region the link writes into.
        wanted: String,
    },
    /// The link has run before, and its checkpoint is gone.
    #[error("target: link {link} has run before ({evidence}), and schema {schema} has no checkpoint of it")]
    CheckpointLost {
        /// The link's key.
        link: String,
        /// The schema.
        schema: String,
        /// How that is known.
        evidence: &'static str,
    },
    /// Another applier holds the link now.
    #[error("link {link} was taken over by another applier")]
    Fenced {
        /// The link's key.
        link: String,
    },
    /// Servers of two regions have one uuid.
    #[error("uuid {uuid} is that of a server of region {region}, and was noted for region {owner}")]
    UuidClaimed {
        /// The uuid.
        uuid: Uuid,
        /// Whose it was noted to be.
        owner: String,
        /// Where it is found now.
        region: String,
    },
    /// A transaction's GTID uuid belongs to no region.
    #[error("transaction {gtid}: no region owns uuid {uuid}")]
    UnknownOrigin {
        /// The transaction.
        gtid: Gtid,
        /// Its uuid.
        uuid: Uuid,
    },
    /// A transaction begins with a checkpoint row that does not fit.
    #[error("transaction {gtid}: its stamp does not fit: {what}")]
    BadStamp {
        /// The transaction.
        gtid: Gtid,
        /// What is wrong with it.
        what: String,
    },
    /// An event can't be read.
    #[error("transaction {gtid}: malformed event")]
    Event {
        /// The transaction, or where in the stream.
        gtid: String,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
    /// Events do not make transactions.
    #[error("after transaction {after}: the stream is out of order")]
    Sequence {
        /// The last whole transaction.
        after: String,
        /// What is wrong.
        #[source]
        source: SequenceError,
    },
    /// A compressed transaction can't be opened.
    #[error("transaction {gtid}: its compressed payload can't be opened")]
    Payload {
        /// The transaction.
        gtid: Gtid,
        /// Why.
        #[source]
        source: PayloadError,
    },
    /// Something in a transaction is not understood, or can't be applied exactly.
    #[error("transaction {gtid}: {what}")]
    NotApplicable {
        /// The transaction.
        gtid: String,
        /// What it is.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A table of the link is not in the target.
    #[error("transaction {gtid}: the target has no table {table}")]
    NoTable {
        /// The transaction.
        gtid: Gtid,
        /// `database.table`.
        table: String,
    },
    /// A table's definition in the target is another than the transaction was made under.
    #[error(
        "transaction {gtid}: table {table} does not fit: {difference}\n  source: {source_definition}\n  target: {target_definition}"
    )]
    TableDiffers {
        /// The transaction.
        gtid: Gtid,
        /// `database.table`.
        table: String,
        /// The first difference.
        difference: String,
        /// The columns as the transaction has them.
        source_definition: String,
        /// The columns as the target has them.
        target_definition: String,
    },
    /// A table was altered in the target while a group was applied; the group was rolled back.
    #[error("table {table} was altered in the target; reading its definition again")]
    DefinitionChanged {
        /// `database.table`.
        table: String,
    },
    /// A row met another than it expects, and nobody has decided who wins.
    #[error("transaction {gtid}: {operation} of {table} at {key} can't be applied: {what} (conflict {id}){detail}", what = conflict_text(*kind), detail = behind_colon(detail))]
    Conflict {
        /// The transaction.
        gtid: Gtid,
        /// `database.table`.
        table: String,
        /// `insert`, `update` or `delete`.
        operation: &'static str,
        /// The row's key, as JSON.
        key: String,
        /// What it met.
        kind: Kind,
        /// What the command line knows the conflict by: `region/number`.
        id: String,
        /// Its number in the target's conflict table.
        number: u64,
        /// What the server said; empty where it said nothing.
        detail: String,
    },
    /// A row event is larger than a statement to the target may be.
    #[error(
        "transaction {gtid}: a row event of {bytes} bytes is larger than the target's max_allowed_packet lets through ({limit} bytes)"
    )]
    RowTooLarge {
        /// The transaction.
        gtid: Gtid,
        /// Bytes of the event.
        bytes: usize,
        /// Bytes of the largest that goes through: three quarters of the packet.
        limit: usize,
    },
    /// A transaction could not be applied, and no single row of it is to blame.
    #[error("transaction {gtid} can't be applied")]
    Apply {
        /// The transaction.
        gtid: String,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// A DDL statement on a table of a link with `ddl = false`.
    #[error("transaction {gtid}: DDL on {object}, and the link has ddl = false: {statement}")]
    DdlOff {
        /// The transaction.
        gtid: Gtid,
        /// What it is on.
        object: String,
        /// The statement.
        statement: String,
    },
    /// A DDL statement failed in the target.
    #[error("transaction {gtid}: DDL failed in the target: {statement}")]
    Ddl {
        /// The transaction.
        gtid: Gtid,
        /// The statement.
        statement: String,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// The target has executed a DDL's GTID, and it was not this statement.
    #[error("transaction {gtid}: the target has this GTID already, and not from this link: {statement}")]
    Diverged {
        /// The transaction.
        gtid: Gtid,
        /// The statement.
        statement: String,
    },
    /// A table can't be copied.
    #[error("initial copy of {table}: {what}")]
    Copy {
        /// `database.table`, in the names of the source.
        table: String,
        /// What stands in the way.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The source no longer has what the link needs.
    #[error("source: transactions that the link needs are gone: {missing}")]
    Purged {
        /// The missing GTIDs, as far as they are known.
        missing: GtidSet,
        /// What the server said.
        #[source]
        source: wire::Error,
    },
}

impl Error {
    pub(crate) fn target(doing: &'static str) -> impl Fn(wire::Error) -> Self {
        move |source| Self::Wire { server: "target", doing, source }
    }

    pub(crate) fn source(doing: &'static str) -> impl Fn(wire::Error) -> Self {
        move |source| Self::Wire { server: "source", doing, source }
    }

    /// May the same thing go well when it is tried again?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Wire { source, .. } => source.is_transient(),
            // A row can meet a lock, or a target that turns read-only.
            Self::Apply { source, .. } | Self::Ddl { source, .. } => source.is_transient(),
            Self::RelayNotReady | Self::StreamEnded | Self::Stopped | Self::DefinitionChanged { .. } => true,
            _ => false,
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Setting { name: "gtid_mode", .. } => {
                "switch GTIDs on: SET GLOBAL enforce_gtid_consistency = ON, then gtid_mode step by step to ON".into()
            }
            Self::Setting { name, wanted, .. } => format!("SET PERSIST {name} = {wanted}"),
            Self::Privilege { missing, .. } => missing.clone(),
            Self::WrongRelay { .. } => "correct relay.address in the configuration".into(),
            Self::ForeignMeta { schema, .. } => format!(
                "this server is a copy of another region's; if it is to begin anew, drop schema {schema} and run twinlog link reset"
            ),
            Self::CheckpointLost { .. } => {
                "restore the schema, or begin anew with twinlog link reset".into()
            }
            Self::Fenced { .. } => "run one applier for each link, and stop the other".into(),
            Self::UuidClaimed { uuid, region, .. } => format!(
                "if a server was copied with its auto.cnf, delete that file there and restart it; if the uuid has moved for good, add {uuid} to gtid_uuids of region {region}"
            ),
            Self::UnknownOrigin { uuid, .. } => {
                format!("add {uuid} to gtid_uuids of the region it belongs to, and restart the link")
            }
            Self::BadStamp { .. } => {
                "find who wrote to the checkpoint table: it is for the link's account alone".into()
            }
            Self::NotApplicable { remedy, .. } | Self::Copy { remedy, .. } => remedy.clone(),
            Self::NoTable { table, .. } => {
                format!("create {table} in the target, or leave it out of [sync] tables")
            }
            Self::TableDiffers { table, .. } => {
                format!("make {table} alike in source and target, then start the link again")
            }
            Self::Conflict { id, .. } => format!(
                "look at both rows with twinlog conflicts, then decide with twinlog conflicts resolve {id} \
                 --take source|target|skip"
            ),
            Self::Apply { .. } => {
                "make the row in the target what the change expects, then start the link again".into()
            }
            Self::WindowFull { .. } => {
                "bring the way back up to date first: what it has applied leaves the window".into()
            }
            Self::RowTooLarge { bytes, .. } => format!(
                "SET PERSIST max_allowed_packet = {} in the target, at least, then start the link again",
                (bytes / 3 * 4 + (1 << 20)).next_multiple_of(1024)
            ),
            Self::DdlOff { .. } => {
                "run it in the target too and set ddl = true on one link, or skip it with twinlog link skip --gtid".into()
            }
            Self::Ddl { .. } => "mend what stands in its way, or skip it with twinlog link skip --gtid".into(),
            Self::Diverged { .. } => {
                "compare the regions: the source has used a GTID twice, or the target had another source".into()
            }
            Self::Purged { .. } => {
                "copy the tables again and begin anew with twinlog link reset; raise relay.retain for the future".into()
            }
            Self::Wire { .. }
            | Self::RelayNotReady
            | Self::StreamEnded
            | Self::Stopped
            | Self::Event { .. }
            | Self::Sequence { .. }
            | Self::Payload { .. }
            | Self::DefinitionChanged { .. } => return None,
        })
    }
}

fn behind_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// What a kind of conflict means, for people.
fn conflict_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Exists => "a row with this key is there",
        Kind::Missing => "the row is not there",
        Kind::Changed => "the row was changed in the target unseen by the source",
        Kind::Unique => "another row has one of its unique keys",
        Kind::Parent => "a foreign key refuses it",
        Kind::Json => "the JSON document in the target is another",
        Kind::Other => "the target refuses the values",
    }
}

#[cfg(test)]
mod tests {
    use wire::ServerError;

    use super::Error;

    #[test]
    fn a_transaction_that_meets_a_lock_is_tried_again_and_one_that_is_refused_is_not() {
        let refused = |code| Error::Apply {
            gtid: "u:1".into(),
            source: ServerError::new(code, "HY000", "said the server"),
        };
        for code in [1205, 1213, 1290] {
            assert!(refused(code).is_transient(), "{code}");
        }
        for code in [1032, 1062, 1452] {
            assert!(!refused(code).is_transient(), "{code}");
        }
    }
}
