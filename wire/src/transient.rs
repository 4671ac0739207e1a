//! Which errors of a server pass: the same command may succeed later though nobody has changed it, because the server
//! is full, going down, read-only for now, out of room, or somebody was in the way. One table, so that what waits and
//! what stops is decided in one place.

/// An error that may pass.
struct Passes {
    code: u16,
    /// What ends it sooner, where a person can do something.
    help: Option<&'static str>,
}

const fn by_itself(code: u16) -> Passes {
    Passes { code, help: None }
}

const fn helped(code: u16, help: &'static str) -> Passes {
    Passes { code, help: Some(help) }
}

const ROOM: &str = "make room on the server's disk; it goes on by itself";
const SESSIONS: &str = "let the account or the server have more sessions (max_connections, max_user_connections), or end others; it goes \
     on by itself";
const WRITABLE: &str = "let the server take writes (read_only, super_read_only), or let mysql.address name the one that does; it goes on by \
     itself";
const MEMORY: &str = "give the server more memory, or less to do; it goes on by itself";

/// By code. Names are MySQL's own.
const PASSES: [Passes; 44] = [
    helped(1021, ROOM),     // ER_DISK_FULL
    helped(1037, MEMORY),   // ER_OUTOFMEMORY
    helped(1038, MEMORY),   // ER_OUT_OF_SORTMEMORY
    helped(1040, SESSIONS), // ER_CON_COUNT_ERROR
    helped(1041, MEMORY),   // ER_OUT_OF_RESOURCES
    by_itself(1042),        // ER_BAD_HOST_ERROR: name resolution
    by_itself(1053),        // ER_SERVER_SHUTDOWN
    by_itself(1077),        // ER_NORMAL_SHUTDOWN
    by_itself(1078),        // ER_GOT_SIGNAL
    by_itself(1079),        // ER_SHUTDOWN_COMPLETE
    helped(1114, ROOM),     // ER_RECORD_FILE_FULL
    helped(1135, MEMORY),   // ER_CANT_CREATE_THREAD
    by_itself(1152),        // ER_ABORTING_CONNECTION
    by_itself(1156),        // ER_NET_PACKETS_OUT_OF_ORDER
    by_itself(1158),        // ER_NET_READ_ERROR
    by_itself(1159),        // ER_NET_READ_INTERRUPTED
    by_itself(1160),        // ER_NET_ERROR_ON_WRITE
    by_itself(1161),        // ER_NET_WRITE_INTERRUPTED
    by_itself(1180),        // ER_ERROR_DURING_COMMIT
    by_itself(1184),        // ER_NEW_ABORTING_CONNECTION
    helped(1203, SESSIONS), // ER_TOO_MANY_USER_CONNECTIONS
    by_itself(1205),        // ER_LOCK_WAIT_TIMEOUT
    by_itself(1206),        // ER_LOCK_TABLE_FULL
    by_itself(1213),        // ER_LOCK_DEADLOCK
    helped(1226, SESSIONS), // ER_USER_LIMIT_REACHED
    helped(1290, WRITABLE), // ER_OPTION_PREVENTS_STATEMENT: read_only
    by_itself(1317),        // ER_QUERY_INTERRUPTED
    by_itself(1613),        // ER_XA_RBTIMEOUT
    by_itself(1614),        // ER_XA_RBDEADLOCK
    by_itself(1637),        // ER_TOO_MANY_CONCURRENT_TRXS
    by_itself(1792),        // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    helped(1836, WRITABLE), // ER_READ_ONLY_MODE
    by_itself(1927),        // ER_CONNECTION_KILLED (MariaDB)
    by_itself(2006),        // CR_SERVER_GONE_ERROR, told by a proxy in the server's name
    by_itself(2013),        // CR_SERVER_LOST, likewise
    by_itself(3024),        // ER_QUERY_TIMEOUT
    helped(3032, WRITABLE), // ER_SERVER_OFFLINE_MODE
    by_itself(3058),        // ER_USER_LOCK_DEADLOCK
    by_itself(3101),        // ER_TRANSACTION_ROLLBACK_DURING_COMMIT: group replication
    by_itself(3168),        // ER_SERVER_ISNT_AVAILABLE
    by_itself(3169),        // ER_SESSION_WAS_KILLED
    by_itself(3572),        // ER_LOCK_NOWAIT
    by_itself(4031),        // ER_CLIENT_INTERACTION_TIMEOUT
    by_itself(4111),        // ER_NO_SESSION_FOR_QUERY of proxies: the backend is gone
];

