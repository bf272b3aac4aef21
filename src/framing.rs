//! Where a request ends, and whom it is for: checked on its head, before anything else is looked up
//! (law 8; RFC 9112 §3.2, §6.3). Ambiguity is refused, not resolved.

use crate::headers::contains_token;
use crate::host_header::Host;
use crate::refusal::Refusal;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// The longest body that can be announced: what a signed 64-bit number holds, which is where parsers
/// begin to differ.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// Checks a head. `raw` are its bytes as they came.
///
/// # Errors
/// [`Refusal::Framing`] or [`Refusal::Host`]. Nothing that follows on the connection can be trusted.
pub fn validate(headers: &HeaderMap, version: Version, raw: &[u8]) -> Result<(), Refusal> {
    body(headers, version, raw)?;
    nominations(headers)?;
    host(headers, version)
}

/// Whether a body is announced, be it an empty one in chunks. The head was checked before.
#[must_use]
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|l| l != "0")
}

fn body(headers: &HeaderMap, version: Version, raw: &[u8]) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Framing("Transfer-Encoding is something other than `chunked`"));
        }
        // Pingora has dropped the length from the parsed headers by now: look at the bytes.
        if version != Version::HTTP_11 || lengths.next().is_some() || raw_has_length(raw) {
            return Err(Refusal::Framing("Transfer-Encoding and Content-Length together, or in HTTP/1.0"));
        }
        return Ok(());
    }
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_length(length.as_bytes()) => Ok(()),
        _ => Err(Refusal::Framing("Content-Length is not one plain number")),
    }
}

/// Decimal digits without a leading zero, which some parsers take for octal.
fn is_length(value: &[u8]) -> bool {
    let plain =
        !value.is_empty() && value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || !value.starts_with(b"0"));
    let number = std::str::from_utf8(value).ok().and_then(|v| v.parse::<u64>().ok());
    plain && number.is_some_and(|n| n <= MAX_LENGTH)
}

/// `Connection` may ask for fields to be taken out on the way; not for those that say what the
/// request is.
fn nominations(headers: &HeaderMap) -> Result<(), Refusal> {
    let named = |name: &[u8]| headers.get_all(CONNECTION).iter().any(|v| contains_token(v.as_bytes(), name));
    if named(b"host") || named(b"content-length") || named(b"transfer-encoding") {
        return Err(Refusal::Framing("Connection names Host, Content-Length or Transfer-Encoding"));
    }
    Ok(())
}

fn host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    if Host::of(headers).is_some() || (version == Version::HTTP_10 && !headers.contains_key(HOST)) {
        return Ok(());
    }
    Err(Refusal::Host(match headers.get_all(HOST).iter().count() {
        0 => "it is missing",
        1 => "it is not a name or an address with an optional port",
        _ => "it was sent more than once",
    }))
}

/// Whether a line of the head is a `Content-Length`.
fn raw_has_length(raw: &[u8]) -> bool {
    raw.split(|b| *b == b'\n').any(|line| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::map;
    use proptest::prelude::*;

    #[test]
    fn ambiguous_framing_is_refused() {
        let ok = |lines: &[(&'static str, &str)], raw: &[u8]| body(&map(lines), Version::HTTP_11, raw).is_ok();
        assert!(ok(&[], b""));
        assert!(ok(&[("content-length", "12")], b""));
        assert!(ok(&[("content-length", "0")], b""));
        assert!(ok(&[("content-length", "9223372036854775807")], b""));
        assert!(ok(&[("transfer-encoding", "Chunked")], b"GET / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n"));
        assert!(ok(&[("transfer-encoding", "chunked")], b"GET / HTTP/1.1\r\nContent-Length-Hint: 3\r\n"));
        assert!(!ok(&[("transfer-encoding", "chunked")], b"GET / HTTP/1.1\r\nCONTENT-length: 3\r\n"));
        assert!(!ok(&[("transfer-encoding", "gzip, chunked")], b""));
        assert!(!ok(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], b""));
        assert!(!ok(&[("content-length", "2"), ("content-length", "2")], b""));
        for bad in ["2, 2", "+2", "", "00", "02", "9223372036854775808", "18446744073709551616", "1e3", "0x2"] {
            assert!(!ok(&[("content-length", bad)], b""), "{bad:?}");
        }
        assert!(body(&map(&[("transfer-encoding", "chunked")]), Version::HTTP_10, b"").is_err());
    }

    #[test]
    fn a_host_is_there_once_and_well_formed() {
        let ok = |lines: &[(&'static str, &str)], version| host(&map(lines), version).is_ok();
        assert!(ok(&[("host", "gw:18780")], Version::HTTP_11));
        assert!(ok(&[], Version::HTTP_10));
        assert!(!ok(&[], Version::HTTP_11));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(!ok(&[("host", "")], version));
            assert!(!ok(&[("host", "a,b")], version));
            assert!(!ok(&[("host", "gw"), ("host", "gw")], version));
        }
    }

    proptest! {
        #[test]
        fn a_judged_head_has_one_reading(
            lengths in prop::collection::vec("[0-9+x, -]{0,22}", 0..3),
            codings in prop::collection::vec("(chunked|Chunked|gzip|identity|chunked, chunked|)", 0..3),
            old in any::<bool>(),
        ) {
            let mut headers = map(&[("host", "gw")]);
            let mut raw = b"POST / HTTP/1.1\r\n".to_vec();
            for (name, values) in [(CONTENT_LENGTH, &lengths), (TRANSFER_ENCODING, &codings)] {
                for value in values {
                    raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                    headers.append(&name, value.parse().unwrap());
                }
            }
            if !codings.is_empty() {
                headers.remove(CONTENT_LENGTH);
            }
            let version = if old { Version::HTTP_10 } else { Version::HTTP_11 };
            if validate(&headers, version, &raw).is_ok() {
                prop_assert!(lengths.len() + codings.len() <= 1);
                prop_assert!(codings.iter().all(|c| c.eq_ignore_ascii_case("chunked")) && (codings.is_empty() || !old));
                prop_assert!(lengths.iter().all(|l| l.parse::<i64>().is_ok_and(|n| n.to_string() == *l)));
            }
        }
    }
}
