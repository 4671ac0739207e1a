//! The time zone of a session that writes rows.

use crate::sql;

/// Sets a session back to what it is otherwise.
pub(crate) const UTC: &str = "SET SESSION time_zone = '+00:00'";

/// Sets a session's zone: a name or an offset as `time_zone` has it.
pub(crate) fn set(zone: &str) -> String {
    format!("SET SESSION time_zone = {}", sql::text(zone))
}

/// Zones under which a value may have been computed, the one that is most likely first. Each offset that is in use anywhere
/// is among them: at one moment a named zone is one of these.
pub(crate) fn likely(first: Option<&str>) -> impl Iterator<Item = String> {
    let usual = ["+00:00", "SYSTEM"].into_iter();
    let first = first.map(str::to_owned).into_iter();
    let whole = (-12..=14).map(|hours| hours * 60);
    let others = (-12 * 60..=14 * 60).step_by(15).filter(|minutes| minutes % 60 != 0);
    first.chain(usual.map(str::to_owned)).chain(whole.chain(others).map(offset))
}

fn offset(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

#[cfg(test)]
mod tests {
    use super::likely;

    #[test]
    fn every_quarter_of_an_hour_is_tried_once_whole_hours_first() {
        let all: Vec<String> = likely(Some("Europe/Berlin")).collect();
        assert_eq!(all[..4], ["Europe/Berlin", "+00:00", "SYSTEM", "-12:00"]);
        assert_eq!(all.len(), 3 + 26 * 4 + 1);
        for zone in ["-09:30", "+05:45", "+14:00", "-00:45"] {
            assert!(all.iter().any(|z| z == zone), "{zone}");
        }
    }
}
