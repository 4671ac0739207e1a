//! What a change of the file means to whom.

use std::path::Path;

use twinlog::config::{self, File};

use super::{Fate, changed, fate, shown};
use crate::admin::Kind;

const FILE: &str = r#"
    [sync]
    name = "shop"
    tables = "shop.*"
    state_dir = "s"
    allow_inline_secrets = true
    [region.eu]
    mysql.address = "a"
    mysql.user = "u"
    relay.listen = "127.0.0.1:1"
    relay.password = "p"
    [region.us]
    mysql.address = "b"
    mysql.user = "u"
    [link.eu-us]
    from = "eu"
    to = "us"
    group = { max_transactions = 5 }
"#;

fn file() -> File {
    config::parse(FILE, Path::new("shop.toml")).unwrap()
}

fn told(after: &str) -> Vec<String> {
    changed(FILE, after).iter().map(shown).collect()
}

#[test]
fn what_changed_is_told_by_the_keys_of_the_file() {
    assert!(told(FILE).is_empty());
    assert_eq!(told(&FILE.replace("= 5", "= 6")), ["link.eu-us.group.max_transactions"]);
    assert_eq!(told(&FILE.replace("relay.password = \"p\"\n", "")), ["region.eu.relay.password"]);
    let more = format!("{FILE}\n[link.eu-us.table.\"shop.a\"]\non_conflict = \"ignore\"\n");
    assert_eq!(told(&more), ["link.eu-us.table.\"shop.a\".on_conflict"]);
}

#[test]
fn each_process_takes_over_what_is_its_own_and_can_be() {
    let file = file();
    let of = |kind, name, key: &str| fate(kind, name, &file, &key.split('.').map(String::from).collect());
    let applier = |key| of(Kind::Applier, "eu-us", key);
    let relay = |key| of(Kind::Relay, "eu", key);
    for key in
        ["sync.tables", "link.eu-us.group.max_bytes", "link.eu-us.on_conflict", "region.us.mysql.address"]
    {
        assert_eq!(applier(key), Fate::Live, "{key}");
    }
    for key in ["link.eu-us.from", "link.eu-us.admin.listen", "link.eu-us.initial", "sync.meta_schema"] {
        assert!(matches!(applier(key), Fate::Restart(_)), "{key}");
    }
    for key in ["region.eu.relay.retain", "region.ap.mysql.address", "link.us-eu.ddl", "sync.admin.listen"] {
        assert_eq!(applier(key), Fate::Foreign, "{key}");
    }
    assert_eq!(relay("region.eu.relay.retain"), Fate::Live);
    assert_eq!(relay("link.ap-eu.from"), Fate::Live);
    assert_eq!(relay("region.us.relay.retain"), Fate::Foreign);
    for key in ["region.eu.relay.listen", "region.eu.mysql.address", "region.eu.relay.dir"] {
        assert!(matches!(relay(key), Fate::Restart(_)), "{key}");
    }
    assert_eq!(of(Kind::Up, "shop", "link.us-eu.from"), Fate::Foreign);
    assert!(matches!(of(Kind::Up, "shop", "sync.console.listen"), Fate::Restart(_)));
    assert_eq!(applier("sync.console.listen"), Fate::Foreign);
    assert_eq!(of(Kind::Up, "shop", "link.eu-us.ddl"), Fate::Foreign);
}
