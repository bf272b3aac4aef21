//! Which web pages of other origins may use this proxy (the CORS protocol of the Fetch standard, §3.3).
//!
//! A browser lets a page of another origin send a token, and read the answer, only if the server says so.
//! Preflights carry no credential and are answered before any is asked for: what they permit is to ask, not
//! to be given. No answer names another origin than the one that asked, and `*` never allows credentials.

use crate::headers::single;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What a page may read of an answer beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, ratelimit, ratelimit-policy, www-authenticate, x-openclaw-session-key, x-openclaw-model",
);
/// How long a browser may remember a preflight's answer, in seconds: a changed policy counts after that.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The pages of other origins that may use this proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// None: nothing is said about origins at all.
    #[default]
    None,
    /// Every page, with a token that it sends itself.
    Any,
    /// Pages of these origins, in lower case.
    Listed(Vec<String>),
}

/// The page that a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Page {
    /// Not looked at: no page of another origin is served.
    #[default]
    Ignored,
    /// None, or one that may not read the answer.
    Unnamed,
    /// Any page may read the answer.
    Any,
    /// One of a listed origin, as it wrote its name.
    Listed(HeaderValue),
}

/// Why a preflight is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The origin is not listed.
    #[error("pages of the origin `{0}` may not use this proxy")]
    Origin(String),
    /// It is not a preflight as browsers send it.
    #[error("this is no preflight: {0}")]
    Form(&'static str),
}

/// Lines of an answer.
pub type Lines = Vec<(HeaderName, HeaderValue)>;

impl Origins {
    /// The page a request comes from.
    #[must_use]
    pub fn page(&self, headers: &HeaderMap) -> Page {
        match self {
            Self::None => Page::Ignored,
            Self::Any => Page::Any,
            Self::Listed(listed) => match only(headers, &ORIGIN) {
                Some(origin) if listed.iter().any(|l| origin.as_bytes().eq_ignore_ascii_case(l.as_bytes())) => {
                    Page::Listed(origin.clone())
                }
                _ => Page::Unnamed,
            },
        }
    }

    /// Whether a request is a preflight to be answered here.
    #[must_use]
    pub fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        *self != Self::None
            && *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight, beside what [`Page::lines`] adds to every answer.
    ///
    /// # Errors
    /// [`Denied`] when the page may not ask.
    pub fn preflight(&self, headers: &HeaderMap) -> Result<Lines, Denied> {
        let origin = only(headers, &ORIGIN).ok_or(Denied::Form("it has more than one Origin"))?;
        let page = self.page(headers);
        if !matches!(page, Page::Any | Page::Listed(_)) {
            return Err(Denied::Origin(origin.to_str().unwrap_or("?").chars().take(256).collect()));
        }
        let method = only(headers, &ACCESS_CONTROL_REQUEST_METHOD)
            .filter(|m| is_token(m.as_bytes()))
            .ok_or(Denied::Form("its Access-Control-Request-Method is not one method"))?;
        let mut lines = vec![
            (VARY, HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers")),
            (ACCESS_CONTROL_ALLOW_METHODS, method.clone()),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        for asked in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
            let names = asked.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
            if !names.clone().all(is_token) {
                return Err(Denied::Form("its Access-Control-Request-Headers is not a list of names"));
            }
            if names.count() > 0 {
                lines.push((ACCESS_CONTROL_ALLOW_HEADERS, asked.clone()));
            }
        }
        // What any page may do, a page of the public internet may not do in a private network.
        let private = only(headers, &REQUEST_PRIVATE_NETWORK).is_some_and(|v| v.as_bytes() == b"true");
        if private && matches!(page, Page::Listed(_)) {
            lines.push((ALLOW_PRIVATE_NETWORK, TRUE));
        }
        Ok(lines)
    }
}

impl Page {
    /// What is added to every answer, a refusal as well, so that the page can read it.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let (origin, is_listed) = match self {
            Self::Ignored => return Vec::new(),
            // A cache must not give a page the answer that another one got.
            Self::Unnamed => return vec![(VARY, HeaderValue::from(ORIGIN))],
            Self::Any => (ANY, false),
            Self::Listed(origin) => (origin.clone(), true),
        };
        let mut lines = vec![(ACCESS_CONTROL_ALLOW_ORIGIN, origin), (ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)];
        if is_listed {
            lines.extend([(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE), (VARY, HeaderValue::from(ORIGIN))]);
        }
        lines
    }

    /// Whether the operator named the page's origin: such a page is trusted to act for everyone who has it open.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }
}

