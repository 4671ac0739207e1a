//! Tables with every column type of MySQL 9, and rows at the edges of each. Every table has a column `id` and a column
//! `touched` for the other region to change.

/// Edges of the calendar need a session that allows them; a session's time zone must not matter.
pub(crate) const SESSION: [&str; 2] = ["SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+05:30'"];

const TABLES: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "CREATE TABLE shop.numbers (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, \
     t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, su SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED, \
     i INT, iu INT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED, z INT ZEROFILL, bo BOOLEAN, \
     d1 DECIMAL(1,0), d2 DECIMAL(5,5), d3 DECIMAL(65,30), d4 DECIMAL(65,0), d5 DECIMAL(10,3) UNSIGNED, \
     f FLOAT, fd FLOAT(7,3), d DOUBLE, dd DOUBLE(20,6), b1 BIT(1), b8 BIT(8), b9 BIT(9), b64 BIT(64))",
    "CREATE TABLE shop.times (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, \
     d DATE, y YEAR, t0 TIME, t1 TIME(1), t2 TIME(2), t3 TIME(3), t4 TIME(4), t5 TIME(5), t6 TIME(6), \
     dt0 DATETIME, dt1 DATETIME(1), dt3 DATETIME(3), dt4 DATETIME(4), dt6 DATETIME(6), \
     ts0 TIMESTAMP NULL, ts2 TIMESTAMP(2) NULL, ts3 TIMESTAMP(3) NULL, ts6 TIMESTAMP(6) NULL)",
    "CREATE TABLE shop.binaries (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, \
     b1 BINARY(1), b255 BINARY(255), v VARBINARY(10), vl VARBINARY(3000), \
     bt TINYBLOB, bl BLOB, bm MEDIUMBLOB, bll LONGBLOB)",
    "CREATE TABLE shop.charsets (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, \
     latin1 VARCHAR(60) CHARACTER SET latin1, utf8mb3 VARCHAR(60) CHARACTER SET utf8mb3, \
     ucs2 VARCHAR(60) CHARACTER SET ucs2, utf16 VARCHAR(60) CHARACTER SET utf16, \
     utf16le VARCHAR(60) CHARACTER SET utf16le, utf32 CHAR(60) CHARACTER SET utf32, \
     sjis VARCHAR(60) CHARACTER SET sjis, cp932 CHAR(60) CHARACTER SET cp932, gbk VARCHAR(60) CHARACTER SET gbk, \
     gb18030 VARCHAR(60) CHARACTER SET gb18030, big5 TEXT CHARACTER SET big5, koi8r CHAR(60) CHARACTER SET koi8r, \
     greek VARCHAR(60) CHARACTER SET greek, as_cs VARCHAR(60) COLLATE utf8mb4_0900_as_cs, \
     ja VARCHAR(60) COLLATE utf8mb4_ja_0900_as_cs_ks, bin VARCHAR(60) COLLATE utf8mb4_bin)",
    "CREATE TABLE shop.documents (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, j JSON, \
     g GEOMETRY, p POINT SRID 4326, l LINESTRING, po POLYGON, mp MULTIPOINT, ml MULTILINESTRING, mpo MULTIPOLYGON, \
     gc GEOMETRYCOLLECTION, v VECTOR(4), vbig VECTOR(3000))",
    "CREATE TABLE shop.generated (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, a INT, b INT, \
     s BIGINT AS (a * 10) STORED, v BIGINT AS (a + b) VIRTUAL, t VARCHAR(60) AS (CONCAT('<', a, '>')) VIRTUAL UNIQUE, \
     hidden INT DEFAULT 7 INVISIBLE, e INT DEFAULT (41 + 1), u CHAR(36) DEFAULT (UUID()), \
     KEY (s), KEY ((a * b)), CHECK (a < 1000000))",
    "CREATE TABLE shop.parts (id INT, touched INT NOT NULL DEFAULT 0, region VARCHAR(10), amount DECIMAL(8,2), \
     PRIMARY KEY (id, region)) PARTITION BY LIST COLUMNS (region) \
     (PARTITION a VALUES IN ('eu', 'ap'), PARTITION b VALUES IN ('us'))",
    "CREATE TABLE shop.unkeyed (id INT, touched INT NOT NULL DEFAULT 0, t TEXT, d DOUBLE)",
    "CREATE TABLE shop.`odd; näme` (`id` INT NOT NULL UNIQUE, touched INT NOT NULL DEFAULT 0, `a b` INT, `select` TEXT)",
    "SET SESSION sql_generate_invisible_primary_key = ON",
    "CREATE TABLE shop.given_a_key (id INT, touched INT NOT NULL DEFAULT 0, t TEXT)",
    "SET SESSION sql_generate_invisible_primary_key = OFF",
];

