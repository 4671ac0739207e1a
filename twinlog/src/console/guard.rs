//! Who may ask what: the console holds the keys to the whole sync, and a browser brings along pages of strangers.
//!
//! - `Host` must name loopback, be a bare address or the name in `console.address`, so that a stranger's name pointed at
//!   it (DNS rebinding) gets nothing.
//! - What changes something is a POST of JSON whose `Origin` is the console's own: no form and no other page can send it.
//! - What is read is refused to requests that a browser marks as another site's, and may not be framed or embedded.
//! - The page may load scripts and styles from here only, and none inline.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use crate::admin::{Access, is_same};

/// The page's policy.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What every answer carries.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds what every answer carries.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Refuses what is not a person's own request; the reason is for them.
pub(super) fn admit(
    access: &Access,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), (StatusCode, &'static str)> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(header::HOST);
    if host.is_none() || !access.is_ours(host) {
        return Err((StatusCode::FORBIDDEN, "this host name is not served here"));
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if method == Method::GET {
        return match site {
            // Opened by hand, by a bookmark, or from the page itself.
            None | Some("none" | "same-origin") => Ok(()),
            Some(_) if text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate") => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "not for pages of other sites")),
        };
    }
    if method != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "GET and POST only"));
    }
    let is_own = text(header::ORIGIN).is_some_and(|origin| is_same(origin, host));
    if !is_own || !matches!(site, None | Some("same-origin")) {
        return Err((StatusCode::FORBIDDEN, "changes are taken from the console's own page only"));
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "changes are JSON"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use hyper::{Method, StatusCode};

    use super::admit;
    use crate::admin::Access;

    fn asked(method: &Method, headers: &[(&'static str, &'static str)]) -> Result<(), StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let access = Access { names: vec!["console.example".into()], ..Access::default() };
        admit(&access, method, &map).map_err(|(code, _)| code)
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:7490");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn strangers_pages_and_names_read_nothing() {
        assert_eq!(asked(&Method::GET, &[HOST]), Ok(()));
        assert_eq!(
            asked(&Method::GET, &[("host", "localhost:7490"), ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
        assert_eq!(asked(&Method::GET, &[("host", "console.example:7490")]), Ok(()));
        assert_eq!(asked(&Method::GET, &[]), Err(StatusCode::FORBIDDEN));
        assert_eq!(asked(&Method::GET, &[("host", "evil.example:7490")]), Err(StatusCode::FORBIDDEN));
        assert_eq!(
            asked(&Method::GET, &[HOST, ("sec-fetch-site", "cross-site")]),
            Err(StatusCode::FORBIDDEN)
        );
        let followed = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(asked(&Method::GET, &followed), Ok(()), "a link in a chat opens the page");
    }

    #[test]
    fn only_the_page_itself_changes_something() {
        let own = ("origin", "http://127.0.0.1:7490");
        assert_eq!(asked(&Method::POST, &[HOST, own, JSON]), Ok(()));
        assert_eq!(asked(&Method::POST, &[HOST, JSON]), Err(StatusCode::FORBIDDEN));
        assert_eq!(asked(&Method::POST, &[HOST, ("origin", "null"), JSON]), Err(StatusCode::FORBIDDEN));
        let by_name = [("host", "console.example"), ("origin", "https://console.example"), JSON];
        assert_eq!(asked(&Method::POST, &by_name), Ok(()));
        let other_port = ("origin", "http://127.0.0.1:8080");
        assert_eq!(asked(&Method::POST, &[HOST, other_port, JSON]), Err(StatusCode::FORBIDDEN));
        let form = ("content-type", "text/plain");
        assert_eq!(asked(&Method::POST, &[HOST, own, form]), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(asked(&Method::DELETE, &[HOST, own, JSON]), Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
