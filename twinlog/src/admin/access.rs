//! Who may ask: the token, and no page of another site.
//!
//! A browser sends what any page tells it to send, also to an address that only its own host reaches. Two things give
//! such a request away: `Origin` names the page's site, and `Host` the name that the page made point here. Neither can
//! be forged by a page.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};
use twinlog::config::Admin;
use wire::Secret;

use super::reply::Reply;
use crate::door::Door;

/// Who may ask a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Every request but those for `/livez` and `/readyz` carries it.
    pub(crate) token: Option<Secret>,
    /// Host names that mean this process, beside addresses and `localhost`.
    pub(crate) names: Vec<String>,
}

impl Access {
    /// As a door and its section of the file say.
    pub(crate) fn of(door: &Door, admin: &Admin) -> Self {
        let name = admin.address.as_deref().and_then(|a| a.rsplit_once(':')).map(|(host, _)| host.to_owned());
        Self { token: door.token(), names: name.into_iter().collect() }
    }

    /// Refuses what is not to be answered.
    pub(super) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Reply> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST);
        if !self.is_ours(host) {
            let remedy = "ask by an address, by localhost, or by the name in admin.address";
            return Err(Reply::error(
                StatusCode::FORBIDDEN,
                "this host name is not served here",
                Some(remedy),
            ));
        }
        let foreign = text(header::ORIGIN).is_some_and(|origin| !is_same(origin, host))
            || text(header::HeaderName::from_static("sec-fetch-site"))
                .is_some_and(|site| !matches!(site, "same-origin" | "none"));
        if foreign {
            return Err(Reply::error(StatusCode::FORBIDDEN, "asked by a page of another site", None));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let kind = text(header::CONTENT_TYPE).unwrap_or("application/json");
            if kind.split(';').next().map(str::trim) != Some("application/json") {
                let what = "the body must be JSON";
                let remedy = Some("send Content-Type: application/json");
                return Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, remedy));
            }
        }
        if matches!(path, "/livez" | "/readyz") {
            return Ok(());
        }
        self.check_token(text(header::AUTHORIZATION))
    }

    fn check_token(&self, authorization: Option<&str>) -> Result<(), Reply> {
        let Some(token) = &self.token else { return Ok(()) };
        let shown = authorization.and_then(|text| text.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        if shown.is_some_and(|shown| is_token(shown, token)) {
            return Ok(());
        }
        let remedy = "send Authorization: Bearer TOKEN, with the token of admin.token_file";
        let mut reply = Reply::error(StatusCode::UNAUTHORIZED, "this needs a token", Some(remedy));
        reply.challenge = true;
        Err(reply)
    }

    /// Does this `Host` mean us?
    pub(crate) fn is_ours(&self, host: Option<&str>) -> bool {
        let name = host.map(name_in);
        is_local(host)
            || name.is_some_and(|name| self.names.iter().any(|ours| ours.eq_ignore_ascii_case(name)))
    }
}

/// A page of some other site may have its name point here; it is not to read what is served.
fn is_local(host: Option<&str>) -> bool {
    let Some(name) = host.map(name_in) else { return true };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// A host without its port.
fn name_in(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Is an `Origin` the host that was asked?
pub(crate) fn is_same(origin: &str, host: Option<&str>) -> bool {
    let of = origin.split_once("://").map(|(_, host)| host);
    of.is_some() && of == host
}

/// Is this the token?
pub(crate) fn is_token(shown: &str, token: &Secret) -> bool {
    is_equal(shown.trim().as_bytes(), token.expose().as_bytes())
}

/// Compares without telling by its time how much was right.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use hyper::{Method, StatusCode};
    use wire::Secret;

    use super::Access;

    fn asked(access: &Access, method: &Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.insert(name, HeaderValue::try_from(*value).unwrap());
        }
        access.check(method, path, &map).map_or_else(|reply| reply.code, |()| StatusCode::OK).as_u16()
    }

    #[test]
    fn only_addresses_localhost_and_the_configured_name_are_ours() {
        let access = Access { names: vec!["db1.example".into()], ..Access::default() };
        let host = |host| asked(&access, &Method::GET, "/metrics", &[("host", host)]);
        for ours in ["localhost", "LocalHost:80", "127.0.0.1:7480", "[::1]:7480", "db1.example:7480"] {
            assert_eq!(host(ours), 200, "{ours}");
        }
        for foreign in ["evil.example", "evil.example:80", "localhost.evil.example", ""] {
            assert_eq!(host(foreign), 403, "{foreign}");
        }
        assert_eq!(asked(&access, &Method::GET, "/metrics", &[]), 200);
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let access = Access::default();
        let post = |headers: &[(&str, &str)]| asked(&access, &Method::POST, "/api/v1/reload", headers);
        let host = ("host", "127.0.0.1:7480");
        assert_eq!(post(&[host]), 200);
        assert_eq!(post(&[host, ("origin", "http://127.0.0.1:7480")]), 200);
        for origin in
            ["http://evil.example", "null", "http://127.0.0.1:80", "http://127.0.0.1:7480.evil.example"]
        {
            assert_eq!(post(&[host, ("origin", origin)]), 403, "{origin}");
            assert_eq!(asked(&access, &Method::GET, "/metrics", &[host, ("origin", origin)]), 403);
        }
        assert_eq!(post(&[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(post(&[host, ("sec-fetch-site", "same-site")]), 403);
        assert_eq!(post(&[host, ("sec-fetch-site", "same-origin")]), 200);
        // A form needs no leave to be sent, and can't be JSON.
        assert_eq!(post(&[host, ("content-type", "text/plain")]), 415);
        assert_eq!(post(&[host, ("content-type", "application/json; charset=utf-8")]), 200);
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_where_health_is_looked_at() {
        let access = Access { token: Some(Secret::new("0123456789abcdef")), ..Access::default() };
        let get = |path, headers: &[(&str, &str)]| asked(&access, &Method::GET, path, headers);
        assert_eq!((get("/livez", &[]), get("/readyz", &[])), (200, 200));
        assert_eq!(get("/api/v1/status", &[]), 401);
        for wrong in ["Bearer 0123456789abcdeF", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert_eq!(get("/metrics", &[("authorization", wrong)]), 401, "{wrong}");
        }
        assert_eq!(get("/metrics", &[("authorization", "bearer 0123456789abcdef")]), 200);
    }
}
