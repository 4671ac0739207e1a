//! Who has shown the token: a browser once, and then its cookie; a program each time.
//!
//! The cookie is a number of its own, not the token, and known to this process alone: it ends with it. Scripts of the
//! page can't read it, and no other site's page has it sent.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap};
use rand::Rng;
use wire::Secret;

use crate::admin::is_token;

/// A working day; then the token is asked for again.
const LASTS: Duration = Duration::from_secs(12 * 3600);

/// More people than that do not look after one sync.
const MOST: usize = 256;

/// Those who have shown the token.
pub(super) struct Sessions {
    token: Option<Secret>,
    /// Cookies are sent to all ports of a host: two consoles on one must not take each other's.
    cookie: String,
    has_tls: bool,
    open: Mutex<VecDeque<(String, Instant)>>,
}

impl Sessions {
    /// Without a token everybody is known.
    pub(super) fn new(token: Option<Secret>, port: u16, has_tls: bool) -> Self {
        Self { token, cookie: format!("twinlog-{port}"), has_tls, open: Mutex::default() }
    }

    /// Has who asks shown the token, with this request or before?
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|text| text.split_once(' '));
        if bearer
            .is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case("bearer") && is_token(shown, token))
        {
            return true;
        }
        let cookies = text(header::COOKIE).unwrap_or_default().split(';');
        let mut shown = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        let Some((_, number)) = shown.find(|(name, _)| *name == self.cookie) else { return false };
        let number = Secret::new(number);
        self.open().iter().any(|(open, since)| since.elapsed() < LASTS && is_token(open, &number))
    }

    /// The cookie for who shows this; `None` when it is not the token.
    pub(super) fn begin(&self, shown: &str) -> Option<String> {
        if self.token.as_ref().is_some_and(|token| !is_token(shown, token)) {
            return None;
        }
        let number: String =
            rand::rng().random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.open();
        open.retain(|(_, since)| since.elapsed() < LASTS);
        open.push_back((number.clone(), Instant::now()));
        while open.len() > MOST {
            open.pop_front();
        }
        let secure = if self.has_tls { "; Secure" } else { "" };
        Some(format!(
            "{}={number}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
            self.cookie,
            LASTS.as_secs()
        ))
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<(String, Instant)>> {
        // Each change is whole, so it is good even if a holder panicked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use wire::Secret;

    use super::{MOST, Sessions};

    const TOKEN: &str = "0123456789abcdef";

    fn knows(sessions: &Sessions, name: &'static str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        sessions.knows(&headers)
    }

    #[test]
    fn who_has_shown_the_token_is_known_by_a_cookie_that_is_not_the_token() {
        let sessions = Sessions::new(Some(Secret::new(TOKEN)), 7490, true);
        assert!(!sessions.knows(&HeaderMap::new()));
        assert!(sessions.begin("0123456789abcdeF").is_none() && sessions.begin("").is_none());
        let cookie = sessions.begin(TOKEN).unwrap();
        assert!(!cookie.contains(TOKEN));
        for part in ["twinlog-7490=", "HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let pair = cookie.split(';').next().unwrap();
        assert!(knows(&sessions, "cookie", &format!("other=1; {pair}")));
        assert!(!knows(&sessions, "cookie", "twinlog-7490="));
        assert!(!knows(&sessions, "cookie", &pair.replace("7490", "7491")));
        assert!(knows(&sessions, "authorization", &format!("Bearer {TOKEN}")));
        assert!(!knows(&sessions, "authorization", &format!("Basic {TOKEN}")));
        for _ in 0..MOST {
            sessions.begin(TOKEN);
        }
        assert!(!knows(&sessions, "cookie", pair), "the oldest went");
    }

    #[test]
    fn without_a_token_everybody_is_known() {
        assert!(Sessions::new(None, 1, false).knows(&HeaderMap::new()));
    }
}
