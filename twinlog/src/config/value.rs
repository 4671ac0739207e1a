//! Values as people write them: sizes, durations, times, addresses, names, and one word of a few.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use wire::TlsMode;

/// Units of size, in bytes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The longest name of a sync, region or link: they become keys in the target and names of files.
const LONGEST_NAME: usize = 64;

/// `4MiB`, `200 GiB`, `1000`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("not a size, for example \"4MiB\" or \"200GiB\": {text:?}");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(wrong)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// `72h`, `1h 30m`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("not a duration, for example \"72h\" or \"30s\": {text:?}"))
}

/// `2026-12-01T02:00:00Z`.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339(text)
        .map_err(|_| format!("not a time, for example \"2026-12-01T02:00:00Z\": {text:?}"))
}

/// `host:port`, the port with a default; an IPv6 host stands in brackets.
pub(super) fn address(text: &str, default_port: Option<u16>) -> Result<String, String> {
    let wrong = || format!("not an address, for example \"10.0.0.5:3306\" or \"[fd00::5]:3306\": {text:?}");
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (format!("[{host}]"), rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), Some("")),
        },
    };
    let host_fits = |c: char| !c.is_whitespace() && !matches!(c, '/' | '@' | ',');
    if host.is_empty() || !host.chars().all(host_fits) {
        return Err(wrong());
    }
    let port = match (port.ok_or_else(wrong)?, default_port) {
        ("", Some(default)) => default,
        (port, _) => port.parse().map_err(|_| wrong())?,
    };
    Ok(format!("{host}:{port}"))
}

/// An address to listen on: a number, not a name, with its port.
pub(super) fn listen(text: &str) -> Result<String, String> {
    let text =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let wrong = || format!("not an address to listen on, for example \"0.0.0.0:3407\": {text:?}");
    text.parse::<SocketAddr>().map(|a| a.to_string()).map_err(|_| wrong())
}

/// Is this address, as [`address`] or [`listen`] gave it, one that only this host reaches?
pub(super) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Is this the address of no host in particular: `0.0.0.0`, `[::]`?
pub(super) fn is_wildcard(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_unspecified())
}

/// The name of a sync, a region or a link.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        return Err(format!("a name has 1 to {LONGEST_NAME} letters, digits, - and _: {text:?}"));
    }
    Ok(text.to_owned())
}

/// A schema's name, and nothing that would need quoting.
pub(super) fn schema(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        return Err(format!("a schema's name has 1 to {LONGEST_NAME} letters, digits, _ and $: {text:?}"));
    }
    Ok(text.to_owned())
}

/// `database.table`, no wildcard.
pub(super) fn table(text: &str) -> Result<String, String> {
    match text.split_once('.') {
        Some((database, table))
            if !database.is_empty() && !table.is_empty() && !text.contains(['*', '?']) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("not database.table: {text:?}")),
    }
}

/// `database` or `database.table`, no wildcard.
pub(super) fn database_or_table(text: &str) -> Result<String, String> {
    if text.contains('.') {
        return table(text);
    }
    if text.is_empty() || text.contains(['*', '?']) {
        return Err(format!("neither a database nor database.table: {text:?}"));
    }
    Ok(text.to_owned())
}

/// MySQL's words for `--ssl-mode`.
pub(super) fn tls_mode(text: &str) -> Result<TlsMode, String> {
    word(
        text,
        &[
            ("disabled", TlsMode::Disabled),
            ("preferred", TlsMode::Preferred),
            ("required", TlsMode::Required),
            ("verify-ca", TlsMode::VerifyCa),
            ("verify-identity", TlsMode::VerifyIdentity),
        ],
    )
}

/// One word of a few.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}, not {text:?}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{address, duration, is_loopback, is_wildcard, listen, name, size, table};

    #[test]
    fn sizes_have_units_and_do_not_overflow() {
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("200 GiB"), Ok(200 << 30));
        assert_eq!(size("1kb"), Ok(1000));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "MiB", "4XB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_written_as_people_do() {
        assert_eq!(duration("72h"), Ok(Duration::from_secs(72 * 3600)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("72").is_err());
    }

    #[test]
    fn addresses_take_names_numbers_and_a_default_port() {
        assert_eq!(address("db.eu", Some(3306)), Ok("db.eu:3306".into()));
        assert_eq!(address("10.0.0.5:3307", Some(3306)), Ok("10.0.0.5:3307".into()));
        assert_eq!(address("[fd00::5]", Some(3306)), Ok("[fd00::5]:3306".into()));
        assert_eq!(address("[fd00::5]:1", None), Ok("[fd00::5]:1".into()));
        for bad in ["", ":3306", "db.eu", "db:x", "db:70000", "fd00::5", "[fd00::5", "[x]:1", "a b:1"] {
            assert!(address(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_and_wildcard_are_told() {
        assert!(is_loopback("127.0.0.1:1") && is_loopback("[::1]:1") && is_loopback("localhost:1"));
        assert!(!is_loopback("10.0.0.1:1") && !is_loopback("0.0.0.0:1") && !is_loopback("db:1"));
        assert!(is_wildcard("0.0.0.0:1") && is_wildcard("[::]:1") && !is_wildcard("127.0.0.1:1"));
        assert_eq!(listen("localhost:80"), Ok("127.0.0.1:80".into()));
        assert!(listen("relay.eu:80").is_err());
    }

    #[test]
    fn names_become_files_and_keys() {
        assert_eq!(name("eu-us_2"), Ok("eu-us_2".into()));
        for bad in ["", "a b", "../x", "a.b", "é"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(table("shop.stock").is_ok());
        assert!(table("stock").is_err() && table("shop.*").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (size(&text), duration(&text), address(&text, None), listen(&text), name(&text), table(&text));
            let _ = (is_loopback(&text), is_wildcard(&text), super::time(&text), super::tls_mode(&text));
        }

        #[test]
        fn a_size_in_kib_is_so_many_bytes(n in 0u64..1 << 40) {
            prop_assert_eq!(size(&format!("{n}KiB")), Ok(n << 10));
        }
    }
}
