//! A server's version.

use std::fmt;

/// `major.minor.patch`, compared in that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion {
    /// 9 in `9.7.4`.
    pub major: u16,
    /// 7 in `9.7.4`.
    pub minor: u16,
    /// 4 in `9.7.4`.
    pub patch: u16,
}

impl ServerVersion {
    /// A version known beforehand, to compare with.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads what stands in a greeting: three numbers, then anything. MariaDB puts `5.5.5-` before
    /// its own version, for old replicas; that is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("5.5.5-").unwrap_or(text);
        let mut parts = text.splitn(3, '.');
        let mut number = |last: bool| {
            let part = parts.next()?;
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            if !last && end != part.len() {
                return None;
            }
            part.get(..end)?.parse().ok()
        };
        Some(Self { major: number(false)?, minor: number(false)?, patch: number(true)? })
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_makes_are_read() {
        assert_eq!(ServerVersion::parse("9.7.4"), Some(ServerVersion::new(9, 7, 4)));
        assert_eq!(ServerVersion::parse("8.0.36-0ubuntu0.22.04.1"), Some(ServerVersion::new(8, 0, 36)));
        assert_eq!(ServerVersion::parse("5.7.44-log"), Some(ServerVersion::new(5, 7, 44)));
        assert_eq!(ServerVersion::parse("5.5.5-10.6.12-MariaDB"), Some(ServerVersion::new(10, 6, 12)));
        for bad in ["", "9", "9.7", "x.y.z", "9.7x.4", "99999.1.1", "9.7."] {
            assert_eq!(ServerVersion::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ten_comes_after_nine() {
        assert!(ServerVersion::new(10, 0, 0) > ServerVersion::new(9, 9, 9));
        assert!(ServerVersion::new(8, 0, 26) > ServerVersion::new(8, 0, 4));
    }
}
