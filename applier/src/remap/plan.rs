//! How rows of one layout become rows of another, found by the names of the columns. Pure.
//!
//! What is always exact is decided here; what depends on the value (a number in a narrower column) is decided row by row in
//! [`super::convert`]. What could lose something stands nowhere: such a table stops the link.

use binlog::row::{Column, ColumnType};

use super::layout::{TargetColumn, base};
use crate::definition::Shape;

/// Where a column of the target comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// The column's position at the source.
    pub(crate) from: usize,
    pub(crate) how: How,
    /// The target refuses NULL there, and the source does not.
    pub(crate) refuses_null: bool,
}

/// What is done to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing: the types are the same.
    Keep,
    /// Written in the target's type, if that holds it exactly.
    Fit,
    /// The n-th member of an ENUM, or bit of a SET, is this one in the target; `None` where it has no such member.
    Members(Vec<Option<u64>>),
    /// A text in another character set.
    Convert { from: String, to: String },
}

/// For each column of the target where it comes from; `None` for one that the source lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) moves: Vec<Option<Move>>,
}

/// A plan; `None` where rows fit as they are. An error says why they can't.
pub(crate) fn plan(source: &[(Shape, Column)], target: &[TargetColumn]) -> Result<Option<Plan>, String> {
    // One without a name was dropped in the target since (`plan/flight.rs`): it goes nowhere.
    for (shape, _) in source.iter().filter(|(shape, _)| !shape.name.is_empty()) {
        if !target.iter().any(|t| t.shape.name == shape.name) {
            return Err(format!("column {} is at the source and not in the target", shape.name));
        }
    }
    let mut moves = Vec::with_capacity(target.len());
    let mut changes = source.len() != target.len();
    for (i, column) in target.iter().enumerate() {
        let Some(from) = source.iter().position(|(shape, _)| shape.name == column.shape.name) else {
            additional(column)?;
            moves.push(None);
            continue;
        };
        let (shape, described) = &source[from];
        let how = how(shape, described, column)?;
        let refuses_null = described.nullable && !column.facts.nullable;
        changes |= from != i || how != How::Keep || refuses_null;
        moves.push(Some(Move { from, how, refuses_null }));
    }
    if !changes {
        return Ok(None);
    }
    match target.iter().find(|t| t.column.is_none()) {
        Some(unknown) => {
            Err(format!("column {} has type {}, which is not moved", unknown.shape.name, unknown.shape.kind))
        }
        None => Ok(Some(Plan { moves })),
    }
}

/// A column that only the target has.
fn additional(column: &TargetColumn) -> Result<(), String> {
    let name = &column.shape.name;
    if column.facts.in_primary_key {
        return Err(format!("column {name} is in the target's primary key and not at the source"));
    }
    if !column.facts.has_default && !column.facts.nullable {
        return Err(format!("column {name} is not at the source, and has no default in the target"));
    }
    Ok(())
}

fn how(shape: &Shape, source: &Column, target: &TargetColumn) -> Result<How, String> {
    let there = &target.shape;
    if shape == there {
        return Ok(How::Keep);
    }
    let differs = || {
        format!(
            "column {} is {} at the source and {} in the target",
            shape.name,
            shape.describe(),
            there.describe()
        )
    };
    let Some(column) = &target.column else { return Err(differs()) };
    let texts = |kind: ColumnType| {
        matches!(kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. })
    };
    match (source.kind, column.kind) {
        (ColumnType::Enum { .. }, ColumnType::Enum { .. })
        | (ColumnType::Set { .. }, ColumnType::Set { .. }) => {
            let is_set = matches!(source.kind, ColumnType::Set { .. });
            let place = |member: &String| {
                let at = there.members.iter().position(|m| m == member)?;
                u64::try_from(if is_set { at } else { at + 1 }).ok()
            };
            let members: Vec<Option<u64>> = shape.members.iter().map(place).collect();
            let as_it_is =
                |(i, at): (usize, &Option<u64>)| *at == u64::try_from(if is_set { i } else { i + 1 }).ok();
            let same = members.iter().enumerate().all(as_it_is) && source.kind == column.kind;
            Ok(if same { How::Keep } else { How::Members(members) })
        }
        (ColumnType::Integer { .. }, ColumnType::Integer { .. } | ColumnType::Decimal { .. })
        | (ColumnType::Decimal { .. }, ColumnType::Decimal { .. })
        | (ColumnType::Float, ColumnType::Double)
        | (ColumnType::Double, ColumnType::Float)
        | (ColumnType::Time { .. }, ColumnType::Time { .. })
        | (ColumnType::DateTime { .. }, ColumnType::DateTime { .. })
        | (ColumnType::Timestamp { .. }, ColumnType::Timestamp { .. })
        | (ColumnType::Bit { .. }, ColumnType::Bit { .. }) => Ok(How::Fit),
        (from, to) if texts(from) && texts(to) => match (&shape.charset, &there.charset) {
            (Some(from), Some(to)) if from == to || is_part(from, to) => Ok(How::Fit),
            (Some(from), Some(to)) => Ok(How::Convert { from: from.clone(), to: to.clone() }),
            // BINARY is filled up with zeros to its width.
            (None, None) if base(shape) != "binary" && base(there) != "binary" => Ok(How::Fit),
            _ => Err(differs()),
        },
        _ => Err(differs()),
    }
}

