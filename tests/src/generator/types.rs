//! Column types, and values for each: plain ones, edges, and now and then one that does not fit.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Types of columns, as they are defined.
const TYPES: &[&str] = &[
    "TINYINT",
    "SMALLINT UNSIGNED",
    "MEDIUMINT",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(10,2)",
    "DECIMAL(65,30)",
    "FLOAT",
    "DOUBLE",
    "BIT(1)",
    "BIT(33)",
    "DATE",
    "YEAR",
    "TIME",
    "TIME(3)",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP NULL",
    "TIMESTAMP(6) NULL",
    "CHAR(10)",
    "CHAR(30) CHARACTER SET latin1",
    "VARCHAR(20)",
    "VARCHAR(300) CHARACTER SET utf8mb3",
    "VARCHAR(40) COLLATE utf8mb4_bin",
    "VARCHAR(30) CHARACTER SET utf16",
    "VARCHAR(100) CHARACTER SET gb18030",
    "BINARY(8)",
    "VARBINARY(50)",
    "TINYTEXT",
    "TEXT",
    "MEDIUMTEXT",
    "BLOB",
    "LONGBLOB",
    "JSON",
    "ENUM('a', 'b', 'c,d', 'it''s', '')",
    "SET('x', 'y', 'z', 'w')",
    "POINT",
    "GEOMETRY",
    "VECTOR(3)",
];

/// Types that can be a key by themselves.
const KEY_TYPES: &[&str] = &[
    "INT",
    "BIGINT UNSIGNED",
    "VARCHAR(20)",
    "VARCHAR(20) COLLATE utf8mb4_0900_as_cs",
    "CHAR(8) CHARACTER SET latin1",
    "VARBINARY(12)",
    "DATETIME(3)",
    "DECIMAL(12,3)",
    "DATE",
];

pub(super) fn any(rng: &mut StdRng) -> &'static str {
    TYPES.choose(rng).expect("there are types")
}

pub(super) fn for_key(rng: &mut StdRng) -> &'static str {
    KEY_TYPES.choose(rng).expect("there are types")
}

/// Words: equal ones in other letters among them, so that collations matter.
const WORDS: &[&str] = &[
    "a",
    "A",
    "á",
    "b",
    "B ",
    "ß",
    "ss",
    "naïve",
    "漢字",
    "emoji 🦀",
    "x",
    "",
    " ",
    "O''Brien",
    "back\\\\slash",
    "line\\nbreak",
    "zz",
    "Zz",
    "long long long text that goes on",
];

/// A value of a column of this type (`COLUMN_TYPE`), as SQL.
pub(super) fn value(rng: &mut StdRng, kind: &str) -> String {
    let base = kind.split(['(', ' ']).next().unwrap_or_default();
    match base {
        "tinyint" => integer(rng, -128, 127),
        "smallint" => integer(rng, 0, 32767),
        "mediumint" => integer(rng, -8_388_608, 8_388_607),
        "int" => integer(rng, if kind.contains("unsigned") { 0 } else { -2_147_483_648 }, 2_147_483_647),
        "bigint" if kind.contains("unsigned") => {
            ["0", "1", "18446744073709551615", "9223372036854775808", "42"]
                .choose(rng)
                .unwrap_or(&"0")
                .to_string()
        }
        "bigint" => integer(rng, i64::MIN, i64::MAX),
        "decimal" => format!("{}.{:02}", rng.random_range(-99_999..99_999), rng.random_range(0..100)),
        "float" | "double" => match rng.random_range(0..4) {
            0 => "0".into(),
            1 => format!("{:e}", rng.random_range(-1e30..1e30)),
            2 => format!("{}", rng.random_range(-1000.0..1000.0)),
            _ => "-1.5".into(),
        },
        "bit" => format!("b'{:b}'", rng.random_range(0..if kind == "bit(1)" { 2 } else { 1u64 << 33 })),
        "date" => format!("'{}'", date(rng)),
        "year" => rng.random_range(1901..2156).to_string(),
        "time" => format!(
            "'{}{}:{:02}:{:02}.{:06}'",
            ["", "-"].choose(rng).unwrap_or(&""),
            rng.random_range(0..838),
            rng.random_range(0..60),
            rng.random_range(0..60),
            rng.random_range(0..1_000_000)
        ),
        "datetime" => format!("'{} {}'", date(rng), clock(rng)),
        "timestamp" => format!(
            "'{}-{:02}-{:02} {}'",
            rng.random_range(1971..2037),
            rng.random_range(1..13),
            rng.random_range(1..29),
            clock(rng)
        ),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => bytes(rng, base),
        "json" => json(rng, 0),
        "enum" => ["'a'", "'b'", "'c,d'", "'it''s'", "''", "2"].choose(rng).unwrap_or(&"1").to_string(),
        "set" => ["'x'", "'x,y'", "'w'", "''", "'x,y,z,w'"].choose(rng).unwrap_or(&"''").to_string(),
        "point" => format!("POINT({}, {})", rng.random_range(-90..90), rng.random_range(-90..90)),
        "geometry" => {
            let (x, y) = (rng.random_range(0..50), rng.random_range(0..50));
            ["ST_GeomFromText('LINESTRING(0 0,1 1,2 X)')", "ST_GeomFromText('POLYGON((0 0,X 0,X Y,0 0))')"]
                .choose(rng)
                .unwrap_or(&"")
                .replace('X', &(x + 1).to_string())
                .replace('Y', &(y + 1).to_string())
        }
        "vector" => format!("TO_VECTOR('[{}, {}, 1e-5]')", rng.random_range(-9..9), rng.random_range(-9..9)),
        _ => text(rng, base),
    }
}

