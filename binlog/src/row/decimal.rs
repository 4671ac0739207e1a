//! `DECIMAL` in its binary form: groups of nine digits in four bytes, big-endian, the odd digits at either
//! end in as few bytes as they need; the first bit is inverted, and all bits of a negative number
//! (`strings/decimal.cc`, `bin2decimal`).

use std::fmt::Write;

const GROUP: usize = 9;
/// Bytes that so many digits take.
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Bytes of a value of this type.
pub(super) fn length(precision: u8, scale: u8) -> usize {
    let (whole, scale) = (usize::from(precision - scale), usize::from(scale));
    let side = |digits: usize| digits / GROUP * 4 + BYTES[digits % GROUP];
    side(whole) + side(scale)
}

/// The value as text; `bytes` has the length of its type.
pub(super) fn text(bytes: &[u8], precision: u8, scale: u8) -> String {
    let negative = bytes.first().is_some_and(|b| b & 0x80 == 0);
    let mask = if negative { 0xff } else { 0 };
    let mut plain: Vec<u8> = bytes.iter().map(|b| b ^ mask).collect();
    if let Some(first) = plain.first_mut() {
        *first ^= 0x80;
    }
    let (whole, scale) = (usize::from(precision - scale), usize::from(scale));
    let (mut digits, mut rest) = (String::new(), plain.as_slice());
    let mut take = |count: usize, digits: &mut String| {
        let (head, tail) = rest.split_at(BYTES[count].min(rest.len()));
        rest = tail;
        let number = head.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
        _ = write!(digits, "{number:0count$}");
    };
    if whole % GROUP > 0 {
        take(whole % GROUP, &mut digits);
    }
    (0..whole / GROUP).for_each(|_| take(GROUP, &mut digits));
    let trimmed = digits.trim_start_matches('0');
    let mut out = String::from(if negative { "-" } else { "" });
    out.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    if scale > 0 {
        let mut fraction = String::new();
        (0..scale / GROUP).for_each(|_| take(GROUP, &mut fraction));
        if scale % GROUP > 0 {
            take(scale % GROUP, &mut fraction);
        }
        out.push('.');
        out.push_str(&fraction);
    }
    out
}

/// Appends the value whose text this is; `None` if it has more digits than its type, or is no number.
pub(super) fn put(text: &str, precision: u8, scale: u8, out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole_text, fraction_text) = text.split_once('.').unwrap_or((text, ""));
    let (whole, scale) = (usize::from(precision - scale), usize::from(scale));
    let whole_text = whole_text.trim_start_matches('0');
    if whole_text.len() > whole || fraction_text.len() > scale {
        return None;
    }
    let digits = format!("{whole_text:0>whole$}{fraction_text:0<scale$}");
    let begin = out.len();
    let mut rest = digits.as_str();
    // A width that is no multiple of a group has its odd digits first in the whole part, last in the fraction.
    let sizes = [whole % GROUP].into_iter().chain(std::iter::repeat_n(GROUP, whole / GROUP));
    let sizes = sizes.chain(std::iter::repeat_n(GROUP, scale / GROUP)).chain([scale % GROUP]);
    for size in sizes.filter(|size| *size > 0) {
        let (group, tail) = rest.split_at_checked(size)?;
        rest = tail;
        let number: u32 = group.parse().ok()?;
        out.extend_from_slice(&number.to_be_bytes()[4 - BYTES[size]..]);
    }
    let bytes = out.get_mut(begin..)?;
    *bytes.first_mut()? ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Some(())
}
