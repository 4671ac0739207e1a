//! Numbers of the protocol, from MySQL's `mysql_com.h` and `my_command.h`.

/// Capability flags of the handshake.
pub(crate) mod capability {
    pub(crate) const LONG_PASSWORD: u32 = 1;
    pub(crate) const LONG_FLAG: u32 = 1 << 2;
    pub(crate) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const SSL: u32 = 1 << 11;
    pub(crate) const TRANSACTIONS: u32 = 1 << 13;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const MULTI_STATEMENTS: u32 = 1 << 16;
    pub(crate) const MULTI_RESULTS: u32 = 1 << 17;
    pub(crate) const PS_MULTI_RESULTS: u32 = 1 << 18;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(crate) const CONNECT_ATTRS: u32 = 1 << 20;
    pub(crate) const PLUGIN_AUTH_LENENC_DATA: u32 = 1 << 21;
    pub(crate) const SESSION_TRACK: u32 = 1 << 23;
    pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
    pub(crate) const ZSTD_COMPRESSION: u32 = 1 << 26;
}

/// Status flags of OK and EOF packets.
pub(crate) mod status {
    pub(crate) const AUTOCOMMIT: u16 = 0x0002;
    pub(crate) const MORE_RESULTS_EXISTS: u16 = 0x0008;
    pub(crate) const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
    pub(crate) const SESSION_STATE_CHANGED: u16 = 0x4000;
}

/// Kinds of session state that an OK packet tells of.
pub(crate) mod session_state {
    pub(crate) const GTIDS: u8 = 3;
}

/// First byte of a command.
pub(crate) mod command {
    pub(crate) const QUIT: u8 = 0x01;
    pub(crate) const INIT_DB: u8 = 0x02;
    pub(crate) const QUERY: u8 = 0x03;
    pub(crate) const FIELD_LIST: u8 = 0x04;
    pub(crate) const STATISTICS: u8 = 0x09;
    pub(crate) const PING: u8 = 0x0e;
    pub(crate) const BINLOG_DUMP: u8 = 0x12;
    pub(crate) const REGISTER_REPLICA: u8 = 0x15;
    pub(crate) const STMT_PREPARE: u8 = 0x16;
    pub(crate) const SET_OPTION: u8 = 0x1b;
    pub(crate) const BINLOG_DUMP_GTID: u8 = 0x1e;
    pub(crate) const RESET_CONNECTION: u8 = 0x1f;
}

/// First byte of an answer.
pub(crate) mod header {
    pub(crate) const OK: u8 = 0x00;
    pub(crate) const AUTH_MORE_DATA: u8 = 0x01;
    pub(crate) const LOCAL_INFILE: u8 = 0xfb;
    /// EOF, the OK that ends a result set, and the request to switch the authentication.
    pub(crate) const EOF: u8 = 0xfe;
    pub(crate) const ERR: u8 = 0xff;
}

/// Names of authentication plugins.
pub(crate) mod plugin {
    pub(crate) const CACHING_SHA2: &str = "caching_sha2_password";
    pub(crate) const NATIVE: &str = "mysql_native_password";
}

/// The magic byte before a semi-sync flag and before a semi-sync reply.
pub(crate) const SEMI_SYNC_MAGIC: u8 = 0xef;

/// The largest chunk of a packet; a chunk of this size is followed by another, be it empty.
pub(crate) const MAX_CHUNK: usize = 0xff_ffff;

/// MySQL's own upper limit for `max_allowed_packet`, plus room for what stands before an event in a
/// dump: the largest packet that can be.
pub(crate) const MAX_PACKET: usize = (1 << 30) + (1 << 16);

/// `utf8mb4_general_ci`, known to every server; `utf8mb4_0900_ai_ci`, the default since 8.0.
pub(crate) const UTF8MB4_GENERAL_CI: u8 = 45;
pub(crate) const UTF8MB4_0900_AI_CI: u8 = 255;