fn integer(rng: &mut StdRng, low: i64, high: i64) -> String {
    match rng.random_range(0..10) {
        0 => low.to_string(),
        1 => high.to_string(),
        // Small ones, so that keys meet.
        2..=7 => rng.random_range(0.max(low)..100).to_string(),
        _ => rng.random_range(low..=high).to_string(),
    }
}

fn date(rng: &mut StdRng) -> String {
    format!("{}-{:02}-{:02}", rng.random_range(1000..9999), rng.random_range(1..13), rng.random_range(1..29))
}

fn clock(rng: &mut StdRng) -> String {
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        rng.random_range(3..24),
        rng.random_range(0..60),
        rng.random_range(0..60),
        rng.random_range(0..1_000_000)
    )
}

fn bytes(rng: &mut StdRng, base: &str) -> String {
    let longest = match base {
        "longblob" => 60_000,
        "blob" => 5_000,
        _ => 8,
    };
    let length = if rng.random_bool(0.9) { rng.random_range(0..9) } else { rng.random_range(0..=longest) };
    if length > 64 {
        return format!("REPEAT(X'{:02x}00', {})", rng.random_range(0..256), length / 2);
    }
    let hex: String = (0..length).map(|_| format!("{:02x}", rng.random_range(0..256))).collect();
    format!("X'{hex}'")
}

fn text(rng: &mut StdRng, base: &str) -> String {
    let word = WORDS.choose(rng).unwrap_or(&"a");
    if base == "mediumtext" && rng.random_bool(0.1) {
        return format!("REPEAT('{word}', {})", rng.random_range(1..20_000));
    }
    match rng.random_range(0..4) {
        0 => format!("'{word}'"),
        1 => format!("'{}'", rng.random_range(0..100)),
        _ => format!("'{word}{}'", rng.random_range(0..40)),
    }
}

/// A JSON document, as SQL.
pub(super) fn json(rng: &mut StdRng, depth: u32) -> String {
    match rng.random_range(0..if depth > 2 { 5 } else { 8 }) {
        0 => format!("CAST({} AS JSON)", rng.random_range(-1000..1000)),
        1 => format!("JSON_QUOTE('{}')", WORDS.choose(rng).unwrap_or(&"a")),
        2 => "CAST('true' AS JSON)".into(),
        3 => "CAST(1.25 AS JSON)".into(),
        4 => format!("CAST(TIMESTAMP'2024-01-01 00:00:{:02}' AS JSON)", rng.random_range(0..60)),
        5 => format!("JSON_ARRAY({}, {})", json(rng, depth + 1), json(rng, depth + 1)),
        _ => {
            format!("JSON_OBJECT('k', {}, 'n', {}, 'é', 'x')", json(rng, depth + 1), rng.random_range(0..100))
        }
    }
}
