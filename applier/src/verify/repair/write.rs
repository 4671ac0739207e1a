//! The statements that make one row equal to another.

use bytes::Bytes;

use super::super::column::Column;
use super::super::key::{Key, KeyValue};
use super::super::rows::Whole;
use super::super::table::Side;

/// Takes a row away.
pub(super) fn delete(side: &Side, key: &Key, at: &KeyValue) -> String {
    format!("DELETE FROM {} WHERE {}", side.quoted, key.is(at))
}

/// Puts a row there.
pub(super) fn insert(side: &Side, row: &Whole) -> String {
    let (names, values): (Vec<String>, Vec<String>) =
        writable(side, row).map(|(column, value)| (column.quoted(), column.literal(value))).unzip();
    format!("INSERT INTO {} ({}) VALUES ({})", side.quoted, names.join(", "), values.join(", "))
}

/// Makes the row of this key that row. Every column is named: one that is left out could be set to the time of the
/// change by its definition.
pub(super) fn update(side: &Side, key: &Key, at: &KeyValue, row: &Whole) -> String {
    let set: Vec<String> = writable(side, row)
        .map(|(column, value)| format!("{} = {}", column.quoted(), column.literal(value)))
        .collect();
    format!("UPDATE {} SET {} WHERE {}", side.quoted, set.join(", "), key.is(at))
}

fn writable<'a>(side: &'a Side, row: &'a Whole) -> impl Iterator<Item = (&'a Column, Option<&'a [u8]>)> {
    let columns = side.columns.iter().zip(&row.values);
    columns
        .filter(|(column, _)| !column.generated)
        .map(|(column, value)| (column, value.as_ref().map(Bytes::as_ref)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::column::Column;
    use super::super::super::key::{Key, KeyValue};
    use super::super::super::rows::Whole;
    use super::super::super::table::Side;

    #[test]
    fn generated_columns_are_not_written_and_all_others_are() {
        let mut columns: Vec<Column> =
            ["id", "a", "g"].iter().map(|name| Column::new(name, "int", "int")).collect();
        columns[2].generated = true;
        let key = Key { parts: vec![(columns[0].clone(), false)] };
        let side = Side { quoted: "`s`.`t`".into(), index: None, columns };
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let row = Whole { hash: Bytes::new(), values: vec![value("5"), None, value("9")] };
        let at = KeyValue(vec![Bytes::from_static(b"4")]);
        assert_eq!(super::insert(&side, &row), "INSERT INTO `s`.`t` (`id`, `a`) VALUES (5, NULL)");
        assert_eq!(
            super::update(&side, &key, &at, &row),
            "UPDATE `s`.`t` SET `id` = 5, `a` = NULL WHERE `id` = 4"
        );
        assert_eq!(super::delete(&side, &key, &at), "DELETE FROM `s`.`t` WHERE `id` = 4");
    }
}
