//! Where a request's head ends, found while it comes in.
//!
//! Pingora parses a head from its begin at every read and takes a megabyte of it. Here each byte is
//! looked at once, and nothing is handed on before the head is whole.

use memchr::memchr;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In bytes, blank lines before it included.
    pub bytes: usize,
    /// In header lines.
    pub lines: usize,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The begin of a head.
    Part,
    /// A whole head, and perhaps more.
    Whole,
    /// Nothing that begins like a request: the parser is to say so.
    Odd,
    /// More bytes than a head may have.
    TooManyBytes,
    /// More header lines than a head may have.
    TooManyLines,
}

/// Follows one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scanner {
    bytes: usize,
    lines: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before the request line, where blank lines are skipped (RFC 9112 §2.2).
    #[default]
    Before,
    /// Within a line.
    Line,
    /// Behind a line's end.
    Start,
    /// Behind a line's end and a CR.
    StartCr,
}

impl Scanner {
    /// Takes the next bytes into account.
    pub(super) fn follow(&mut self, input: &[u8], bounds: Bounds) -> Seen {
        let mut rest = input;
        while let Some(&byte) = rest.first() {
            let step = match (self.place, byte) {
                (Place::Before, b'\r' | b'\n') => 1,
                (Place::Before, byte) if !is_token(byte) => return Seen::Odd,
                (Place::StartCr | Place::Start, b'\n') => {
                    let head = self.bytes + (input.len() - rest.len()) + 1;
                    return if head > bounds.bytes { Seen::TooManyBytes } else { Seen::Whole };
                }
                (Place::Start, b'\r') => {
                    self.place = Place::StartCr;
                    1
                }
                _ => {
                    if let Some(end) = memchr(b'\n', rest) {
                        self.place = Place::Start;
                        self.lines += 1;
                        end + 1
                    } else {
                        self.place = Place::Line;
                        rest.len()
                    }
                }
            };
            // The first line is the request's own.
            if self.lines > bounds.lines + 1 {
                return Seen::TooManyLines;
            }
            rest = rest.get(step..).unwrap_or_default();
        }
        self.bytes += input.len();
        if self.bytes > bounds.bytes { Seen::TooManyBytes } else { Seen::Part }
    }
}

/// RFC 9110 §5.6.2: what a method is made of.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { bytes: 200, lines: 5 };

    fn whole(text: &[u8]) -> Seen {
        Scanner::default().follow(text, BOUNDS)
    }

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        for text in ["GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\nA: b\n\n", "\r\n\nGET / HTTP/1.1\r\n\r\nrest"] {
            assert_eq!(whole(text.as_bytes()), Seen::Whole, "{text:?}");
        }
        for text in
            ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r", "\r\n\r\n\r\n", "GET / HTTP/1.1\r\n\ra\n"]
        {
            assert_eq!(whole(text.as_bytes()), Seen::Part, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_not_waited_for() {
        for text in [&b"\x16\x03\x01\x02"[..], b"\0", b" GET", b"\r\n:a", b"\x80"] {
            assert_eq!(whole(text), Seen::Odd, "{text:?}");
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let sized = |n: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(n - 23));
        assert_eq!(whole(sized(200).as_bytes()), Seen::Whole);
        assert_eq!(whole(sized(201).as_bytes()), Seen::TooManyBytes);
        assert_eq!(whole(&[b'a'; 201]), Seen::TooManyBytes);
        assert_eq!(whole(&[b'\n'; 201]), Seen::TooManyBytes);
        let lined = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
        assert_eq!(whole(lined(5).as_bytes()), Seen::Whole);
        assert_eq!(whole(lined(6).as_bytes()), Seen::TooManyLines);
    }

    proptest! {
        #[test]
        fn how_a_head_is_cut_into_reads_makes_no_difference(
            text in "(\r\n)?[A-Z]{0,3} ?/?(\r?\n|[a-z:\r\n ]){0,80}(\r\n\r\n)?b{0,9}", cut in 0usize..100, again in 0usize..100,
        ) {
            let text = text.as_bytes();
            let (first, second) = (cut.min(again).min(text.len()), cut.max(again).min(text.len()));
            let mut scanner = Scanner::default();
            let mut seen = Seen::Part;
            for part in [&text[..first], &text[first..second], &text[second..]] {
                if seen == Seen::Part {
                    seen = scanner.follow(part, BOUNDS);
                }
            }
            prop_assert_eq!(seen, whole(text));
        }

        /// What the parser takes for a whole request is never waited for, nor cut short.
        #[test]
        fn it_agrees_with_the_parser(text in "(\r\n){0,2}(GET|P) /[a-z]{0,5} HTTP/1.1\r?\n([A-Z]: ?[a-z\r]{0,5}\r?\n){0,3}\r?\n?") {
            let mut lines = [httparse::EMPTY_HEADER; 64];
            if let Ok(httparse::Status::Complete(_)) = httparse::Request::new(&mut lines).parse(text.as_bytes()) {
                prop_assert_eq!(whole(text.as_bytes()), Seen::Whole);
            }
        }
    }
}
