//! What the gateway may read a path as.
//!
//! Its own routes match the path as it came. A plugin's route matches any of a row of readings:
//! the path, and the path decoded once, twice and so on, each in lower case, with repeated and
//! trailing slashes removed (`security-path` and `route-match`, alike in 2026.3.28, 6.11 and 9.6).

use super::{Path, PathFault, is_dot_segment};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// How often the gateway decodes a path at most.
const MAX_DECODINGS: usize = 32;

/// What a URL parser encodes in a path (WHATWG URL, path percent-encode set).
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'^').add(b'`').add(b'{').add(b'}');

impl<'a> Path<'a> {
    /// Every reading of this path that a plugin's route is matched with, the path's own first. The
    /// last is the canonical one.
    #[must_use]
    pub fn readings(self) -> Vec<Cow<'a, str>> {
        let mut all = vec![normalised(Cow::Borrowed(self.0))];
        let mut text = Cow::Borrowed(self.0);
        for _ in 0..MAX_DECODINGS {
            let Some(next) = decoded(&text) else { break };
            let reading = normalised(Cow::Owned(next.clone()));
            if !all.contains(&reading) {
                all.push(reading);
            }
            text = Cow::Owned(next);
        }
        all
    }

    /// The one reading in which a rule's own path is compared.
    #[must_use]
    pub fn canonical(self) -> String {
        self.readings().pop().unwrap_or_default().into_owned()
    }

    /// Whether there is one reading only: the path as it came, but for a slash at its end.
    #[must_use]
    pub fn is_plain(self) -> bool {
        is_plain(self.0)
    }

    /// The session key in `/sessions/<key>/…`, not decoded.
    #[must_use]
    pub fn session_key(self) -> Option<&'a str> {
        let (key, _) = self.0.strip_prefix("/sessions/")?.split_once('/')?;
        (!key.is_empty()).then_some(key)
    }

    /// Whether a session key in the path names an incognito session, in any reading.
    #[must_use]
    pub fn names_incognito_session(self) -> bool {
        let incognito = |path: &str| {
            let keys = path.get(.."/sessions/".len()).filter(|p| p.eq_ignore_ascii_case("/sessions/"));
            keys.is_some() && path.split('/').any(crate::incognito_session::is_incognito)
        };
        incognito(self.0) || (!self.is_plain() && self.readings().iter().any(|r| incognito(r)))
    }

    /// Whether the gateway takes an upgrade at this path, in any reading, for something other than a client's
    /// socket: there is no `connect` frame by which a caller could be judged (2026.9).
    #[must_use]
    pub fn is_upgrade_without_connect(self) -> bool {
        const EXACT: &[&str] =
            &["/desktop/observe", "/node-desktop/attach", "/node-portal/attach", "/__openclaw__/worker"];
        let without = |path: &str| EXACT.contains(&path) || path.starts_with("/__openclaw__/worker/");
        without(self.0) || self.readings().iter().any(|reading| without(reading))
    }

    /// Whether the gateway takes this path for a pairing join: a route before all its others, which
    /// has its own idea of a path and asks for no credential (`parseDevicePairingJoinRequestPath`).
    #[must_use]
    pub fn is_join(self) -> bool {
        is_join(self.0)
    }
}

/// [`Path::is_join`] of a text.
#[must_use]
pub fn is_join(path: &str) -> bool {
    path.ends_with("/j") || path.contains("/j/")
}

/// Refuses what a URL parser would change in a decoded path.
pub(super) fn validate(path: &str) -> Result<(), PathFault> {
    let mut text = Cow::Borrowed(path);
    for _ in 0..MAX_DECODINGS {
        let Some(next) = decoded(&text) else { return Ok(()) };
        if next.contains('\\') {
            return Err(PathFault::Backslash);
        }
        if next.ends_with(' ') || next.chars().any(|c| c.is_ascii_control()) {
            return Err(PathFault::Character);
        }
        if next.starts_with("//") {
            return Err(PathFault::EmptySegment);
        }
        if next.split(['/', '?', '#']).any(is_dot_segment) {
            return Err(PathFault::DotSegment);
        }
        text = Cow::Owned(next);
    }
    if decoded(&text).is_some() { Err(PathFault::Encoding) } else { Ok(()) }
}

