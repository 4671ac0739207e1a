//! GTID sets against a plain set of numbers, and against bytes a server wrote.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::{prop_assert, prop_assert_eq};
use uuid::Uuid;

use crate::gtid::{Gtid, GtidParseError, GtidSet, GtidWireError, Sequence, Tag};

const EU: Uuid = Uuid::from_u128(0x1efb3399_e4c7_11f1_b0df_02fc00000001);
const US: Uuid = Uuid::from_u128(0x2efb3399_e4c7_11f1_b0df_02fc00000002);

fn sequences() -> [Sequence; 4] {
    let tag = |t: &str| Tag::new(t).unwrap();
    [EU.into(), Sequence { uuid: EU, tag: tag("abc") }, Sequence { uuid: EU, tag: tag("_x9") }, US.into()]
}

/// A naive set: pairs of sequence index and number.
type Model = BTreeSet<(usize, u64)>;

fn build(model: &Model) -> GtidSet {
    let all = sequences();
    model.iter().map(|&(s, gno)| Gtid { sequence: all[s].clone(), gno }).collect()
}

fn models() -> impl Strategy<Value = Model> {
    vec((0..4usize, 1..40u64), 0..80).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #[test]
    fn a_set_answers_as_a_plain_set_of_numbers_does(a in models(), b in models()) {
        let (sa, sb) = (build(&a), build(&b));
        prop_assert_eq!(sa.count(), a.len() as u64);
        prop_assert_eq!(sa.contains_all(&sb), a.is_superset(&b));
        prop_assert_eq!(sa.minus(&sb), build(&a.difference(&b).copied().collect()));
        prop_assert_eq!(sa.intersection(&sb), build(&a.intersection(&b).copied().collect()));
        let mut union = sa.clone();
        union.union_with(&sb);
        prop_assert_eq!(union, build(&a.union(&b).copied().collect()));
        for (s, sequence) in sequences().into_iter().enumerate() {
            for gno in 1..41 {
                prop_assert_eq!(sa.contains(&Gtid { sequence: sequence.clone(), gno }), a.contains(&(s, gno)));
            }
        }
    }

    #[test]
    fn the_order_of_insertion_does_not_matter_and_runs_stay_apart(mut pairs in vec((0..4usize, 1..40u64), 0..60)) {
        let forward = build(&pairs.iter().copied().collect());
        let mut backward = GtidSet::new();
        pairs.reverse();
        for (s, gno) in pairs {
            let gtid = Gtid { sequence: sequences()[s].clone(), gno };
            let had = backward.contains(&gtid);
            prop_assert_eq!(backward.insert(&gtid), !had);
        }
        prop_assert_eq!(&forward, &backward);
        for (_, runs) in forward.sequences() {
            prop_assert!(runs.runs().windows(2).all(|w| w[0].1 < w[1].0));
        }
    }

    #[test]
    fn text_and_bytes_read_back_as_the_same_set(model in models()) {
        let set = build(&model);
        prop_assert_eq!(set.to_string().parse::<GtidSet>(), Ok(set.clone()));
        prop_assert_eq!(GtidSet::from_wire(&set.to_wire()), Ok(set));
    }

    #[test]
    fn arbitrary_bytes_and_texts_are_refused_or_read_but_never_panic(bytes in vec(any::<u8>(), 0..200), text in ".*") {
        let _ = GtidSet::from_wire(&bytes);
        let _ = text.parse::<GtidSet>();
        let mut tagged = vec![1, 2, 0, 0, 0, 0, 0, 1];
        tagged.extend_from_slice(&bytes);
        let _ = GtidSet::from_wire(&tagged);
    }

    #[test]
    fn a_cut_in_the_bytes_is_found(model in models(), cut in 1..64usize) {
        let wire = build(&model).to_wire();
        if cut < wire.len() {
            prop_assert!(GtidSet::from_wire(&wire[..wire.len() - cut]).is_err());
        }
    }
}

/// The Previous_gtids event of a 9.7.4 server whose set is the text beside it.
#[test]
fn bytes_of_a_server_with_tags_are_read_and_written_exactly() {
    let wire: Vec<u8> = [
        &[1, 3, 0, 0, 0, 0, 0, 1][..],
        EU.as_bytes(),
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0],
        EU.as_bytes(),
        b"\x06abc\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0",
        EU.as_bytes(),
        b"\x20abc_longer_tag_9\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0",
    ]
    .concat();
    let set = GtidSet::from_wire(&wire).unwrap();
    assert_eq!(set.to_string(), "1efb3399-e4c7-11f1-b0df-02fc00000001:1-3:abc:1:abc_longer_tag_9:1");
    assert_eq!(set.to_wire(), wire);
}

#[test]
fn text_is_read_as_the_server_writes_and_accepts_it() {
    let set: GtidSet =
        " 1EFB3399-E4C7-11F1-B0DF-02FC00000001:1-3:5 : 4,\n,2efb3399e4c711f1b0df02fc00000002:Abc:7\n"
            .parse()
            .unwrap();
    assert_eq!(
        set.to_string(),
        "1efb3399-e4c7-11f1-b0df-02fc00000001:1-5,2efb3399-e4c7-11f1-b0df-02fc00000002:abc:7"
    );
    assert_eq!("".parse(), Ok(GtidSet::new()));
    assert_eq!(set.uuids().collect::<Vec<_>>(), [EU, US]);
}

#[test]
fn faults_in_a_text_are_named() {
    use GtidParseError::{Empty, Part, Range, Uuid as NoUuid};
    let parse = |text: &str| text.parse::<GtidSet>();
    assert_eq!(parse("eu:1"), Err(NoUuid("eu".into())));
    assert_eq!(parse(&format!("{EU}")), Err(Empty(EU.to_string())));
    assert_eq!(parse(&format!("{EU}:0")), Err(Range("0".into())));
    assert_eq!(parse(&format!("{EU}:5-3")), Err(Range("5-3".into())));
    assert_eq!(parse(&format!("{EU}:9223372036854775807")), Err(Range("9223372036854775807".into())));
    assert_eq!(parse(&format!("{EU}:a-b:1")), Err(Part("a-b".into())));
    assert_eq!(parse(&format!("{EU}:abc")), Err(Empty(format!("{EU}:abc"))));
    assert_eq!(format!("{EU}:1-2").parse::<Gtid>(), Err(GtidParseError::NotOne(format!("{EU}:1-2"))));
    assert_eq!(format!("{EU}:abc:2").parse::<Gtid>().unwrap().to_string(), format!("{EU}:abc:2"));
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_refused_before_memory_is_asked_for() {
    assert_eq!(GtidSet::from_wire(&[255, 255, 255, 255, 255, 255, 255, 0]), Err(GtidWireError::Truncated));
    assert_eq!(GtidSet::from_wire(&[0, 0, 0, 0, 0, 0, 0, 7]), Err(GtidWireError::Format(7)));
    assert_eq!(GtidSet::from_wire(&[0; 9]), Err(GtidWireError::Trailing(1)));
    assert_eq!(GtidSet::from_wire(&[]), Err(GtidWireError::Truncated));
}
