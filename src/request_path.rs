//! The request target: checked only when the gateway cannot read it differently (law 7).
//!
//! The gateway parses targets with the WHATWG URL rules of Node, routes on the exact path, and
//! strips a `/__openclaw__/cap/<anything>` prefix first (contract §1, "Path canonicalisation").
//! Whatever those steps could change is refused here instead of being imitated.

mod readings;

pub use readings::is_join;

/// The longest target accepted, in bytes. Node refuses a request head over 16 KiB.
pub const MAX_TARGET: usize = 8 * 1024;

/// The prefix that the gateway removes before it routes.
const CAPABILITY_PREFIX: &str = "/__openclaw__/cap";

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Absolute form, authority form, asterisk, or nothing.
    #[error("the request target must be a path that begins with one slash")]
    NotOriginForm,
    /// `//` anywhere in the path.
    #[error("the path holds an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..` as a segment, plain or percent-encoded.
    #[error("the path holds a dot segment, plain or percent-encoded")]
    DotSegment,
    /// A backslash, which Node reads as a slash.
    #[error("the path holds a backslash, plain or percent-encoded")]
    Backslash,
    /// A fragment or a path parameter.
    #[error("the path holds `#` or `;`")]
    Delimiter,
    /// A control, a blank at an end, or a byte outside ASCII.
    #[error("the path holds a control character, a blank at its end, or a character outside ASCII")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken percent-encoding")]
    Encoding,
    /// The capability prefix, which the gateway strips before it routes.
    #[error("the path begins with the gateway's capability prefix")]
    CapabilityPrefix,
    /// Readings of the path for which the policy has different rules.
    #[error("the path can be read in more than one way, and the policy has different rules for them")]
    Spelling,
    /// Longer than [`MAX_TARGET`].
    #[error("the request target is longer than {MAX_TARGET} bytes")]
    TooLong,
}

/// A path on which this proxy and every probed gateway agree. Only [`Path::validate`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<'a>(&'a str);

impl<'a> Path<'a> {
    /// Checks the target as it came over the wire and returns its path, without the query.
    ///
    /// # Errors
    /// The first [`PathFault`] found.
    pub fn validate(target: &'a [u8]) -> Result<Self, PathFault> {
        if target.len() > MAX_TARGET {
            return Err(PathFault::TooLong);
        }
        if target.first() != Some(&b'/') {
            return Err(PathFault::NotOriginForm);
        }
        if target.contains(&b'#') {
            return Err(PathFault::Delimiter);
        }
        if target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
            return Err(PathFault::Character);
        }
        let path = target.split(|b| *b == b'?').next().unwrap_or_default();
        let path = std::str::from_utf8(path).map_err(|_| PathFault::Character)?;
        if !path.is_ascii() {
            return Err(PathFault::Character);
        }
        validate_bytes(path)?;
        readings::validate(path)?;
        for (i, segment) in path.split('/').enumerate().skip(1) {
            if segment.is_empty() && (i + 1 != path.split('/').count() || path.starts_with("//")) {
                return Err(PathFault::EmptySegment);
            }
            if is_dot_segment(segment) {
                return Err(PathFault::DotSegment);
            }
        }
        if is_capability_path(path) {
            return Err(PathFault::CapabilityPrefix);
        }
        Ok(Self(path))
    }

    /// The path, percent-encodings as they came.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Single bytes and encodings that no path here may hold.
fn validate_bytes(path: &str) -> Result<(), PathFault> {
    let bytes = path.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => return Err(PathFault::Backslash),
            b';' => return Err(PathFault::Delimiter),
            b'%' => match bytes.get(i + 1..i + 3).and_then(decode_hex) {
                None => return Err(PathFault::Encoding),
                Some(b'\\') => return Err(PathFault::Backslash),
                Some(..=0x1f | 0x7f) => return Err(PathFault::Character),
                // What a second blank in the request line has become by the time it is seen here.
                Some(b' ') if i + 3 == bytes.len() => return Err(PathFault::Character),
                Some(_) => {}
            },
            _ => {}
        }
    }
    Ok(())
}

fn decode_hex(pair: &[u8]) -> Option<u8> {
    let high = char::from(*pair.first()?).to_digit(16)?;
    let low = char::from(*pair.get(1)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// Whether any part of a segment, split at encoded slashes too, is `.` or `..` once decoded.
fn is_dot_segment(segment: &str) -> bool {
    if !segment.contains(['.', '%']) {
        return false;
    }
    let decoded = segment.replace("%2e", ".").replace("%2E", ".").replace("%2F", "%2f");
    decoded.split("%2f").any(|part| part == "." || part == "..")
}

fn is_capability_path(path: &str) -> bool {
    // An encoded letter would not be stripped by the gateway; the case is folded all the same.
    path.get(..CAPABILITY_PREFIX.len()).is_some_and(|p| p.eq_ignore_ascii_case(CAPABILITY_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The targets of contract §1 that reach `/v1/models` behind the gateway's router.
    #[test]
    fn every_alias_of_a_route_is_refused() {
        for target in [
            "//evil/v1/models",
            "http://evil/v1/models",
            "/v1/./models",
            "/x/../v1/models",
            "/%2e%2e/v1/models",
            "/x/%2e%2e/v1/models",
            "/x/.%2E/v1/models",
            "/v1\\models",
            "/v1/models#f",
            "/v1/models?x#f",
            "/__openclaw__/cap/abc/v1/models",
            "/__openclaw__/cap",
            "/__OPENCLAW__/CAP/abc/v1/models",
            "%20/v1/models",
            "/v1/models%20",
            "//v1/models",
            "/v1//models",
            "/v1/models;x",
            "/v1/%5cmodels",
            "/v1/a%2f..%2fmodels",
            "/v1/mod%00els",
            "/v1/models%",
            "/v1/models%zz",
            "/v1/mod\u{e9}ls",
            "/v1/models//",
            "//",
            "*",
            "",
            "v1/models",
            "example.org:443",
        ] {
            assert!(Path::validate(target.as_bytes()).is_err(), "{target:?} passed");
        }
    }

    #[test]
    fn ordinary_targets_pass_without_their_query() {
        for (target, path) in [
            ("/", "/"),
            ("/v1/models", "/v1/models"),
            ("/v1/models/", "/v1/models/"),
            ("/v1/models/openclaw%2Fdefault?x=/../%5c", "/v1/models/openclaw%2Fdefault"),
            ("/sessions/agent%3Amain%3Amain/history?limit=5", "/sessions/agent%3Amain%3Amain/history"),
            ("/assets/index-a.b.js", "/assets/index-a.b.js"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%20b", "/a%20b"),
            ("/...", "/..."),
        ] {
            assert_eq!(Path::validate(target.as_bytes()).map(Path::as_str), Ok(path), "{target:?}");
        }
    }

    proptest! {
        #[test]
        fn a_judged_path_holds_nothing_a_url_parser_would_change(target in "/[a-z0-9./%;#\\\\?:~\\-_A-F]{0,40}") {
            if let Ok(path) = Path::validate(target.as_bytes()) {
                let p = path.as_str();
                prop_assert!(p.starts_with('/') && !p.contains("//") && !p.contains(['\\', ';', '#', '?']));
                prop_assert!(p.split('/').all(|s| s != "." && s != ".."));
            }
        }

        #[test]
        fn any_bytes_are_judged(target in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Path::validate(&target);
        }
    }
}
