//! W3C trace context: the caller's trace is kept, or one is begun.
//!
//! Source: W3C Trace Context, level 1, §3.2. Anything malformed is as good as absent (§3.2.2.5).

use http::HeaderValue;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A trace's place: which trace, and which span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// Reads a `traceparent`. Of versions to come only the part that is known is read.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        hex(version, 2)?;
        let trace = hex(trace, 32)?;
        let span = u64::try_from(hex(span, 16)?).ok()?;
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        (trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }

    /// A trace that begins here, not marked for recording.
    #[must_use]
    pub fn begin() -> Self {
        Self { trace: (u128::from(number()) << 64) | u128::from(number()), span: number(), flags: 0 }
    }

    /// A span of ours within the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: number(), ..self }
    }

    /// As the header's value.
    #[must_use]
    pub fn to_header(self) -> HeaderValue {
        let mut text = [b'-'; 55];
        let (trace, span) = (self.trace.to_be_bytes(), self.span.to_be_bytes());
        let parts: [(usize, &[u8]); 4] = [(0, &[0]), (3, &trace), (36, &span), (53, &[self.flags])];
        for (at, bytes) in parts {
            let digits =
                bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| if d < 10 { b'0' + d } else { b'a' + d - 10 });
            text.iter_mut().skip(at).zip(digits).for_each(|(place, digit)| *place = digit);
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The trace's number; 0 is none.
    #[must_use]
    pub fn trace(self) -> u128 {
        self.trace
    }

    /// The span's number; 0 is none.
    #[must_use]
    pub fn span(self) -> u64 {
        self.span
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// A number that no other span has. It need not be a secret, so it does not ask the system each time:
/// a count from a random begin, mixed as SplitMix64 does.
fn number() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(getrandom::u64().unwrap_or_default()));
    let mut z = NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}

/// Exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let fit = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    fit.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    proptest! {
        #[test]
        fn the_header_says_what_is_displayed(trace in 1..u128::MAX, span in 1..u64::MAX, flags: u8) {
            let it = TraceParent { trace, span, flags };
            let header = it.to_header();
            prop_assert_eq!(header.to_str().unwrap(), it.to_string());
        }
    }

    #[test]
    fn a_good_one_is_kept_and_a_child_stays_in_its_trace() {
        let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.to_string(), GOOD);
        let child = parent.child();
        assert_eq!(child.trace(), parent.trace());
        assert_ne!(child.span(), parent.span());
        assert_eq!(TraceParent::parse(child.to_string().as_bytes()), Some(child));
    }

    #[test]
    fn malformed_ones_are_as_good_as_absent() {
        for bad in [
            "",
            "-",
            "00-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            &"0".repeat(55),
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert!(TraceParent::parse(b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let _ = TraceParent::parse(&bytes);
        }
    }
}
