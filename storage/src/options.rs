//! What a log is opened with.

/// Whose log it is, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The sync's name: a log of another sync is refused.
    pub sync: String,
    /// The region's name: a log of another region is refused.
    pub region: String,
    /// Bytes after which a segment ends with its current transaction. Default 256 MiB: one segment is
    /// scanned at open, and a segment is what purging frees at a time.
    pub segment_size: u64,
    /// Bytes of segments at which [`crate::LogWriter::is_full`] says so. Default: no limit.
    pub max_size: u64,
}

impl Options {
    /// The defaults, for this sync and region.
    pub fn new(sync: impl Into<String>, region: impl Into<String>) -> Self {
        Self { sync: sync.into(), region: region.into(), segment_size: 256 << 20, max_size: u64::MAX }
    }
}
