//! The types of events.

/// An event's type; numbers from `Log_event_type`, `libs/mysql/binlog/event/binlog_event.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are MySQL's own; the manual describes each")]
pub enum EventKind {
    Query,
    Stop,
    Rotate,
    Intvar,
    Rand,
    UserVar,
    FormatDescription,
    Xid,
    BeginLoadQuery,
    ExecuteLoadQuery,
    TableMap,
    WriteRowsV1,
    UpdateRowsV1,
    DeleteRowsV1,
    Incident,
    Heartbeat,
    Ignorable,
    RowsQuery,
    WriteRows,
    UpdateRows,
    DeleteRows,
    Gtid,
    AnonymousGtid,
    PreviousGtids,
    TransactionContext,
    ViewChange,
    XaPrepare,
    PartialUpdateRows,
    TransactionPayload,
    HeartbeatV2,
    GtidTagged,
    /// A type not in this list, or one that no supported server writes.
    Other(u8),
}

const CODES: [(u8, EventKind); 31] = [
    (2, EventKind::Query),
    (3, EventKind::Stop),
    (4, EventKind::Rotate),
    (5, EventKind::Intvar),
    (13, EventKind::Rand),
    (14, EventKind::UserVar),
    (15, EventKind::FormatDescription),
    (16, EventKind::Xid),
    (17, EventKind::BeginLoadQuery),
    (18, EventKind::ExecuteLoadQuery),
    (19, EventKind::TableMap),
    (23, EventKind::WriteRowsV1),
    (24, EventKind::UpdateRowsV1),
    (25, EventKind::DeleteRowsV1),
    (26, EventKind::Incident),
    (27, EventKind::Heartbeat),
    (28, EventKind::Ignorable),
    (29, EventKind::RowsQuery),
    (30, EventKind::WriteRows),
    (31, EventKind::UpdateRows),
    (32, EventKind::DeleteRows),
    (33, EventKind::Gtid),
    (34, EventKind::AnonymousGtid),
    (35, EventKind::PreviousGtids),
    (36, EventKind::TransactionContext),
    (37, EventKind::ViewChange),
    (38, EventKind::XaPrepare),
    (39, EventKind::PartialUpdateRows),
    (40, EventKind::TransactionPayload),
    (41, EventKind::HeartbeatV2),
    (42, EventKind::GtidTagged),
];

/// The list turned into a table by code, so that looking a kind up costs nothing per event.
const BY_CODE: [EventKind; 256] = {
    let mut table = [EventKind::Other(0); 256];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i is below 256")]
        let code = i as u8;
        table[i] = EventKind::Other(code);
        i += 1;
    }
    let mut i = 0;
    while i < CODES.len() {
        table[CODES[i].0 as usize] = CODES[i].1;
        i += 1;
    }
    table
};

impl EventKind {
    /// The kind of this code.
    pub fn from_code(code: u8) -> Self {
        BY_CODE[usize::from(code)]
    }

    /// The code of this kind.
    pub fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            kind => CODES.iter().find(|(_, k)| *k == kind).map_or(0, |(code, _)| *code),
        }
    }

    /// Does it begin a transaction?
    pub fn is_gtid(self) -> bool {
        matches!(self, Self::Gtid | Self::AnonymousGtid | Self::GtidTagged)
    }

    /// Does it hold row images?
    pub fn is_rows(self) -> bool {
        matches!(
            self,
            Self::WriteRows
                | Self::UpdateRows
                | Self::DeleteRows
                | Self::PartialUpdateRows
                | Self::WriteRowsV1
                | Self::UpdateRowsV1
                | Self::DeleteRowsV1
        )
    }
}
