//! What the folding of keys rests on: texts are equal under a collation where and only where their weights are, less
//! trailing spaces where it pads.

use harness::{Region, RegionOptions, take_slot};

/// Texts that one collation or another holds for equal: case, accents, expansions, kana, widths, spaces, nothing at all.
const TEXTS: [&str; 60] = [
    "a", "A", "a ", "á", "ä", "ae", "æ", "Æ", "ß", "ss", "SS", "straße", "STRASSE", "i", "j", "y", "ı", "I",
    "ij", "ĳ", "u", "v", "w", "ü", "ue", "o", "ø", "ö", "oe", "å", "aa", "ch", "cs", "ll", "ñ", "n", "é",
    "e", "日", "本", "か", "が", "カ", "ｶ", "", "  ", "½", "2", "２", "😀", "😁", "ﬁ", "fi", "ś", "đ", "d",
    "ŀ", "l·l", "中 ", "中",
];

/// Old ones by which the server itself compares otherwise than its weights say; named in docs/limits.md.
const NOT_BY_WEIGHT: [&str; 4] =
    ["big5_chinese_ci", "cp1250_czech_cs", "gb18030_chinese_ci", "tis620_thai_ci"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_equal_where_their_weights_are() {
    let _slot = take_slot().await;
    let [region] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    let texts: Vec<String> = TEXTS.iter().enumerate().map(|(i, text)| format!("({i}, '{text}')")).collect();
    region
        .run_all(&[
            "SET NAMES utf8mb4",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (i INT PRIMARY KEY, t VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)",
            &format!("INSERT INTO shop.t VALUES {}", texts.join(", ")),
        ])
        .await;
    let query = "SELECT COLLATION_NAME, CHARACTER_SET_NAME, PAD_ATTRIBUTE FROM information_schema.COLLATIONS \
        WHERE COLLATION_NAME <> 'binary' ORDER BY ID";
    let collations: Vec<(String, String, String)> = region.rows(query).await;
    assert!(collations.len() > 200, "{}", collations.len());
    let mut equal = 0;
    for (name, charset, pad) in collations.iter().filter(|(name, ..)| !NOT_BY_WEIGHT.contains(&name.as_str()))
    {
        // As applier/src/conflict/weights.rs asks.
        let text = |alias: &str| format!("CONVERT({alias}.t USING {charset}) COLLATE {name}");
        let weight = |alias: &str| {
            let weight = format!("WEIGHT_STRING({})", text(alias));
            let space = format!("WEIGHT_STRING(CONVERT(' ' USING {charset}) COLLATE {name})");
            if pad == "PAD SPACE" { format!("TRIM(TRAILING {space} FROM {weight})") } else { weight }
        };
        let same = format!("({} = {})", text("a"), text("b"));
        let weighs_the_same = format!("(SHA2({}, 256) = SHA2({}, 256))", weight("a"), weight("b"));
        let differ: (u64, u64) = region
            .row(&format!(
                "SELECT CAST(SUM({same} <> {weighs_the_same}) AS UNSIGNED), CAST(SUM({same}) AS UNSIGNED) \
                 FROM shop.t a JOIN shop.t b ON a.i < b.i"
            ))
            .await;
        assert_eq!(differ.0, 0, "{name}");
        equal += differ.1;
    }
    println!("{} collations, {equal} pairs of equal texts", collations.len());
    assert!(equal > 1000, "{equal}");
}
