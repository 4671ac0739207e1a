//! A request, taken apart.

use hyper::Method;
use serde::de::DeserializeOwned;

use super::reply::Reply;

/// A request that may be answered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it was asked for, with its query.
    pub(crate) target: String,
    pub(crate) path: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// Takes a request's target apart; `None` when it holds what can't be decoded.
    pub(crate) fn new(method: Method, path: &str, query: Option<&str>, body: Vec<u8>) -> Option<Self> {
        let segments = path.trim_start_matches('/').split('/').map(decoded).collect::<Option<_>>()?;
        let mut pairs = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?));
        }
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        Some(Self { method, target, path: segments, query: pairs, body })
    }

    /// The segments of the path.
    pub(crate) fn steps(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Refuses another method, and for GET a query that nobody knows.
    pub(crate) fn only(&self, method: &Method, allow: &'static str) -> Result<(), Reply> {
        let is_head = self.method == Method::HEAD && *method == Method::GET;
        if self.method == *method || is_head { Ok(()) } else { Err(Reply::wrong_method(allow)) }
    }

    /// Refuses parameters of other names.
    pub(crate) fn knows(&self, names: &[&str]) -> Result<(), Reply> {
        match self.query.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            Some((name, _)) => Err(Reply::bad(&format!("no such parameter: {name}"))),
            None => Ok(()),
        }
    }

    /// A parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Reply> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Reply::bad(&format!("{name} must be a whole number: {text}")))
        };
        self.parameter(name).map(parse).transpose()
    }

    /// The body; an empty one is `{}`.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Reply> {
        let body = if self.body.is_empty() { b"{}" } else { self.body.as_slice() };
        serde_json::from_slice(body).map_err(|e| Reply::bad(&format!("the body is not understood: {e}")))
    }
}

/// Percent-decoding, to UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

/// For one segment of a path, or a parameter.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use proptest::prelude::*;

    use super::{Call, decoded, encoded};

    #[test]
    fn a_target_is_taken_apart() {
        let call = Call::new(Method::GET, "/api/v1/log/e%75", Some("open=true&table=a%2Eb+c&x"), Vec::new());
        let call = call.unwrap();
        assert_eq!(call.steps(), ["api", "v1", "log", "eu"]);
        assert_eq!((call.parameter("open"), call.parameter("table")), (Some("true"), Some("a.b c")));
        assert_eq!(call.parameter("x"), Some(""));
        assert!(call.knows(&["open", "table"]).is_err() && call.number("open").is_err());
        assert!(Call::new(Method::GET, "/%", None, Vec::new()).is_none());
        assert!(Call::new(Method::GET, "/%ff", None, Vec::new()).is_none());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_and_no_text_makes_it_panic(text in "\\PC*") {
            prop_assert_eq!(decoded(&encoded(&text)), Some(text.clone()));
            let _ = Call::new(Method::GET, &text, Some(&text), Vec::new());
        }
    }
}
