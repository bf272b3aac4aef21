//! Where in a request's head a credential may be: read, and never more than one of them.
//!
//! `Authorization: Bearer` is always read, and so is HTTP Basic, whose password is the token, for clients that
//! know only a user and a password. Other headers are read where the configuration lists them. A WebSocket of a
//! browser can set no header but `Sec-WebSocket-Protocol`. The query string is never read: it ends up in logs,
//! histories and referrers.

use crate::headers::{Repeated, single};
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The WebSocket subprotocol that stands for a token: this, and the token in base64url.
pub const SUBPROTOCOL: &str = "base64url.bearer.scopeshim.";

/// The one credential that a head presents.
#[derive(Debug)]
pub struct Presented<'a> {
    token: Text<'a>,
    is_basic: bool,
    issuers_header: Option<&'a HeaderName>,
}

/// A token as it was sent, or out of an encoding.
enum Text<'a> {
    Sent(&'a [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

impl<'a> Presented<'a> {
    fn plain(token: Text<'a>) -> Self {
        Self { token, is_basic: false, issuers_header: None }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        self.token.bytes()
    }

    /// The header of an issuer that it came in.
    #[must_use]
    pub fn issuers_header(&self) -> Option<&'_ HeaderName> {
        self.issuers_header
    }

    /// Whether a browser may have sent it by itself, in the name of the person who has a page open: it remembers a
    /// user and a password, and sends them with what any page asks of this address.
    #[must_use]
    pub fn is_ambient(&self) -> bool {
        self.is_basic
    }
}

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sent(token) => token,
            Self::Decoded(token) => token,
        }
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[token]")
    }
}

/// Reads the one credential out of a request's head; `others` are the headers that are read beside
/// `Authorization`.
///
/// # Errors
/// When the form of one is wrong, or two do not hold the same token.
pub fn read<'a>(headers: &'a HeaderMap, others: &[HeaderName]) -> Result<Option<Presented<'a>>, Refusal> {
    let mut found = authorization(headers)?;
    for name in others {
        let twice = |Repeated| Refusal::CredentialForm("a header that carries the token was sent twice");
        let Some(line) = single(headers, name).map_err(twice)? else { continue };
        let (scheme, rest) = split(line);
        // A client that has a field for a whole header line often has this in it.
        let token = if scheme.eq_ignore_ascii_case(b"bearer") && !rest.is_empty() { rest } else { line.as_bytes() };
        merge(&mut found, Presented::plain(Text::Sent(token.trim_ascii())))?;
    }
    Ok(found)
}

/// Reads the one credential out of the head of a WebSocket upgrade, and which subprotocol is spoken if it was
/// among them.
///
/// # Errors
/// As [`read`], and when no other subprotocol stands beside the token.
pub fn read_upgrade<'a>(
    headers: &'a HeaderMap,
    others: &[HeaderName],
) -> Result<(Option<Presented<'a>>, Option<HeaderValue>), Refusal> {
    let mut found = read(headers, others)?;
    let mut spoken = None;
    let mut is_carried = false;
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    for offered in lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
        match offered.strip_prefix(SUBPROTOCOL.as_bytes()) {
            Some(encoded) => {
                let token = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new).map_err(|_| {
                    Refusal::CredentialForm("the token in Sec-WebSocket-Protocol is not base64url without padding")
                })?;
                merge(&mut found, Presented::plain(Text::Decoded(token)))?;
                is_carried = true;
            }
            None if spoken.is_none() && !offered.is_empty() => spoken = HeaderValue::from_bytes(offered).ok(),
            None => {}
        }
    }
    match (is_carried, spoken) {
        (false, _) => Ok((found, None)),
        (true, Some(spoken)) => Ok((found, Some(spoken))),
        // A browser ends a connection that chooses none, and the token is not for an answer.
        (true, None) => Err(Refusal::CredentialForm(
            "Sec-WebSocket-Protocol holds a token and no other protocol that could be chosen",
        )),
    }
}

