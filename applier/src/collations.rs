//! The server's collations by number: what a table map and a row's texts are told in.

use std::collections::HashMap;

use wire::Connection;

use crate::Error;

/// A collation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collation {
    pub(crate) name: String,
    pub(crate) charset: String,
    /// Spaces behind a text do not count.
    pub(crate) pads: bool,
}

/// All that a server has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collations {
    by_id: HashMap<u32, Collation>,
    by_name: HashMap<String, u32>,
}

impl Collations {
    /// Asks a server.
    pub(crate) async fn read(connection: &mut Connection) -> Result<Self, Error> {
        let failed = Error::target("reading its collations");
        let query = "SELECT ID AS id, COLLATION_NAME AS name, CHARACTER_SET_NAME AS charset, \
            PAD_ATTRIBUTE AS pad FROM information_schema.COLLATIONS";
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let mut all = Self::default();
        for row in rows.iter() {
            let id = row.parse("id").map_err(&failed)?;
            let (name, charset) = (row.text("name").map_err(&failed)?, row.text("charset").map_err(&failed)?);
            let pads = row.text("pad").map_err(&failed)? == "PAD SPACE";
            all.by_name.insert(name.clone(), id);
            all.by_id.insert(id, Collation { name, charset, pads });
        }
        Ok(all)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Collation> {
        self.by_id.get(&id)
    }

    /// The number of a collation.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Do spaces behind a text not count under this collation?
    pub(crate) fn pads(&self, id: u32) -> bool {
        self.get(id).is_some_and(|c| c.pads)
    }

    /// The character set of a collation.
    pub(crate) fn charset(&self, id: u32) -> Option<&str> {
        self.get(id).map(|c| c.charset.as_str())
    }

    /// The number of a collation under which texts are not compared byte by byte; `None` for the others.
    pub(crate) fn compared(&self, name: &str) -> Option<u32> {
        let is_binary = name == "binary" || name.ends_with("_bin");
        self.by_name.get(name).copied().filter(|_| !is_binary)
    }

    /// The same, by its number.
    pub(crate) fn is_compared(&self, id: u32) -> bool {
        self.get(id).is_some_and(|c| self.compared(&c.name).is_some())
    }
}