/// The statements that make the tables.
pub(crate) fn tables() -> Vec<String> {
    // 64 members fill eight bytes; an ENUM of more than 255 members takes two.
    let members = |count: u32| (0..count).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(", ");
    let texts = format!(
        "CREATE TABLE shop.texts (id INT PRIMARY KEY, touched INT NOT NULL DEFAULT 0, \
         c1 CHAR(1), c255 CHAR(255), cl CHAR(20) CHARACTER SET latin1, v VARCHAR(50), vl VARCHAR(2000), \
         tt TINYTEXT, tx TEXT, tm MEDIUMTEXT, tl LONGTEXT, e ENUM('', 'one', 'zwei', '三'), e300 ENUM({}), \
         s SET('a', 'b', 'c', 'd', 'ü'), s64 SET({}))",
        members(300),
        members(64)
    );
    TABLES.iter().map(|&t| t.to_owned()).chain([texts]).collect()
}

/// The statements that write the rows.
pub(crate) const ROWS: &[&str] = &[
    "INSERT INTO shop.numbers (id) VALUES (0)",
    "INSERT INTO shop.numbers VALUES (1, 0, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, \
     0, FALSE, -9, -0.99999, -99999999999999999999999999999999999.999999999999999999999999999999, \
     -99999999999999999999999999999999999999999999999999999999999999999, 0, \
     -3.402823466E+38, -9999.999, -1.7976931348623157E+308, -99999999999999.999999, b'0', b'0', b'0', b'0')",
    "INSERT INTO shop.numbers VALUES (2, 0, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, \
     9223372036854775807, 18446744073709551615, 42, TRUE, 9, 0.99999, \
     99999999999999999999999999999999999.999999999999999999999999999999, \
     99999999999999999999999999999999999999999999999999999999999999999, 9999999.999, \
     3.402823466E+38, 9999.999, 1.7976931348623157E+308, 99999999999999.999999, b'1', b'11111111', b'111111111', ~0)",
    "INSERT INTO shop.numbers VALUES (3, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, 7, -5, 0, 0.00001, \
     0.000000000000000000000000000001, -1, 0.001, 1.2345678, -0.001, 5e-324, -0.000001, b'1', b'10', b'100000000', 1)",
    "INSERT INTO shop.numbers (id, f, d, d3) VALUES (4, 1.17549435E-38, 2.2250738585072014E-308, -0.5), \
     (5, -0.0, -0.0, 0), (6, 16777217, 0.1, 123456789.000000000123456789)",
    "INSERT INTO shop.times (id) VALUES (0)",
    "INSERT INTO shop.times VALUES (1, 0, '0000-00-00', 0, '-838:59:59', '-838:59:59.0', '-00:00:00.01', \
     '-00:00:00.001', '-01:02:03.4567', '-00:00:01.00001', '-838:59:58.999999', '0000-00-00 00:00:00', \
     '0000-00-00 00:00:00.0', '1000-01-01 00:00:00.001', '2024-00-00 00:00:00', '0000-00-00 00:00:00.000000', \
     '1970-01-01 05:30:01', '1970-01-01 05:30:01.01', '0000-00-00', '1970-01-01 05:30:01.000001')",
    "INSERT INTO shop.times VALUES (2, 0, '9999-12-31', 2155, '838:59:59', '838:59:58.9', '23:59:59.99', \
     '00:00:00.001', '00:00:00.0001', '00:00:00.00001', '00:00:00.000001', '9999-12-31 23:59:59', \
     '9999-12-31 23:59:59.4', '9999-12-31 23:59:59.499', '2000-02-29 12:00:00.1234', '9999-12-31 23:59:59.499999', \
     '2038-01-19 08:44:07', '2038-01-19 08:44:07.49', '2038-01-19 08:44:07.499', '2038-01-19 08:44:07.499999')",
    "INSERT INTO shop.times VALUES (3, 0, '2024-02-29', 1901, '00:00:00', '-00:00:00.5', '-00:00:59.99', \
     '-00:59:59.999', '-23:59:59.9999', '-00:00:00.99999', '-00:00:00.000001', NOW(), NOW(1), NOW(3), NOW(4), NOW(6), \
     NOW(), NOW(2), NOW(3), NOW(6))",
    "INSERT INTO shop.texts (id) VALUES (0)",
    "INSERT INTO shop.texts VALUES (1, 0, '', '', '', '', '', '', '', '', '', '', 'm0', '', '')",
    "INSERT INTO shop.texts VALUES (2, 0, '🐬', REPEAT('🐬', 255), 'naïve café', REPEAT('漢', 50), REPEAT('é', 2000), \
     REPEAT('t', 255), REPEAT('x', 65535), REPEAT('m', 70000), REPEAT('l', 300000), '三', 'm299', 'a,b,c,d,ü', \
     'm0,m1,m31,m32,m63')",
    "INSERT INTO shop.texts (id, c1, c255, v, tx, e, e300, s) VALUES (3, ' ', 'trail  ', 'trail  ', \
     'quote '' \\\\ \\n \\0 end', 'nonsense', 'm255', 'ü')",
    "INSERT INTO shop.binaries (id) VALUES (0)",
    "INSERT INTO shop.binaries VALUES (1, 0, '', '', '', '', '', '', '', '')",
    "INSERT INTO shop.binaries VALUES (2, 0, X'FF', REPEAT(X'00FF', 127), X'00010203', REPEAT(X'DEADBEEF', 750), \
     REPEAT(X'00', 255), REPEAT(X'C3', 65535), REPEAT(X'F0', 70000), REPEAT(X'27', 300000))",
    "INSERT INTO shop.binaries (id, b255, vl) VALUES (3, X'6100', X'6120200000')",
    "INSERT INTO shop.charsets (id) VALUES (0)",
    "INSERT INTO shop.charsets VALUES (1, 0, 'Ünïcödé €', 'ß漢字', 'Ж漢', 'a🐬b', 'a🐬b', 'a🐬b', 'カタカナ', '漢字ｶﾅ', '汉字', \
     '汉字🐬', '漢字', 'Привет', 'Ελληνικά', 'Straße', 'はひふ', 'B b')",
    "INSERT INTO shop.documents (id) VALUES (0)",
    "INSERT INTO shop.documents VALUES (1, 0, JSON_OBJECT('a', 1, 'b', JSON_ARRAY(NULL, TRUE, FALSE, -1, 1.5, 1e300, \
     18446744073709551615, -9223372036854775808), 'ü', '🐬', '', JSON_OBJECT()), ST_GeomFromText('POINT(1 2)'), \
     ST_GeomFromText('POINT(52.5 13.4)', 4326), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 -2)'), \
     ST_GeomFromText('POLYGON((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 2 1, 2 2, 1 2, 1 1))'), \
     ST_GeomFromText('MULTIPOINT(1 1, 2 2)'), ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))'), \
     ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))'), \
     ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))'), \
     STRING_TO_VECTOR('[1, -2.5, 3e-38, 3.4e38]'), STRING_TO_VECTOR(CONCAT('[', REPEAT('0.5,', 2999), '1]')))",
    "INSERT INTO shop.documents (id, j) VALUES (2, 'null'), (3, '[]'), (4, '\"text\"'), (5, '-0.0'), \
     (6, CAST(NOW(6) AS JSON)), (7, CAST(CAST('-838:59:59.000001' AS TIME(6)) AS JSON)), \
     (8, CAST(CAST(1.10 AS DECIMAL(20,10)) AS JSON)), (9, JSON_OBJECT('big', REPEAT('x', 100000), 'k', 1)), \
     (10, JSON_ARRAY(CAST(X'00FF' AS JSON))), (11, CONCAT('{\"list\": [', REPEAT('1,', 9999), '1]}'))",
    "UPDATE shop.documents SET j = JSON_SET(j, '$.k', 2) WHERE id = 9",
    "UPDATE shop.documents SET j = JSON_REMOVE(JSON_REPLACE(j, '$.a', 'replaced'), '$.b[0]') WHERE id = 1",
    "UPDATE shop.documents SET j = JSON_ARRAY_APPEND(j, '$.list', CAST('{\"n\": [1, 2]}' AS JSON)) WHERE id = 11",
    "INSERT INTO shop.generated (id, a, b) VALUES (0, NULL, NULL), (1, 5, 6), (2, -1, 0)",
    "INSERT INTO shop.generated (id, a, b, hidden, e, u) VALUES (3, 999999, 1, NULL, NULL, 'x')",
    "INSERT INTO shop.parts (id, region, amount) VALUES (1, 'eu', 1.10), (1, 'us', -2.20), (2, 'ap', NULL)",
    "UPDATE shop.parts SET region = 'us' WHERE id = 2",
    "INSERT INTO shop.unkeyed (id, t, d) VALUES (1, 'same', 0.1), (1, 'same', 0.1), (2, NULL, NULL)",
    "INSERT INTO shop.`odd; näme` (id, `a b`, `select`) VALUES (1, 2, 'from')",
    "INSERT INTO shop.given_a_key (id, t) VALUES (1, 'a'), (1, 'a')",
];