/// Reads the JWT that is in one of the issuers' own headers.
///
/// # Errors
/// When one of them was sent twice.
pub(super) fn assertion<'a>(headers: &'a HeaderMap, names: &'a [HeaderName]) -> Result<Option<Presented<'a>>, Refusal> {
    for name in names {
        let twice = |Repeated| Refusal::CredentialForm("the header that carries the token was sent twice");
        if let Some(line) = single(headers, name).map_err(twice)? {
            let token = Text::Sent(line.as_bytes());
            return Ok(Some(Presented { token, is_basic: false, issuers_header: Some(name) }));
        }
    }
    Ok(None)
}

/// RFC 6750 §2.1 and RFC 7617. The gateway takes the first of several lines (contract §4), so several never pass.
fn authorization(headers: &HeaderMap) -> Result<Option<Presented<'_>>, Refusal> {
    let twice = |Repeated| Refusal::CredentialForm("more than one Authorization header was sent");
    let Some(line) = single(headers, &AUTHORIZATION).map_err(twice)? else { return Ok(None) };
    let (scheme, rest) = split(line);
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(Some(Presented::plain(Text::Sent(rest))));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(Refusal::CredentialScheme);
    }
    let form = Refusal::CredentialForm("the Basic credential is not `user:password` in base64");
    let Ok(mut pair) = STANDARD.decode(rest).map(Zeroizing::new) else { return Err(form) };
    let Some(colon) = pair.iter().position(|b| *b == b':') else { return Err(form) };
    pair.drain(..=colon);
    Ok(Some(Presented { is_basic: true, ..Presented::plain(Text::Decoded(pair)) }))
}

fn split(line: &HeaderValue) -> (&[u8], &[u8]) {
    let line = line.as_bytes().trim_ascii();
    let (scheme, rest) = line.split_at(line.iter().position(|b| *b == b' ').unwrap_or(line.len()));
    (scheme, rest.trim_ascii())
}