/// The storage engine's own error, told in the text: lock wait and deadlock.
const ER_GET_ERRNO: u16 = 1030;
const PASSING_ENGINE_ERRORS: [&str; 2] = ["error 146 ", "error 149 "];

/// How errors of several codes carry the system's own number for a full disk, ENOSPC.
const NO_SPACE: [&str; 3] = ["errno: 28 ", "errno 28 ", "Got error 28 "];

fn find(code: u16) -> Option<&'static Passes> {
    PASSES.binary_search_by_key(&code, |passes| passes.code).ok().map(|at| &PASSES[at])
}

fn is_full(message: &str) -> bool {
    NO_SPACE.iter().any(|text| message.contains(text))
}

/// May this error pass by itself?
pub(crate) fn passes(code: u16, message: &str) -> bool {
    find(code).is_some()
        || is_full(message)
        || code == ER_GET_ERRNO && PASSING_ENGINE_ERRORS.iter().any(|error| message.contains(error))
}

/// Has the server no room: a full disk, or a tablespace that may not grow?
pub(crate) fn is_without_room(code: u16, message: &str) -> bool {
    help(code, message) == Some(ROOM)
}

/// What ends it sooner, where a person can do something.
pub(crate) fn help(code: u16, message: &str) -> Option<&'static str> {
    match find(code) {
        Some(passes) => passes.help,
        None => is_full(message).then_some(ROOM),
    }
}

#[cfg(test)]
mod tests {
    use super::{PASSES, help, passes};

    #[test]
    fn the_table_is_in_order_and_has_each_code_once() {
        assert!(PASSES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let passing =
            [1021, 1040, 1053, 1114, 1158, 1161, 1203, 1205, 1213, 1290, 1836, 2013, 3032, 3101, 4031];
        for code in passing {
            assert!(passes(code, ""), "{code}");
        }
        // A file that can't be written, for want of room or for good.
        assert!(passes(3, "Error writing file 'a' (OS errno 28 - No space left on device)"));
        assert!(!passes(3, "Error writing file 'a' (OS errno 5 - Input/output error)"));
        // Wrong password, no such table, duplicate key, no such row, a foreign key, a value too long, no privilege,
        // syntax, diverged, purged, an executed GTID, a missing partition.
        let lasting = [1045, 1146, 1062, 1032, 1452, 1451, 1406, 1142, 1064, 1236, 1782, 1526, 1048, 1054, 0];
        for code in lasting {
            assert!(!passes(code, ""), "{code}");
        }
    }

    #[test]
    fn an_engines_own_error_is_read_from_its_text() {
        assert!(passes(1030, "Got error 28 - 'No space left on device' from storage engine"));
        assert!(help(1030, "Got error 28 - 'No space left on device'").is_some_and(|h| h.contains("room")));
        assert!(!passes(1030, "Got error 168 - 'Unknown (generic) error from engine' from storage engine"));
    }

    #[test]
    fn a_person_is_told_what_helps() {
        assert!(help(1114, "").is_some_and(|h| h.contains("disk")));
        assert!(help(1290, "").is_some_and(|h| h.contains("read_only")));
        assert!(help(1203, "").is_some_and(|h| h.contains("max_user_connections")));
        assert_eq!((help(1213, ""), help(1062, "")), (None, None));
    }
}