/// JavaScript's `decodeURIComponent`; `None` where it fails or changes nothing.
fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let digits = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let whole = text.split('%').skip(1).all(digits);
    let next = percent_decode_str(text).decode_utf8().ok().filter(|_| whole)?;
    Some(next.into_owned())
}

fn is_plain(path: &str) -> bool {
    path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/-._~!$&'()*+,=:@|[]".contains(&b))
}

/// `normalizePathForSecurity`, of a path that [`validate`] has seen.
fn normalised(path: Cow<'_, str>) -> Cow<'_, str> {
    let trimmed = |path: &str| path.trim_end_matches('/').len().max(1);
    if is_plain(&path) && !path.contains("//") {
        return match path {
            Cow::Borrowed(path) => Cow::Borrowed(path.get(..trimmed(path)).unwrap_or(path)),
            Cow::Owned(mut path) => {
                path.truncate(trimmed(&path));
                Cow::Owned(path)
            }
        };
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut out = utf8_percent_encode(path, PATH).to_string().to_ascii_lowercase();
    while out.contains("//") {
        out = out.replace("//", "/");
    }
    out.truncate(trimmed(&out));
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        Path::validate(path.as_bytes()).unwrap().readings().into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn every_decoding_of_a_path_is_a_reading_of_it() {
        assert_eq!(readings("/"), ["/"]);
        assert_eq!(readings("/plugins/admin/"), ["/plugins/admin"]);
        assert_eq!(readings("/plugins/Admin/x"), ["/plugins/admin/x"]);
        assert_eq!(
            readings("/plugins/%2561dmin/x"),
            ["/plugins/%2561dmin/x", "/plugins/%61dmin/x", "/plugins/admin/x"]
        );
        assert_eq!(readings("/plugins/admin%2Fx"), ["/plugins/admin%2fx", "/plugins/admin/x"]);
        assert_eq!(readings("/plugins/admin%3Fx"), ["/plugins/admin%3fx", "/plugins/admin"]);
        assert_eq!(readings("/a%2F%2Fb"), ["/a%2f%2fb", "/a/b"]);
        assert_eq!(readings("/a/%ff"), ["/a/%ff"]);
        assert_eq!(readings("/a/%C3%A9"), ["/a/%c3%a9"]);
        assert_eq!(readings("/a/100%25"), ["/a/100%25", "/a/100%"]);
    }

    #[test]
    fn an_encoding_within_an_encoding_hides_nothing() {
        for target in
            ["/x/%252e%252e/y", "/x%255cy", "/x%2509y", "/x%2520", "/%2Fevil/x", "/x%252f..%252fy", "/a%3F/%2e%2e/b"]
        {
            assert!(Path::validate(target.as_bytes()).is_err(), "{target} passed");
        }
        let deep = format!("/x%25{}61", "25".repeat(40));
        assert!(Path::validate(deep.as_bytes()).is_err(), "{deep} passed");
    }

    #[test]
    fn an_upgrade_without_a_connect_frame_is_known_in_every_spelling() {
        let without = |path: &str| Path::validate(path.as_bytes()).unwrap().is_upgrade_without_connect();
        for path in [
            "/desktop/observe",
            "/desktop/observe?x=1",
            "/Desktop/Observe/",
            "/node-desktop%2Fattach",
            "/node-portal/%61ttach",
            "/__openclaw__/worker",
            "/__openclaw__/worker/x",
        ] {
            assert!(without(path), "{path}");
        }
        for path in ["/", "/ws", "/desktop", "/desktop/observe/x", "/__openclaw__/worker-bundle", "/v1/models"] {
            assert!(!without(path), "{path}");
        }
    }

    #[test]
    fn a_join_is_what_the_gateway_takes_for_one() {
        for path in ["/j", "/j/", "/j/code", "/v1/models/j/code", "/a/j", "/j/j", "/sessions/j/history"] {
            assert!(is_join(path), "{path}");
        }
        for path in ["/", "/J/code", "/jobs", "/a/jj", "/%6a/code", "/a%2fj%2fcode", "/aj"] {
            assert!(!is_join(path), "{path}");
        }
    }
}
