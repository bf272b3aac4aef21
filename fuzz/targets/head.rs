//! A request's head: where the request ends, whom it is for, and which of its fields may pass. The
//! lines are `name: value`.
#![no_main]

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use libfuzzer_sys::fuzz_target;
use scopeshim::framing;
use scopeshim::headers::Kind;
use scopeshim::host_header::Host;
use scopeshim::policy::UpstreamCredentials;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(64) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let proof = UpstreamCredentials::default();
    for name in headers.keys() {
        let plain = name.as_str().replace(['_', '.'], "-");
        let plain = plain.strip_prefix("http-").unwrap_or(&plain);
        if matches!(plain, "authorization" | "cookie" | "forwarded") || plain.starts_with("x-forwarded-") {
            assert_ne!(proof.kind(name.as_str()), Kind::Free, "{name}");
        }
    }
    for version in [Version::HTTP_10, Version::HTTP_11] {
        if framing::validate(&headers, version, data).is_err() {
            continue;
        }
        let count = |name: &HeaderName| headers.get_all(name).iter().count();
        assert!(count(&CONTENT_LENGTH) + count(&TRANSFER_ENCODING) <= 1);
        assert!(count(&HOST) == 1 || (count(&HOST) == 0 && version == Version::HTTP_10));
        if let Some(length) = headers.get(CONTENT_LENGTH) {
            let text = length.to_str().unwrap();
            assert_eq!(text.parse::<i64>().unwrap().to_string(), text);
        }
        if let Some(host) = Host::of(&headers) {
            let value = headers.get(HOST).unwrap().to_str().unwrap();
            let uri: http::Uri = format!("http://{value}/").parse().unwrap();
            assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), host.name());
            assert_eq!(uri.port_u16(), host.port());
        }
    }
});