/// Adds one more. Who sends the same token explicitly knows it, and no browser did that alone.
fn merge<'a>(found: &mut Option<Presented<'a>>, more: Presented<'a>) -> Result<(), Refusal> {
    match found {
        None => *found = Some(more),
        Some(known) if known.token() == more.token() => known.is_basic &= more.is_basic,
        Some(_) => return Err(Refusal::CredentialConflict),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    fn protocol(token: &str) -> String {
        format!("{SUBPROTOCOL}{}", URL_SAFE_NO_PAD.encode(token))
    }

    fn token(lines: &[(&str, &str)]) -> Result<Option<(String, bool)>, Refusal> {
        let headers = map(lines);
        let found = read(&headers, &KEYS)?;
        Ok(found.map(|p| (String::from_utf8(p.token().to_vec()).unwrap(), p.is_ambient())))
    }

    #[test]
    fn a_token_is_read_wherever_a_client_can_put_it() {
        for (name, value) in [
            ("authorization", "Bearer abc"),
            ("authorization", "bEaReR   abc "),
            ("x-api-key", "abc"),
            ("api-key", " abc "),
            ("x-api-key", "Bearer abc"),
        ] {
            assert_eq!(token(&[(name, value)]), Ok(Some(("abc".to_owned(), false))), "{name}: {value}");
        }
        for pair in ["user:abc", ":abc"] {
            assert_eq!(token(&[("authorization", &basic(pair))]), Ok(Some(("abc".to_owned(), true))), "{pair}");
        }
        assert_eq!(token(&[("authorization", &basic("u:a:b"))]), Ok(Some(("a:b".to_owned(), true))));
        assert_eq!(token(&[("x-other", "abc"), ("x_api_key", "abc"), ("cookie", "abc")]), Ok(None));
        let headers = map(&[("x-api-key", "abc")]);
        assert!(read(&headers, &[]).unwrap().is_none());
    }

    #[test]
    fn two_credentials_that_disagree_are_refused_and_one_said_twice_is_one() {
        let two = |key: &str| token(&[("authorization", "Bearer abc"), ("x-api-key", key)]);
        assert_eq!(two("abc"), Ok(Some(("abc".to_owned(), false))));
        assert_eq!(two("abd"), Err(Refusal::CredentialConflict));
        let same = token(&[("authorization", &basic("u:abc")), ("api-key", "abc")]);
        assert_eq!(same, Ok(Some(("abc".to_owned(), false))), "a page cannot have sent this by itself");
        for lines in [
            [("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
            [("x-api-key", "abc"), ("x-api-key", "abc")],
        ] {
            assert!(matches!(token(&lines), Err(Refusal::CredentialForm(_))), "{lines:?}");
        }
    }

    #[test]
    fn a_credential_of_another_form_is_refused() {
        assert_eq!(token(&[("authorization", "Digest abc")]), Err(Refusal::CredentialScheme));
        assert_eq!(token(&[("authorization", "abc")]), Err(Refusal::CredentialScheme));
        for bad in ["Basic", "Basic !", "Basic YWJj", "Basic dTphYmM", "Basic dTphYmM= x"] {
            assert!(matches!(token(&[("authorization", bad)]), Err(Refusal::CredentialForm(_))), "{bad}");
        }
    }

    #[test]
    fn a_browser_s_websocket_brings_its_token_as_a_subprotocol() {
        let read = |offered: &str| {
            let headers = map(&[("sec-websocket-protocol", offered)]);
            let (found, spoken) = read_upgrade(&headers, &[])?;
            Ok::<_, Refusal>((found.map(|p| p.token().to_vec()), spoken.map(|s| s.to_str().unwrap().to_owned())))
        };
        let carried = protocol("abc");
        let expected = Ok((Some(b"abc".to_vec()), Some("openclaw".to_owned())));
        assert_eq!(read(&format!("openclaw, {carried}")), expected);
        assert_eq!(read(&format!("{carried},openclaw,other")), expected);
        assert_eq!(read(&format!("openclaw, {carried}, {carried}")), expected);
        // Without a token nothing is chosen, as ever.
        assert_eq!(read("openclaw, other"), Ok((None, None)));
        assert!(matches!(read(&carried), Err(Refusal::CredentialForm(_))));
        assert!(matches!(read(&format!("openclaw, {SUBPROTOCOL}a=")), Err(Refusal::CredentialForm(_))));
        assert_eq!(read(&format!("a, {carried}, {}", protocol("abd"))), Err(Refusal::CredentialConflict));
        let headers = map(&[("authorization", "Bearer abd"), ("sec-websocket-protocol", &format!("a, {carried}"))]);
        assert_eq!(read_upgrade(&headers, &[]).unwrap_err(), Refusal::CredentialConflict);
    }

    #[test]
    fn a_token_is_not_in_the_debug_text() {
        let headers = map(&[("authorization", "Bearer secret")]);
        assert!(!format!("{:?}", read(&headers, &[])).contains("secret"));
    }

    proptest! {
        #[test]
        fn however_many_places_carry_one_a_single_token_is_read_or_the_request_is_refused(
            bearer in proptest::option::of("[ab]"),
            is_basic in any::<bool>(),
            keys in prop::collection::vec(proptest::option::of("[ab]"), 2),
            offered in proptest::option::of("[ab]"),
        ) {
            let mut headers = HeaderMap::new();
            if let Some(token) = &bearer {
                let line = if is_basic { basic(&format!("u:{token}")) } else { format!("Bearer {token}") };
                headers.insert(AUTHORIZATION, line.parse().unwrap());
            }
            for (name, key) in KEYS.iter().zip(&keys) {
                if let Some(key) = key {
                    headers.insert(name, key.parse().unwrap());
                }
            }
            if let Some(token) = &offered {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, format!("{}, openclaw", protocol(token)).parse().unwrap());
            }
            let mut sent: Vec<&String> = bearer.iter().chain(keys.iter().flatten()).chain(&offered).collect();
            sent.sort_unstable();
            sent.dedup();
            let got = read_upgrade(&headers, &KEYS).map(|(found, _)| found.map(|p| p.token().to_vec()));
            match sent[..] {
                [] => prop_assert_eq!(got, Ok(None)),
                [one] => prop_assert_eq!(got, Ok(Some(one.clone().into_bytes()))),
                _ => prop_assert_eq!(got, Err(Refusal::CredentialConflict)),
            }
        }

        #[test]
        fn any_header_value_is_read_or_refused(value in prop::collection::vec(0x20u8..=0xff, 0..40)) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            for name in [AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, KEYS[0].clone()] {
                let headers = HeaderMap::from_iter([(name, value.clone())]);
                let _ = read_upgrade(&headers, &KEYS);
            }
        }
    }
}
