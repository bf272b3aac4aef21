//! Where a token is read from, and what happens to more than one.

use crate::support::signer::{P256, RSA, Signer, claims_with, jwks};
use crate::support::{ISS, Issuer, Shim, WRITER, fake_gateway, people};
use scopeshim::fake_gateway::FakeGateway;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const ANYBODY: &str = "[anonymous]\nscopes = [\"operator.read\"]\n";

fn start() -> (Arc<FakeGateway>, Issuer, Shim) {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    let edge = Issuer::start(&[&RSA]);
    let table = format!(
        "[[issuer]]\nname = \"cloudflare\"\npreset = \"cloudflare-access\"\nissuer = \"{}\"\naudiences = [\"openclaw\"]\n\n[[issuer]]\nname = \"test\"\nissuer = \"{ISS}\"\naudiences = [\"openclaw\"]\nkeys = {{ jwks_file = \"j\" }}\n\n",
        edge.iss()
    );
    let files = [("j", jwks(&[&P256]))];
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let shim = Shim::start_with_files(address, &files, &(table + ANYBODY + &people()));
    (gateway, edge, shim)
}

fn bearer() -> String {
    P256.token("ES256", &claims_with(ISS, json!({"sub": "bearer"})))
}

fn assertion(edge: &Issuer) -> String {
    RSA.token("RS256", &edge.claims_with(json!({"email": "edge@example.org", "sub": "u-1"})))
}

/// The last request's principal in the log, once it is there.
fn principal(shim: &Shim, requests: usize) -> String {
    crate::support::eventually("access line", || shim.access().len() >= requests);
    shim.access()[requests - 1]["principal"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn cloudflare_s_header_is_read_and_never_sent_on() {
    let (gateway, edge, shim) = start();
    let line = format!("Cf-Access-Jwt-Assertion: {}", assertion(&edge));
    let answer = shim.client().ask("GET /v1/models", "", &[&line, "Cookie: CF_Authorization=x"], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(principal(&shim, 1), "edge@example.org");
    let seen = gateway.seen().pop().unwrap();
    assert!(!seen.headers.contains_key("cf-access-jwt-assertion"), "{seen:?}");
    assert_eq!(seen.headers["x-openclaw-scopes"], "operator.read");
}

#[test]
fn cloudflare_s_service_tokens_have_a_common_name_and_no_subject() {
    let (_gateway, edge, shim) = start();
    let claims = edge.claims_with(json!({"sub": "", "common_name": "robot.access", "email": null}));
    let line = format!("cf-access-jwt-assertion: {}", RSA.token("RS256", &claims));
    assert_eq!(shim.client().ask("GET /v1/models", "", &[&line], "").status, 200);
    assert_eq!(principal(&shim, 1), "robot.access");
    // A plain issuer's token must have one.
    let claims = claims_with(ISS, json!({"sub": "", "common_name": "robot.access"}));
    assert_eq!(shim.client().ask("GET /v1/models", &P256.token("ES256", &claims), &[], "").status, 401);
}

#[test]
fn a_token_counts_only_in_its_issuer_s_place() {
    let (_gateway, edge, shim) = start();
    let answer = shim.client().ask("GET /v1/models", &assertion(&edge), &[], "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "jwt_issuer"), "{answer:?}");
    let answer = shim.client().ask("GET /v1/models", "", &[&format!("Cf-Access-Jwt-Assertion: {}", bearer())], "");
    assert_eq!((answer.status, answer.code().as_str()), (401, "jwt_issuer"), "{answer:?}");
}

#[test]
fn of_a_bearer_and_an_assertion_the_bearer_counts_alone() {
    let (gateway, edge, shim) = start();
    let line = format!("Cf-Access-Jwt-Assertion: {}", assertion(&edge));
    assert_eq!(shim.client().ask("GET /v1/models", &bearer(), &[&line], "").status, 200);
    assert_eq!(principal(&shim, 1), "bearer");
    assert!(!gateway.seen().pop().unwrap().headers.contains_key("cf-access-jwt-assertion"));
    assert_eq!(shim.client().ask("GET /v1/models", WRITER, &[&line], "").status, 200);
    assert_eq!(principal(&shim, 2), "writer");
    // A bad bearer has nothing weaker behind it.
    let stranger = Signer::p256("p256-1").token("ES256", &claims_with(ISS, json!({})));
    assert_eq!(shim.client().ask("GET /v1/models", &stranger, &[&line], "").status, 401);
    // And a bad assertion beside a good bearer is nobody's business.
    let bad = "Cf-Access-Jwt-Assertion: nonsense";
    assert_eq!(shim.client().ask("GET /v1/models", &bearer(), &[bad], "").status, 200);
}

#[test]
fn a_bad_token_never_becomes_anonymous() {
    let (gateway, edge, shim) = start();
    assert_eq!(shim.client().ask("GET /v1/models", "", &[], "").status, 200, "anybody may");
    let seen = gateway.seen().len();
    let stranger = Signer::p256("p256-1").token("ES256", &claims_with(ISS, json!({})));
    let expired = P256.token("ES256", &claims_with(ISS, json!({"exp": 1000})));
    for bad in [&stranger, &expired, "eyJ.e30.AA", "ey..", "eyJhbGciOiJub25lIn0.e30.", "a.b.c"] {
        let answer = shim.client().ask("GET /v1/models", bad, &[], "");
        assert_eq!(answer.status, 401, "{bad}: {answer:?}");
        let answer = shim.client().ask("GET /v1/models", "", &[&format!("Cf-Access-Jwt-Assertion: {bad}")], "");
        assert_eq!(answer.status, 401, "{bad}: {answer:?}");
    }
    let answer = shim.client().ask("GET /v1/models", "", &["Cf-Access-Jwt-Assertion:"], "");
    assert_eq!(answer.status, 401, "an empty assertion: {answer:?}");
    let twice = format!("Cf-Access-Jwt-Assertion: {}", assertion(&edge));
    let answer = shim.client().ask("GET /v1/models", "", &[&twice, &twice], "");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_credential_form"), "{answer:?}");
    let twice = format!("Authorization: Bearer {}", bearer());
    let answer = shim.client().ask("GET /v1/models", "", &[&twice, &twice], "");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_credential_form"), "{answer:?}");
    assert_eq!(gateway.seen().len(), seen, "one was forwarded");
}
