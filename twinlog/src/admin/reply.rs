//! What is answered: JSON, mostly; errors as `{"error": {"message", "remedy"}}`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// Of plain answers.
const TEXT: &str = "text/plain; charset=utf-8";
/// Of all others.
const JSON: &str = "application/json";
/// The text format's own type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer under way.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) code: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
    /// For 405: what would be allowed.
    pub(crate) allow: Option<&'static str>,
    /// For 401: how to say who one is.
    pub(crate) challenge: bool,
}

impl Reply {
    fn new(code: StatusCode, kind: &'static str, body: Vec<u8>) -> Self {
        Self { code, kind, body, allow: None, challenge: false }
    }

    /// A word for machines that look only whether all is well.
    pub(crate) fn text(code: StatusCode, text: &str) -> Self {
        Self::new(code, TEXT, format!("{text}\n").into_bytes())
    }

    /// Metrics.
    pub(crate) fn metrics(text: String) -> Self {
        Self::new(StatusCode::OK, METRICS, text.into_bytes())
    }

    /// A value.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(StatusCode::OK, JSON, body),
            Err(error) => Self::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), None),
        }
    }

    /// JSON that somebody else made.
    pub(crate) fn raw_json(code: StatusCode, body: Vec<u8>) -> Self {
        Self::new(code, JSON, body)
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn error(code: StatusCode, message: &str, remedy: Option<&str>) -> Self {
        let body = json!({ "error": { "message": message, "remedy": remedy } });
        Self::new(code, JSON, body.to_string().into_bytes())
    }

    /// A command that failed, as an answer.
    pub(crate) fn failure(code: StatusCode, failure: &Failure) -> Self {
        let status = failure.status(None);
        Self::error(code, &status.message, status.remedy.as_deref())
    }

    /// No such page.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::error(StatusCode::NOT_FOUND, what, Some("GET /api/v1/openapi.json tells what there is"))
    }

    /// Not this way.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let reply = Self::error(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allow} here"), None);
        Self { allow: Some(allow), ..reply }
    }

    /// The body or a parameter is not what it should be.
    pub(crate) fn bad(message: &str) -> Self {
        Self::error(
            StatusCode::BAD_REQUEST,
            message,
            Some("GET /api/v1/openapi.json tells what is asked for"),
        )
    }
}

impl From<Reply> for Response<Full<Bytes>> {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Full::new(Bytes::from(reply.body)));
        *response.status_mut() = reply.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.kind));
        // Nothing here is for a cache, or to be shown inside another page.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = reply.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if reply.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
