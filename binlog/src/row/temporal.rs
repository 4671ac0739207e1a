//! Dates and times in their binary forms (`mysys/my_time.cc`), as the text that SQL has for them.

use std::fmt::Write;

/// Bytes that so many digits of a second take.
pub(super) fn fraction_length(digits: u8) -> usize {
    usize::from(digits.div_ceil(2))
}

fn big_endian(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |n, b| n << 8 | i64::from(*b))
}

/// Microseconds, from the bytes of a fraction; digits come in pairs, so one digit fills a byte of two.
fn micros(bytes: &[u8]) -> i64 {
    big_endian(bytes) * [1_000_000, 10_000, 100, 1][bytes.len().min(3)]
}

fn push_fraction(out: &mut String, micros: i64, digits: u8) {
    if digits > 0 {
        let text = format!("{micros:06}");
        out.push('.');
        out.push_str(text.get(..usize::from(digits)).unwrap_or(&text));
    }
}

/// `DATE`: day in 5 bits, month in 4, year above, little-endian.
pub(super) fn date(bytes: [u8; 3]) -> String {
    let n = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    format!("{:04}-{:02}-{:02}", n >> 9, n >> 5 & 15, n & 31)
}

/// `DATETIME`: 5 bytes big-endian (year·13+month, day, hour, minute, second), then the fraction.
pub(super) fn datetime(bytes: &[u8], digits: u8) -> String {
    let (head, fraction) = bytes.split_at(5);
    let n = big_endian(head) - 0x80_0000_0000;
    let (date, time) = (n >> 17, n & 0x1_ffff);
    let (months, day) = (date >> 5, date & 31);
    let mut out = format!(
        "{:04}-{:02}-{day:02} {:02}:{:02}:{:02}",
        months / 13,
        months % 13,
        time >> 12,
        time >> 6 & 63,
        time & 63
    );
    push_fraction(&mut out, micros(fraction), digits);
    out
}

/// `TIMESTAMP`: seconds since 1970 and microseconds.
pub(super) fn timestamp(bytes: &[u8]) -> (u32, u32) {
    let (head, fraction) = bytes.split_at(4);
    let seconds = u32::try_from(big_endian(head)).unwrap_or(u32::MAX);
    (seconds, u32::try_from(micros(fraction)).unwrap_or(0))
}

/// `TIME`: 3 bytes big-endian offset by 2^23, then the fraction. A negative time is the negated whole,
/// fraction included, so the two parts borrow from each other.
pub(super) fn time(bytes: &[u8], digits: u8) -> String {
    let width = 8 * (bytes.len() - 3);
    let n = big_endian(bytes) - (0x80_0000 << width);
    let magnitude = n.abs();
    let (hms, fraction) = (magnitude >> width, magnitude & ((1 << width) - 1));
    let micros = fraction * [1_000_000, 10_000, 100, 1][(bytes.len() - 3).min(3)];
    let mut out = String::from(if n < 0 { "-" } else { "" });
    _ = write!(out, "{:02}:{:02}:{:02}", hms >> 12 & 0x3ff, hms >> 6 & 63, hms & 63);
    push_fraction(&mut out, micros, digits);
    out
}

/// The numbers in a text, whatever stands between them, and the microseconds behind its point.
fn numbers<const N: usize>(text: &str) -> Option<([u32; N], u32)> {
    let (head, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut out = [0; N];
    let mut parts = head.split(['-', ':', ' ']);
    for number in &mut out {
        *number = parts.next()?.parse().ok()?;
    }
    if parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let micros = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").parse().ok()? };
    Some((out, micros))
}

/// The last bytes of a number, big-endian.
fn put_big_endian(number: u64, bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

fn put_fraction(micros: u32, digits: u8, out: &mut Vec<u8>) {
    let bytes = fraction_length(digits);
    put_big_endian(u64::from(micros) / [1_000_000, 10_000, 100, 1][bytes.min(3)], bytes, out);
}

/// The inverse of [`date`].
pub(super) fn put_date(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let ([year, month, day], _) = numbers(text)?;
    out.extend_from_slice(&(year << 9 | month << 5 | day).to_le_bytes()[..3]);
    Some(())
}

/// The inverse of [`datetime`].
pub(super) fn put_datetime(text: &str, digits: u8, out: &mut Vec<u8>) -> Option<()> {
    let ([year, month, day, hour, minute, second], micros) = numbers(text)?;
    let date = u64::from((year * 13 + month) << 5 | day);
    let time = u64::from(hour << 12 | minute << 6 | second);
    put_big_endian(0x80_0000_0000 + (date << 17 | time), 5, out);
    put_fraction(micros, digits, out);
    Some(())
}

/// The inverse of [`timestamp`].
pub(super) fn put_timestamp(seconds: u32, micros: u32, digits: u8, out: &mut Vec<u8>) {
    put_big_endian(seconds.into(), 4, out);
    put_fraction(micros, digits, out);
}

/// The inverse of [`time`].
pub(super) fn put_time(text: &str, digits: u8, out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let ([hour, minute, second], micros) = numbers(text)?;
    let bytes = fraction_length(digits);
    let fraction = u64::from(micros) / [1_000_000, 10_000, 100, 1][bytes.min(3)];
    let magnitude = u64::from(hour << 12 | minute << 6 | second) << (8 * bytes) | fraction;
    let zero = 0x80_0000 << (8 * bytes);
    put_big_endian(if negative { zero - magnitude } else { zero + magnitude }, 3 + bytes, out);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{date, datetime, time, timestamp};

    #[test]
    fn times_below_zero_borrow_between_seconds_and_fraction() {
        assert_eq!(time(&[0x80, 0, 0], 0), "00:00:00");
        assert_eq!(time(&[0x7f, 0xff, 0xff], 0), "-00:00:01");
        // As the server stores them: TIME(1) '-00:00:00.1', TIME(2) '-00:00:00.10', TIME(6) '-838:59:59.000001'.
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xf6], 1), "-00:00:00.1");
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xf6], 2), "-00:00:00.10");
        assert_eq!(time(&[0x4b, 0x91, 0x04, 0xff, 0xff, 0xff], 6), "-838:59:59.000001");
        assert_eq!(time(&[0x80, 0x10, 0x83, 0x04, 0xd2], 4), "01:02:03.1234");
    }

    #[test]
    fn dates_and_datetimes_are_as_sql_writes_them_zero_included() {
        assert_eq!(date([0, 0, 0]), "0000-00-00");
        assert_eq!(date([0x74, 0xd5, 0x0f]), "2026-11-20");
        assert_eq!(datetime(&[0x80, 0, 0, 0, 0], 0), "0000-00-00 00:00:00");
        assert_eq!(timestamp(&[0x65, 0, 0, 0, 0x01, 0xe2, 0x40]), (0x6500_0000, 123_456));
    }
}
