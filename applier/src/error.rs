//! What can go wrong on a link, and what to do about it.

use std::path::PathBuf;

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
    /// A file of the conflict window can't be read.
    #[error("a file of the conflict window can't be read")]
    WindowFile {
        /// How it failed.
        #[source]
        source: std::io::Error,
    },
    /// The rows of a large transaction can't be kept in a file.
    #[error("keeping a large transaction in {}", dir.display())]
    Spill {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The conflict window lacks transactions of the target that rows in flight may have to be brought behind.
    #[error("waiting for relay {region}: the conflict window lacks transactions of the target")]
    WindowBehind {
        /// The target's region.
        region: String,
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
    /// A table of the source was dropped, renamed or filled while a copy of it began or went on.
    #[error("table {table} of the source is not what it was a moment ago; looking at it again")]
    SourceMoved {
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
    /// A definition can't be read at the source.
    #[error("source: the definition of {object} can't be read")]
    Unreadable {
        /// Its kind and name.
        object: String,
        /// The privilege that reading it takes.
        needs: &'static str,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// An object can't be made in the target under the names that it has there.
    #[error("{object} can't be made in the target: {why}")]
    CannotMake {
        /// Its kind and name at the source.
        object: String,
        /// Why.
        why: String,
    },
    /// What a link is to make is in the target already, and is not what it would make.
    #[error("target: {} of what is to be made can't be used as it is there:\n  {}", objects.len(), objects.join("\n  "))]
    InTheWay {
        /// What, and why.
        objects: Vec<String>,
        /// The link has `existing = "keep"`.
        keep: bool,
    },
    /// The target refuses a definition.
    #[error("target: {object} can't be made: {statement}")]
    Structure {
        /// Its kind and name.
        object: String,
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
    /// A transaction that somebody wants to get past, and that can't be skipped.
    #[error("transaction {gtid} can't be skipped: {why}")]
    NotSkipped {
        /// The transaction.
        gtid: Gtid,
        /// Why.
        why: String,
        /// What to do.
        remedy: String,
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

    /// Did the target's server refuse, or go away?
    pub(crate) fn is_of_target(&self) -> bool {
        matches!(self, Self::Wire { server: "target", .. })
    }

    /// May the same thing go well when it is tried again?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Wire { source, .. } => source.is_transient(),
            // A row can meet a lock, or a target that turns read-only.
            Self::Apply { source, .. }
            | Self::Ddl { source, .. }
            | Self::Unreadable { source, .. }
            | Self::Structure { source, .. } => source.is_transient(),
            Self::RelayNotReady | Self::StreamEnded | Self::Stopped | Self::Spill { .. } => true,
            Self::DefinitionChanged { .. }
            | Self::SourceMoved { .. }
            | Self::WindowFile { .. }
            | Self::WindowBehind { .. } => true,
            _ => false,
        }
    }

    /// What a person can do about it.
    #[expect(clippy::too_many_lines, reason = "an arm an error")]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Setting { name: "gtid_mode", .. } => {
                "switch GTIDs on: SET GLOBAL enforce_gtid_consistency = ON, then gtid_mode step by step to ON".into()
            }
            Self::Setting { name, wanted, .. } => format!("SET PERSIST {name} = {wanted}"),
            Self::Privilege { missing, .. } => missing.clone(),
            Self::WrongRelay { .. } => {
                "correct relay.address in the configuration, and run twinlog reload".into()
            }
            Self::ForeignMeta { schema, .. } => format!(
                "this server is a copy of another region's; if it is to begin anew, drop schema {schema} and run twinlog link reset"
            ),
            Self::CheckpointLost { .. } => {
                "restore the schema, or begin anew with twinlog link reset".into()
            }
            Self::Fenced { .. } => "run one applier for each link: stop the other, then twinlog link start".into(),
            Self::UuidClaimed { uuid, region, .. } => format!(
                "if a server was copied with its auto.cnf, delete that file there and restart it; if the uuid has moved for good, add {uuid} to gtid_uuids of region {region}"
            ),
            Self::Spill { dir, .. } => format!(
                "make room in {}, or let it be written; [sync] state_dir says where it is",
                dir.display()
            ),
            Self::UnknownOrigin { uuid, .. } => {
                format!("add {uuid} to gtid_uuids of the region it belongs to, and run twinlog reload: the link goes on")
            }
            Self::BadStamp { .. } => {
                "find who wrote to the checkpoint table: it is for the link's account alone".into()
            }
            Self::NotApplicable { remedy, .. } | Self::NotSkipped { remedy, .. } | Self::Copy { remedy, .. } => {
                remedy.clone()
            }
            Self::NoTable { table, .. } => {
                format!("create {table} in the target, and the link goes on by itself; or leave it out of [sync] tables, then twinlog reload")
            }
            Self::TableDiffers { table, .. } => {
                format!("make {table} alike in source and target; the link goes on by itself once the target's is altered, or by twinlog link start")
            }
            Self::Conflict { id, .. } => format!(
                "look at both rows with twinlog conflicts, then decide with twinlog conflicts resolve {id} \
                 --take source|target|skip"
            ),
            // What passes needs no start.
            Self::Apply { source, .. } | Self::Ddl { source, .. } if source.is_transient() => {
                return source.help().map(str::to_owned);
            }
            Self::Wire { source, .. } if source.help().is_some() => {
                return source.help().map(str::to_owned);
            }
            Self::Apply { .. } => {
                "make the row in the target what the change expects, then twinlog link start".into()
            }
            Self::WindowFile { .. } => {
                "look at the disk of state_dir; the window is built anew from the target's relay".into()
            }
            Self::RowTooLarge { bytes, .. } => format!(
                "SET PERSIST max_allowed_packet = {} in the target, at least, then twinlog link start; or, if its \
                 table has a key and no triggers, GRANT TRIGGER on it to the link's account, by which it sees that",
                (bytes / 3 * 4 + (1 << 20)).next_multiple_of(1024)
            ),
            Self::DdlOff { .. } => {
                "run it in the target too, then skip it with twinlog link skip --gtid; ddl = true on one link of the pair carries such statements".into()
            }
            Self::Ddl { .. } => "mend what stands in its way, then twinlog link start, or skip it with twinlog link skip --gtid".into(),
            Self::Unreadable { needs, .. } => format!("grant {needs} to the account that reads (mysql.reader_user)"),
            Self::CannotMake { object, .. } => {
                format!("make {object} by hand, and leave it out of [sync] tables or of load")
            }
            Self::InTheWay { keep: false, .. } => {
                "drop them, or use them as they are with existing = \"keep\"; nothing was made".into()
            }
            Self::InTheWay { keep: true, .. } => {
                "alter them until rows fit, or drop them; nothing was made".into()
            }
            Self::Structure { object, source, .. } => structure_remedy(object, source),
            Self::Diverged { .. } => {
                "compare the regions: the source has used a GTID twice, or the target had another source".into()
            }
            Self::Purged { .. } => {
                "copy the tables again and begin anew with twinlog link reset; raise relay.retain for the future".into()
            }
            Self::Sequence { source, .. } => return source.remedy().map(Into::into),
            Self::Payload { source: PayloadError::Algorithm(_), .. } => {
                "upgrade twinlog; or set binlog_transaction_compression = OFF at the source, do in the target what the transaction did, then skip it with twinlog link skip --gtid".into()
            }
            Self::Wire { .. }
            | Self::Payload { .. }
            | Self::RelayNotReady
            | Self::StreamEnded
            | Self::Stopped
            | Self::Event { .. }
            | Self::WindowBehind { .. }
            | Self::DefinitionChanged { .. }
            | Self::SourceMoved { .. } => return None,
        })
    }
}

/// What a refused definition takes.
fn structure_remedy(object: &str, source: &ServerError) -> String {
    let privilege = match object.split(' ').next() {
        Some("view") => "CREATE VIEW, SELECT",
        Some("trigger") => "TRIGGER",
        Some("function" | "procedure") => "CREATE ROUTINE",
        Some("event") => "EVENT",
        Some("indexes") => "ALTER, CREATE, INSERT",
        _ => "CREATE, REFERENCES",
    };
    match source.code {
        1044 | 1142 | 1143 => {
            format!("grant {privilege} on its database to the account that writes (mysql.writer_user)")
        }
        1227 => {
            "grant what the server names to the account that writes, or set load.definers = \"writer\"".into()
        }
        1418 | 1419 => {
            "SET PERSIST log_bin_trust_function_creators = ON in the target, or leave it out of load".into()
        }
        3750 => "SET PERSIST sql_require_primary_key = OFF in the target, or give the table a key".into(),
        _ => "mend what the server names in the target, then start the link again".into(),
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
