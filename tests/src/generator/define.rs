//! Statements that define.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::model::{Model, Table};
use super::types;

/// A new table.
pub(super) fn table(rng: &mut StdRng, model: &mut Model) -> String {
    let name = format!("`{}`.`t{}`", model.schema(rng), model.number());
    let mut parts = Vec::new();
    let mut tail = String::new();
    let key: String;
    match rng.random_range(0..8) {
        0..=2 => {
            parts.push("`id` INT NOT NULL AUTO_INCREMENT".into());
            key = "PRIMARY KEY (`id`)".into();
        }
        3 | 4 => {
            parts.push(format!("`id` {} NOT NULL", types::for_key(rng)));
            key = "PRIMARY KEY (`id`)".into();
        }
        5 => {
            parts.push(format!("`k1` {} NOT NULL", types::for_key(rng)));
            parts.push(format!("`k2` {} NOT NULL", types::for_key(rng)));
            key = "PRIMARY KEY (`k2`, `k1`)".into();
        }
        6 => {
            parts.push(format!("`u` {} NOT NULL", types::for_key(rng)));
            key = "UNIQUE KEY `only` (`u`)".into();
        }
        _ => {
            parts.push("`id` INT NOT NULL, `at` INT NOT NULL".into());
            key = "PRIMARY KEY (`id`, `at`)".into();
            tail = [
                " PARTITION BY HASH (`at`) PARTITIONS 4",
                " PARTITION BY RANGE (`at`) (PARTITION p0 VALUES LESS THAN (20), PARTITION p1 VALUES LESS THAN (60), \
                 PARTITION p2 VALUES LESS THAN MAXVALUE)",
                " PARTITION BY KEY (`id`) PARTITIONS 3",
            ]
            .choose(rng)
            .unwrap_or(&"")
            .to_string();
        }
    }
    for n in 0..rng.random_range(1..8) {
        parts.push(column(rng, &format!("c{n}")));
    }
    // Made of a TIMESTAMP they would be others in MySQL's own replica: docs/limits.md. What a link does is in
    // tests/generated_columns.rs.
    let follows_zone = parts.iter().any(|part| part.starts_with("`c0` TIMESTAMP"));
    if rng.random_bool(0.3) && !follows_zone {
        parts.push("`g` VARCHAR(60) AS (CONCAT(`c0`, '!')) VIRTUAL".into());
    }
    if rng.random_bool(0.2) && !follows_zone {
        parts.push("`s` BIGINT UNSIGNED AS (CRC32(`c0`)) STORED, KEY (`s`)".into());
    }
    parts.push(key);
    if rng.random_bool(0.3) && tail.is_empty() {
        parts.push(format!("`uq` {} NULL, UNIQUE KEY `uq` (`uq`)", types::for_key(rng)));
    }
    let charset = ["", "", " CHARACTER SET latin1", " COLLATE utf8mb4_unicode_ci"].choose(rng).unwrap_or(&"");
    format!("CREATE TABLE {name} ({}){charset}{tail}", parts.join(", "))
}

fn column(rng: &mut StdRng, name: &str) -> String {
    let kind = types::any(rng);
    let more = match kind {
        _ if rng.random_bool(0.6) => "",
        "INT" | "BIGINT" => " NOT NULL DEFAULT 7",
        "VARCHAR(20)" => " NOT NULL DEFAULT 'none'",
        "DATETIME(6)" => " DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
        "TIMESTAMP(6) NULL" => " DEFAULT CURRENT_TIMESTAMP(6)",
        "JSON" => " DEFAULT (JSON_ARRAY())",
        "TEXT" => " INVISIBLE",
        _ => "",
    };
    format!("`{name}` {kind}{more}")
}

/// A change of a table's definition, or of which tables there are.
pub(super) fn alter(rng: &mut StdRng, model: &mut Model) -> String {
    if model.len() < 6 {
        return table(rng, model);
    }
    let n = model.number();
    let Some(t) = model.table(rng) else { return table(rng, model) };
    match rng.random_range(0..22) {
        0..=2 => table(rng, model),
        3 | 4 => {
            format!("ALTER TABLE {} ADD COLUMN {}{}", t.name, column(rng, &format!("n{n}")), place(rng, &t))
        }
        5 => with_column(rng, &t, |c| format!("DROP COLUMN `{c}`")),
        6 => with_column(rng, &t, |c| format!("RENAME COLUMN `{c}` TO `r{n}`")),
        7 => {
            let new = without_zone(&t, &column(rng, &format!("m{n}")));
            with_column(rng, &t, |c| format!("CHANGE `{c}` {new}"))
        }
        8 => {
            let kind = without_zone(&t, types::any(rng));
            with_column(rng, &t, |c| format!("MODIFY `{c}` {kind}"))
        }
        9 => with_column(rng, &t, |c| format!("ADD KEY `i{n}` (`{c}`)")),
        10 => with_column(rng, &t, |c| format!("ADD UNIQUE KEY `x{n}` (`{c}`)")),
        11 => format!("TRUNCATE TABLE {}", t.name),
        12 => format!("ALTER TABLE {} RENAME TO `{}`.`t{n}`", t.name, model.schema(rng)),
        13 => swap(model, rng, &t, n),
        14 => format!("DROP TABLE {}", t.name),
        15 => format!("CREATE TABLE `{}`.`t{n}` LIKE {}", model.schema(rng), t.name),
        16 => format!("CREATE TABLE `{}`.`t{n}` SELECT * FROM {}", model.schema(rng), t.name),
        17 => format!("ALTER TABLE {} COMMENT 'n{n}', ALGORITHM = INPLACE", t.name),
        18 => format!("ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4", t.name),
        19 if t.partitioned => format!("ALTER TABLE {} TRUNCATE PARTITION p1", t.name),
        20 => {
            format!("CREATE OR REPLACE VIEW `{}`.`v{}` AS SELECT * FROM {}", model.schema(rng), n % 5, t.name)
        }
        _ => format!("ALTER TABLE {} FORCE", t.name),
    }
}

/// A type that a generated column may be made of: see [`table`].
fn without_zone(table: &Table, kind: &str) -> String {
    let is_made_of = table.columns.iter().any(|column| column.generated);
    match kind.strip_prefix("TIMESTAMP") {
        _ if !is_made_of => kind.to_owned(),
        Some(rest) => format!("DATETIME{rest}"),
        None => kind.replace("` TIMESTAMP", "` DATETIME"),
    }
}

fn place(rng: &mut StdRng, table: &Table) -> String {
    match rng.random_range(0..3) {
        0 => String::new(),
        1 => " FIRST".into(),
        _ => table.columns.choose(rng).map(|c| format!(" AFTER `{}`", c.name)).unwrap_or_default(),
    }
}

fn with_column(rng: &mut StdRng, table: &Table, clause: impl FnOnce(&str) -> String) -> String {
    let free: Vec<_> = table.columns.iter().filter(|c| !c.primary).collect();
    match free.choose(rng) {
        Some(column) => format!("ALTER TABLE {} {}", table.name, clause(&column.name)),
        None => format!("ALTER TABLE {} FORCE", table.name),
    }
}

/// Two tables change places.
fn swap(model: &Model, rng: &mut StdRng, table: &Table, n: u64) -> String {
    let Some(other) = model.table(rng).filter(|other| other.name != table.name) else {
        return format!("ALTER TABLE {} FORCE", table.name);
    };
    let (a, b, between) = (&table.name, &other.name, format!("`{}`.`away{n}`", model.schemas[0]));
    format!("RENAME TABLE {a} TO {between}, {b} TO {a}, {between} TO {b}")
}
