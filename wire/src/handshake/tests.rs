//! The packets of a login come back as they went, and arbitrary bytes do no harm.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::constants::plugin;

fn greeting() -> Greeting {
    Greeting {
        server_version: "9.7.4".into(),
        connection_id: 77,
        nonce: (1..=20).collect(),
        capabilities: capability::PROTOCOL_41
            | capability::SECURE_CONNECTION
            | capability::PLUGIN_AUTH
            | capability::DEPRECATE_EOF,
        collation: 255,
        status: 2,
        plugin: plugin::CACHING_SHA2.into(),
    }
}

#[test]
fn a_greeting_comes_back() {
    assert_eq!(Greeting::parse(&greeting().encode()), Ok(greeting()));
}

#[test]
fn a_greeting_is_what_another_implementation_expects() {
    use mysql_common::io::ParseBuf;
    use mysql_common::packets::HandshakePacket;
    use mysql_common::proto::MyDeserialize;
    let bytes = greeting().encode();
    let theirs = HandshakePacket::deserialize((), &mut ParseBuf(&bytes)).unwrap();
    assert_eq!(theirs.connection_id(), 77);
    assert_eq!(theirs.server_version_ref(), b"9.7.4");
    assert_eq!(theirs.nonce(), (1..=20).collect::<Vec<u8>>());
    assert_eq!(theirs.auth_plugin_name_ref(), Some(&b"caching_sha2_password"[..]));
}

#[test]
fn a_request_for_tls_is_told_from_a_response() {
    let response = Response {
        capabilities: capability::PROTOCOL_41 | capability::SSL | capability::SECURE_CONNECTION,
        ..Response::default()
    };
    assert_eq!(Response::parse_ssl_request(&response.encode_ssl_request()), Some(response.capabilities));
    assert_eq!(Response::parse_ssl_request(&response.encode()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_response_comes_back(
        flags in any::<u32>(),
        user in "[a-z]{0,20}",
        proof in proptest::collection::vec(any::<u8>(), 0..64),
        database in proptest::option::of("[a-z]{1,20}"),
        plugin in "[a-z_]{1,30}",
        attributes in proptest::collection::vec(("[a-z_]{0,10}", "[a-z]{0,300}"), 0..5),
    ) {
        let mut capabilities = flags | capability::PROTOCOL_41 | capability::SECURE_CONNECTION;
        if database.is_none() {
            capabilities &= !capability::CONNECT_WITH_DB;
        }
        let has = |flag: u32| capabilities & flag != 0;
        let response = Response {
            capabilities,
            max_packet: 1 << 30,
            collation: 255,
            user,
            proof,
            database: database.filter(|_| has(capability::CONNECT_WITH_DB)),
            plugin: has(capability::PLUGIN_AUTH).then_some(plugin),
            attributes: if has(capability::CONNECT_ATTRS) { attributes } else { Vec::new() },
            zstd_level: if has(capability::ZSTD_COMPRESSION) { 7 } else { 0 },
        };
        prop_assert_eq!(Response::parse(&response.encode()), Ok(response));
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_parsers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Greeting::parse(&bytes);
        let _ = Response::parse(&bytes);
        let _ = Response::parse_ssl_request(&bytes);
        let _ = AuthSwitch::parse(&bytes);
        let mut with_version = vec![PROTOCOL_VERSION];
        with_version.extend_from_slice(&bytes);
        let _ = Greeting::parse(&with_version);
        prop_assert!(true);
    }
}

#[test]
fn a_switch_comes_back_without_the_final_nul() {
    let switch = AuthSwitch { plugin: plugin::NATIVE.into(), nonce: (1..=20).collect() };
    assert_eq!(AuthSwitch::parse(&switch.encode()[1..]), Ok(switch));
}