/// Is every text of the first character set the same bytes in the second?
fn is_part(from: &str, to: &str) -> bool {
    match from {
        "utf8mb3" | "utf8" => to == "utf8mb4",
        "ascii" => matches!(to, "utf8mb4" | "utf8mb3" | "utf8" | "latin1"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{How, plan};
    use crate::definition::Shape;
    use crate::remap::layout::{ColumnFacts, TargetColumn};
    use binlog::row::Column;

    fn target(name: &str, column_type: &str) -> TargetColumn {
        let octets = column_type.contains("char").then_some(80);
        let charset = column_type.contains("char").then(|| "utf8mb4".to_owned());
        TargetColumn::new(ColumnFacts {
            name: name.into(),
            column_type: column_type.into(),
            octets,
            charset,
            nullable: true,
            has_default: true,
            ..ColumnFacts::default()
        })
    }

    fn source(columns: &[TargetColumn]) -> Vec<(Shape, Column)> {
        columns.iter().map(|c| (c.shape.clone(), c.column.clone().unwrap())).collect()
    }

    /// For each column of the target where it comes from.
    fn from(there: &[TargetColumn], here: &[TargetColumn]) -> Result<Option<Vec<Option<usize>>>, String> {
        let plan = plan(&source(here), there)?;
        Ok(plan.map(|plan| plan.moves.iter().map(|m| m.as_ref().map(|m| m.from)).collect()))
    }

    #[test]
    fn a_column_without_a_name_goes_nowhere() {
        let [id, a] = [target("id", "int"), target("a", "int")];
        let gone = target("", "int");
        assert_eq!(from(&[id.clone(), a.clone()], &[id, gone, a]), Ok(Some(vec![Some(0), Some(2)])));
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let here = [target("id", "int"), target("a", "int"), target("b", "varchar(20)")];
        assert_eq!(from(&here, &here), Ok(None));
        let [id, a, b] = here.clone();
        assert_eq!(
            from(&[b.clone(), id.clone(), a.clone()], &here),
            Ok(Some(vec![Some(2), Some(0), Some(1)]))
        );
        let more = [id.clone(), target("x", "int"), a.clone(), b];
        assert_eq!(from(&more, &here), Ok(Some(vec![Some(0), None, Some(1), Some(2)])));
        assert!(from(&[id, a], &here).unwrap_err().contains("column b is at the source"));
    }

    #[test]
    fn what_a_row_does_not_tell_needs_a_default() {
        let here = [target("id", "int")];
        let with = |change: fn(&mut ColumnFacts)| {
            let mut more = target("x", "int");
            change(&mut more.facts);
            from(&[here[0].clone(), more], &here)
        };
        assert!(with(|facts| facts.nullable = false).is_ok());
        assert!(with(|facts| facts.has_default = false).is_ok());
        let bare = with(|facts| (facts.nullable, facts.has_default) = (false, false));
        assert!(bare.unwrap_err().contains("no default"));
        assert!(with(|facts| facts.in_primary_key = true).unwrap_err().contains("primary key"));
    }

    #[test]
    fn types_that_can_hold_the_values_do_and_others_stop() {
        let how = |here: &str, there: &str| {
            let plan = plan(&source(&[target("a", here)]), &[target("a", there)]);
            plan.map(|plan| plan.map_or(How::Keep, |plan| plan.moves[0].clone().unwrap().how))
        };
        assert_eq!(how("int(5)", "int"), Ok(How::Keep));
        assert_eq!(how("int", "bigint"), Ok(How::Fit));
        assert_eq!(how("decimal(5,2)", "decimal(9,3)"), Ok(How::Fit));
        assert_eq!(how("enum('x','y')", "enum('y','z','x')"), Ok(How::Members(vec![Some(3), Some(1)])));
        assert_eq!(how("enum('x','y')", "enum('x','y','z')"), Ok(How::Keep));
        assert_eq!(how("set('a','b')", "set('b')"), Ok(How::Members(vec![None, Some(0)])));
        for (here, there) in [("int", "varchar(20)"), ("datetime", "date"), ("json", "text"), ("year", "int")]
        {
            assert!(how(here, there).is_err(), "{here} {there}");
        }
    }
}
