//! What another configuration of a link does to tables of its source, for the one who changes it.

use std::fmt;

use super::pair::Pair;
use crate::copy;
use crate::filter::Filter;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::{Config, Error, target};

/// What becomes of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// `database.table`, in the names of `from`.
    pub table: String,
    /// How.
    pub how: How,
}

/// How a table comes into step or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its rows are copied, and it is followed from there.
    Copied,
    /// It is followed from now on.
    Followed,
    /// Nothing of it crosses any more.
    Leaves,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match self.how {
            How::Copied => write!(f, "{table} joins: it is copied"),
            How::Followed => {
                write!(f, "{table} joins: nothing of it is copied, what is written from now on crosses")
            }
            How::Leaves => write!(f, "{table} leaves: nothing of it crosses any more"),
        }
    }
}

/// What `new` does to tables that the source has, given what `old` had in step.
pub(crate) async fn moves(old: &Config, new: &Config) -> Result<Vec<Move>, Error> {
    let by = |config: &Config, other: &Config| {
        Filter::new(config.objects.clone(), &config.meta_schema).beyond(other.objects.clone())
    };
    let mut source = target::connect_source(&new.source_servers).await?;
    let leave = copy::names(&mut source, &by(old, new)).await?;
    let join = copy::names(&mut source, &by(new, old)).await?;
    source.close().await;
    let link = LinkKey { sync: new.sync.clone(), from: new.from.clone(), to: new.to.clone() };
    let pair = Pair::of(new, &link);
    let mut moves = Vec::new();
    for name in &join {
        let is_copied = match &pair {
            Some(pair) => pair.first_with_rows(std::iter::once(name)).await?.is_some(),
            None => new.load.initial.has_data(),
        };
        moves.push(told(name, if is_copied { How::Copied } else { How::Followed }));
    }
    // One that another name is given to does both.
    let leaves = leave.iter().filter(|name| !join.contains(name));
    moves.extend(leaves.map(|name| told(name, How::Leaves)));
    Ok(moves)
}

fn told((database, table): &Name, how: How) -> Move {
    Move { table: format!("{database}.{table}"), how }
}
