//! One seed per test, printed, and replayed by a variable.

/// Takes this seed instead of a random one.
const VARIABLE: &str = "TWINLOG_TEST_SEED";

/// The seed of a random test. It is printed, so that a failed test shows it.
pub fn seed() -> u64 {
    let given = std::env::var(VARIABLE).ok().map(|text| text.parse().expect("TWINLOG_TEST_SEED is a number"));
    let seed = given.unwrap_or_else(rand::random);
    println!("seed: {seed} (replay with {VARIABLE}={seed})");
    seed
}
