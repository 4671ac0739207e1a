//! The packets of a login: greeting, response, request for TLS, switch of the authentication.
//!
//! ```text
//! server: greeting (its version, capabilities, 20 random bytes)
//! client: [request for TLS, then the TLS handshake]
//! client: response (capabilities, user, proof of the password)
//! server: [authentication goes on: switch, more data] OK or ERR
//! ```
//!
//! Both sides' parsers take arbitrary bytes.

use crate::constants::{capability, header};
use crate::cursor::{Cursor, Malformed};
use crate::encode::{put_lenenc_bytes, put_nul_terminated};

/// Length of the random bytes that a password's proof is mixed with.
pub(crate) const NONCE: usize = 20;

const PROTOCOL_VERSION: u8 = 10;

/// Length of a response up to the user name, and all of a request for TLS.
const SSL_REQUEST: usize = 32;

/// Connection attributes beyond this many are passed over.
const MAX_ATTRIBUTES: usize = 64;

/// The server's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) server_version: String,
    pub(crate) connection_id: u32,
    pub(crate) nonce: Vec<u8>,
    pub(crate) capabilities: u32,
    pub(crate) collation: u8,
    pub(crate) status: u16,
    pub(crate) plugin: String,
}

impl Greeting {
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(packet);
        if cursor.u8()? != PROTOCOL_VERSION {
            return Err(Malformed("a greeting of another protocol than version 10"));
        }
        let server_version = text(cursor.nul_terminated()?);
        let connection_id = cursor.u32()?;
        let mut nonce = cursor.take(8)?.to_vec();
        cursor.u8()?;
        let low = cursor.u16()?;
        let collation = cursor.u8()?;
        let status = cursor.u16()?;
        let capabilities = u32::from(low) | u32::from(cursor.u16()?) << 16;
        cursor.take(11)?;
        let mut plugin = String::new();
        if capabilities & capability::SECURE_CONNECTION != 0 {
            nonce.extend_from_slice(cursor.take(NONCE - 8)?);
            cursor.u8()?;
        }
        if capabilities & capability::PLUGIN_AUTH != 0 {
            plugin = text(cursor.nul_terminated_or_rest());
        }
        Ok(Self { server_version, connection_id, nonce, capabilities, collation, status, plugin })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let [low_a, low_b, high_a, high_b] = self.capabilities.to_le_bytes();
        let (first, second) = self.nonce.split_at(self.nonce.len().min(8));
        let mut out = vec![PROTOCOL_VERSION];
        put_nul_terminated(&mut out, self.server_version.as_bytes());
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(first);
        out.extend_from_slice(&[0, low_a, low_b, self.collation]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[high_a, high_b, 21]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(second);
        out.push(0);
        put_nul_terminated(&mut out, self.plugin.as_bytes());
        out
    }
}

/// What a client answers to a greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) capabilities: u32,
    pub(crate) max_packet: u32,
    pub(crate) collation: u8,
    pub(crate) user: String,
    pub(crate) proof: Vec<u8>,
    pub(crate) database: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
    /// How hard to pack; of no meaning without the capability.
    pub(crate) zstd_level: u8,
}

impl Response {
    /// The capabilities, where the packet is a request for TLS and nothing more.
    pub(crate) fn parse_ssl_request(packet: &[u8]) -> Option<u32> {
        let capabilities = Cursor::new(packet).u32().ok()?;
        (packet.len() == SSL_REQUEST && capabilities & capability::SSL != 0).then_some(capabilities)
    }

    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(packet);
        let capabilities = cursor.u32()?;
        if capabilities & capability::PROTOCOL_41 == 0 {
            return Err(Malformed("a client from before MySQL 4.1"));
        }
        let has = |flag: u32| capabilities & flag != 0;
        let max_packet = cursor.u32()?;
        let collation = cursor.u8()?;
        cursor.take(23)?;
        let user = text(cursor.nul_terminated()?);
        let proof = if has(capability::PLUGIN_AUTH_LENENC_DATA) {
            cursor.lenenc_bytes()?
        } else if has(capability::SECURE_CONNECTION) {
            let length = cursor.u8()?;
            cursor.take(usize::from(length))?
        } else {
            cursor.nul_terminated()?
        };
        let mut response =
            Self { capabilities, max_packet, collation, user, proof: proof.to_vec(), ..Self::default() };
        if has(capability::CONNECT_WITH_DB) && !cursor.is_empty() {
            response.database = Some(text(cursor.nul_terminated_or_rest())).filter(|name| !name.is_empty());
        }
        if has(capability::PLUGIN_AUTH) && !cursor.is_empty() {
            response.plugin = Some(text(cursor.nul_terminated_or_rest()));
        }
        if has(capability::CONNECT_ATTRS) && !cursor.is_empty() {
            response.attributes = parse_attributes(cursor.lenenc_bytes()?)?;
        }
        if has(capability::ZSTD_COMPRESSION) {
            response.zstd_level = cursor.u8()?;
        }
        Ok(response)
    }

    fn put_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.capabilities.to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; 23]);
    }

    /// The request for TLS that goes before the response itself.
    pub(crate) fn encode_ssl_request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SSL_REQUEST);
        self.put_head(&mut out);
        out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let has = |flag: u32| self.capabilities & flag != 0;
        let mut out = Vec::new();
        self.put_head(&mut out);
        put_nul_terminated(&mut out, self.user.as_bytes());
        if has(capability::PLUGIN_AUTH_LENENC_DATA) {
            put_lenenc_bytes(&mut out, &self.proof);
        } else {
            // A proof is at most 32 bytes, so its length fits one byte.
            let proof = &self.proof[..self.proof.len().min(255)];
            out.push(u8::try_from(proof.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(proof);
        }
        if has(capability::CONNECT_WITH_DB) {
            put_nul_terminated(&mut out, self.database.as_deref().unwrap_or_default().as_bytes());
        }
        if has(capability::PLUGIN_AUTH) {
            put_nul_terminated(&mut out, self.plugin.as_deref().unwrap_or_default().as_bytes());
        }
        if has(capability::CONNECT_ATTRS) {
            let mut attributes = Vec::new();
            for (name, value) in &self.attributes {
                put_lenenc_bytes(&mut attributes, name.as_bytes());
                put_lenenc_bytes(&mut attributes, value.as_bytes());
            }
            put_lenenc_bytes(&mut out, &attributes);
        }
        if has(capability::ZSTD_COMPRESSION) {
            out.push(self.zstd_level);
        }
        out
    }
}

fn parse_attributes(bytes: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let mut attributes = Vec::new();
    while !cursor.is_empty() && attributes.len() < MAX_ATTRIBUTES {
        attributes.push((text(cursor.lenenc_bytes()?), text(cursor.lenenc_bytes()?)));
    }
    Ok(attributes)
}

/// The server wants the password proved another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthSwitch {
    pub(crate) plugin: String,
    pub(crate) nonce: Vec<u8>,
}

impl AuthSwitch {
    /// Parses what follows the header byte.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let plugin = text(cursor.nul_terminated()?);
        let rest = cursor.rest();
        Ok(Self { plugin, nonce: rest.strip_suffix(&[0]).unwrap_or(rest).to_vec() })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![header::EOF];
        put_nul_terminated(&mut out, self.plugin.as_bytes());
        out.extend_from_slice(&self.nonce);
        out.push(0);
        out
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