/// Whether a field of the gateway's answer speaks of origins, which is not the gateway's to say where
/// this proxy does.
#[must_use]
pub fn is_about_origins(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    single(headers, name).ok()?
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::REQUEST_ID;
    use proptest::prelude::*;

    const PANEL: &str = "https://panel.example.org";

    fn listed() -> Origins {
        Origins::Listed(vec![PANEL.to_owned(), "http://localhost:3000".to_owned()])
    }

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn value<'a>(lines: &'a Lines, name: &str) -> Option<&'a str> {
        lines.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_str().unwrap())
    }

    fn preflight(origins: &Origins, more: &[(&str, &str)]) -> Result<Lines, Denied> {
        let mut lines = vec![("origin", PANEL), ("access-control-request-method", "POST")];
        lines.extend(more);
        let headers = map(&lines);
        assert!(origins.is_preflight(&Method::OPTIONS, &headers));
        origins.preflight(&headers)
    }

    #[test]
    fn nothing_is_said_about_origins_by_default() {
        let headers = map(&[("origin", PANEL), ("access-control-request-method", "POST")]);
        let origins = Origins::default();
        assert!(!origins.is_preflight(&Method::OPTIONS, &headers));
        assert_eq!(origins.page(&headers).lines(), []);
    }

    #[test]
    fn a_listed_page_is_named_and_may_read_what_a_client_needs() {
        let lines = listed().page(&map(&[("origin", PANEL)])).lines();
        assert_eq!(value(&lines, "access-control-allow-origin"), Some(PANEL));
        assert_eq!(value(&lines, "access-control-allow-credentials"), Some("true"));
        assert_eq!(value(&lines, "vary"), Some("origin"));
        let exposed = value(&lines, "access-control-expose-headers").unwrap();
        for name in [REQUEST_ID.as_str(), "retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.split(", ").any(|e| e == name), "{name}");
        }
    }

    #[test]
    fn another_page_is_told_nothing_and_no_cache_mixes_them_up() {
        for origin in
            ["https://evil.example", "null", "https://panel.example.org.evil.example", "http://localhost:3001"]
        {
            let lines = listed().page(&map(&[("origin", origin)])).lines();
            assert_eq!(lines, [(VARY, HeaderValue::from(ORIGIN))], "{origin}");
        }
        assert_eq!(listed().page(&map(&[])).lines(), [(VARY, HeaderValue::from(ORIGIN))]);
        let two = map(&[("origin", PANEL), ("origin", "https://evil.example")]);
        assert_eq!(listed().page(&two), Page::Unnamed);
        assert!(matches!(listed().preflight(&two), Err(Denied::Form(_))));
    }

    #[test]
    fn a_preflight_permits_what_it_asks_for() {
        let asked = "authorization, content-type, x-stainless-lang";
        let lines = preflight(&listed(), &[("access-control-request-headers", asked)]).unwrap();
        assert_eq!(value(&lines, "access-control-allow-headers"), Some(asked));
        assert_eq!(value(&lines, "access-control-allow-methods"), Some("POST"));
        assert_eq!(value(&lines, "access-control-max-age"), Some("600"));
        assert_eq!(value(&lines, "access-control-allow-private-network"), None);
    }

    #[test]
    fn a_listed_page_reaches_a_private_network_and_any_page_does_not() {
        let asked = [("access-control-request-private-network", "true")];
        let allowed = |origins| value(&preflight(&origins, &asked).unwrap(), ALLOW_PRIVATE_NETWORK.as_str()).is_some();
        assert!(allowed(listed()));
        assert!(!allowed(Origins::Any));
    }

    #[test]
    fn a_preflight_of_another_page_is_refused_by_name() {
        let headers = map(&[("origin", "https://evil.example"), ("access-control-request-method", "POST")]);
        assert_eq!(listed().preflight(&headers), Err(Denied::Origin("https://evil.example".to_owned())));
    }

    #[test]
    fn only_a_question_about_origins_is_a_preflight() {
        let origins = listed();
        let whole = [("origin", PANEL), ("access-control-request-method", "POST")];
        assert!(!origins.is_preflight(&Method::POST, &map(&whole)));
        assert!(!origins.is_preflight(&Method::OPTIONS, &map(&whole[..1])));
        assert!(!origins.is_preflight(&Method::OPTIONS, &map(&whole[1..])));
        for bad in ["", "POST, GET", "PO ST"] {
            let headers = map(&[whole[0], ("access-control-request-method", bad)]);
            assert!(matches!(origins.preflight(&headers), Err(Denied::Form(_))), "{bad:?}");
        }
        for bad in ["a b", "a, b:c", "a\tb"] {
            assert!(preflight(&origins, &[("access-control-request-headers", bad)]).is_err(), "{bad:?}");
        }
    }

    fn origins() -> impl Strategy<Value = Origins> {
        prop_oneof![
            Just(Origins::None),
            Just(Origins::Any),
            prop::collection::vec("https?://[a-c]{1,2}(:[0-9]{2})?", 0..4).prop_map(Origins::Listed),
        ]
    }

    proptest! {
        #[test]
        fn no_answer_names_an_origin_that_did_not_ask_or_gives_every_page_credentials(
            origins in origins(),
            sent in prop::collection::vec("(https?://[a-c]{1,2}(:[0-9]{2})?|null|\\*|[ -~]{0,20})", 0..3),
            names in prop::collection::vec("[a-z-]{1,12}", 0..5),
            private in any::<bool>(),
        ) {
            let mut headers = HeaderMap::new();
            for origin in &sent {
                headers.append(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
            headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_str(&names.join(",")).unwrap());
            if private {
                headers.insert(REQUEST_PRIVATE_NETWORK, TRUE);
            }
            let page = origins.page(&headers);
            let lines = page.lines();
            let permitted = origins.preflight(&headers);
            let (is_any, credentials) = match value(&lines, "access-control-allow-origin") {
                None => {
                    prop_assert!(permitted.is_err());
                    (false, None)
                }
                Some("*") if origins == Origins::Any => (true, value(&lines, "access-control-allow-credentials")),
                Some(named) => {
                    prop_assert_eq!([named], &sent[..]);
                    let Origins::Listed(listed) = &origins else { panic!("{origins:?}") };
                    prop_assert!(listed.iter().any(|l| l == named));
                    (false, None)
                }
            };
            prop_assert!(!is_any || credentials.is_none());
            // Where an answer depends on who asks, it says so.
            let varies = lines.iter().any(|(n, v)| n == VARY && v == "origin");
            prop_assert_eq!(varies, matches!(origins, Origins::Listed(_)));
            if let Ok(permitted) = permitted {
                prop_assert!(private && !is_any || value(&permitted, ALLOW_PRIVATE_NETWORK.as_str()).is_none());
                prop_assert!(permitted.iter().any(|(n, _)| n == VARY));
                let allowed = value(&permitted, "access-control-allow-headers").unwrap_or_default();
                prop_assert_eq!(allowed, names.join(","));
            }
        }
    }
}
