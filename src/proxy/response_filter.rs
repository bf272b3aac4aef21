//! What of the gateway's answer a client is given: nothing that was meant for the connection between
//! the gateway and this proxy (RFC 9110 §7.6.1), and nothing that is authority at the gateway.

use crate::headers::contains_token;
use crate::headers::{GatewayHeader, fold};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use pingora::http::ResponseHeader;

/// Takes out what is not for the client.
///
/// # Errors
/// What is wrong with an answer that cannot be passed on at all.
pub(super) fn sanitize(answer: &mut ResponseHeader) -> Result<(), &'static str> {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, which was not asked for");
    }
    framing(&answer.headers, answer.version)?;
    let strip: Vec<HeaderName> = answer
        .headers
        .keys()
        .filter(|name| is_between_us(name, &answer.headers) || is_authority(name))
        .cloned()
        .collect();
    for name in &strip {
        answer.remove_header(name);
    }
    let status = answer.status;
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        answer.remove_header(&TRANSFER_ENCODING);
    }
    // RFC 9110 §8.6; of a 304 it may tell the length that a 200 would have.
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        answer.remove_header(&CONTENT_LENGTH);
    }
    Ok(())
}

/// RFC 9112 §6.1: a coding that is not understood hides where the answer ends.
fn framing(headers: &HeaderMap, version: Version) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), None) if version != Version::HTTP_11 => Err("it has a Transfer-Encoding in HTTP/1.0"),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("its Transfer-Encoding is something other than `chunked`"),
    }
}

/// Whether a field is the gateway's word to this proxy about their connection.
fn is_between_us(name: &HeaderName, headers: &HeaderMap) -> bool {
    const OWN: &[&str] = &["connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings"];
    let nominated =
        || headers.get_all(CONNECTION).iter().any(|c| contains_token(c.as_bytes(), name.as_str().as_bytes()));
    match name.as_str() {
        // They say where the answer ends, whatever `Connection` makes of them.
        "content-length" | "transfer-encoding" => false,
        own => OWN.contains(&own) || own.starts_with("proxy-") || nominated(),
    }
}

/// Whether a field could carry authority at the gateway, or lead clients past this proxy. A cookie of
/// the gateway is of no use to any client: no `Cookie` passes in the other direction.
fn is_authority(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &["set-cookie", "set-cookie2", "alt-svc", "authentication-info"];
    NAMES.contains(&name.as_str())
        || (fold(name.as_str()).starts_with("x-openclaw-")
            && GatewayHeader::ALL.iter().all(|g| g.names().all(|n| n != name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn answer(status: u16, lines: &[(&str, &str)]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        answer.set_version(Version::HTTP_11);
        for (name, value) in lines {
            answer.append_header((*name).to_owned(), HeaderValue::from_str(value).unwrap()).unwrap();
        }
        answer
    }

    fn names(status: u16, lines: &[(&str, &str)]) -> Vec<String> {
        let mut answer = answer(status, lines);
        sanitize(&mut answer).unwrap();
        answer.headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_for_the_client_stays() {
        let lines = [
            ("Content-Type", "a/b"),
            ("Content-Length", "3"),
            ("WWW-Authenticate", "Bearer"),
            ("x-openclaw-session-key", "agent:main:main"),
            ("Location", "/chat"),
        ];
        assert_eq!(names(200, &lines).len(), lines.len());
    }

    #[test]
    fn authority_at_the_gateway_is_taken_out() {
        for name in
            ["Set-Cookie", "Set-Cookie2", "Alt-Svc", "Authentication-Info", "x-openclaw-token", "X_OpenClaw_Token"]
        {
            assert!(names(200, &[(name, "a=b"), (name, "c=d")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_connection_cannot_nominate_the_framing_away() {
        let lines = [("Connection", "content-length, transfer-encoding, x-a"), ("Content-Length", "3"), ("X-A", "b")];
        assert_eq!(names(200, &lines), ["content-length"]);
    }

    #[test]
    fn no_body_is_announced_where_none_can_be() {
        let lines = [("Transfer-Encoding", "chunked"), ("X-A", "b")];
        for status in [103, 204, 304] {
            assert_eq!(names(status, &lines), ["x-a"], "{status}");
        }
        assert!(names(204, &[("Content-Length", "0")]).is_empty());
        assert_eq!(names(304, &[("Content-Length", "7")]), ["content-length"]);
    }

    #[test]
    fn what_cannot_be_understood_is_not_passed_on() {
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            assert!(sanitize(&mut answer(200, &[("Transfer-Encoding", coding)])).is_err(), "{coding:?}");
        }
        assert!(sanitize(&mut answer(101, &[])).is_err());
        let mut old = answer(200, &[("Transfer-Encoding", "chunked")]);
        old.set_version(Version::HTTP_10);
        assert!(sanitize(&mut old).is_err());
    }

    proptest! {
        #[test]
        fn nothing_between_two_servers_is_left(
            nominated in prop::collection::vec("x-[a-c]", 0..4),
            present in prop::collection::vec(prop::sample::select(&["x-a", "x-b", "x-c", "proxy-status", "te", "upgrade", "keep-alive", "set-cookie", "etag"]), 0..9),
        ) {
            let mut answer = answer(200, &[("connection", &nominated.join(" , "))]);
            for name in &present {
                answer.append_header(*name, "v").unwrap();
            }
            sanitize(&mut answer).unwrap();
            for name in answer.headers.keys() {
                prop_assert!(name == "etag" || (name.as_str().starts_with("x-") && !nominated.iter().any(|n| n == name.as_str())), "{name}");
            }
            prop_assert_eq!(answer.headers.contains_key("etag"), present.contains(&"etag"));
        }
    }
}
