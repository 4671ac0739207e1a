//! Where in the source's files the link is: for acknowledgements and for people. GTIDs alone decide.

use std::fmt;

/// A file of the source and a place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourcePosition {
    pub(crate) file: String,
    pub(crate) position: u64,
}

impl SourcePosition {
    /// A new file, or the stream's begin.
    pub(crate) fn rotate(&mut self, file: &str, position: u64) {
        self.file = file.into();
        self.position = position;
    }

    /// An event ends here. Its header tells 32 bits; a file that grew beyond them wraps.
    pub(crate) fn advance(&mut self, log_pos: u32) {
        let high = self.position & !0xffff_ffff;
        let position = high | u64::from(log_pos);
        self.position = if position < self.position { position + (1 << 32) } else { position };
    }
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::SourcePosition;

    #[test]
    fn positions_beyond_four_gigabytes_go_on_rising() {
        let mut at = SourcePosition::default();
        at.rotate("binlog.000001", 4);
        at.advance(0xffff_fff0);
        at.advance(16);
        assert_eq!(at.to_string(), "binlog.000001:4294967312");
        at.advance(20);
        assert_eq!(at.position, 0x1_0000_0014);
    }
}
