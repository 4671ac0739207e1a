//! Small pieces for the tests of the items.

use std::path::Path;

use twinlog::config::{self, File};

use super::schema::{Column, Key, Schema, Table};

/// Two regions, both ways, relays in both.
pub(crate) fn file() -> File {
    let text = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"s\"\nallow_inline_secrets = true\n\
        [region.eu]\nmysql.address = \"a\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:1\"\nrelay.password = \"p\"\n\
        [region.us]\nmysql.address = \"b\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:2\"\nrelay.password = \"p\"\n\
        [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n[link.us-eu]\nfrom = \"us\"\nto = \"eu\"\n";
    config::parse(text, Path::new("shop.toml")).unwrap()
}

/// Three regions, every direction between them.
pub(crate) fn mesh() -> File {
    let mut text =
        String::from("[sync]\nname = \"shop\"\ntables = \"shop.*\"\nallow_inline_secrets = true\n");
    let regions = ["asia", "eu", "us"];
    for region in regions {
        text += &format!("[region.{region}]\nmysql.address = \"{region}\"\nmysql.user = \"u\"\n");
        for other in regions.into_iter().filter(|other| *other != region) {
            text += &format!("[link.{region}-{other}]\nfrom = \"{region}\"\nto = \"{other}\"\n");
        }
    }
    config::parse(&text, Path::new("mesh.toml")).unwrap()
}

pub(crate) fn column(name: &str, column_type: &str) -> Column {
    Column {
        name: name.into(),
        column_type: column_type.into(),
        base_type: column_type.split(['(', ' ']).next().unwrap_or_default().into(),
        octets: None,
        characters: None,
        charset: None,
        collation: None,
        nullable: false,
        default: None,
        extra: String::new(),
        generated: String::new(),
    }
}

pub(crate) fn key<const N: usize>(name: &str, parts: [&str; N]) -> Key {
    let parts = parts.map(str::to_owned).to_vec();
    Key { name: name.into(), parts, nullable: false, functional: false }
}

pub(crate) fn table<const C: usize, const K: usize>(columns: [Column; C], keys: [Key; K]) -> Table {
    Table { engine: "InnoDB".into(), columns: columns.into(), keys: keys.into(), foreign_keys: Vec::new() }
}

pub(crate) fn schema<const N: usize>(tables: [(&str, Table); N]) -> Schema {
    let tables = tables.into_iter().map(|(name, table)| (("shop".to_owned(), name.to_owned()), table));
    Schema { tables: tables.collect(), events: Some(Vec::new()), triggers: Some(Vec::new()) }
}
