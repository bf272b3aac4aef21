//! Web pages of other origins: what a browser is told before and after it lets them ask.

use crate::support::{Capture, READER, Scripted, Shim, WRITER, fake_gateway, people};
use std::time::Duration;

const PANEL: &str = "Origin: https://panel.example.org";
const EVIL: &str = "Origin: https://evil.example";
const CORS: &str = "[cors]\norigins = [\"https://panel.example.org\", \"http://localhost:3000\"]\n";
const ANY: &str = "[cors]\norigins = [\"*\"]\n";
const CHAT: &str = "POST /v1/chat/completions";
const PREFLIGHT: &str = "OPTIONS /v1/chat/completions";
const ASKED: &[&str] = &[
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization,content-type,x-stainless-os",
];

fn shim(cors: &str) -> (std::sync::Arc<scopeshim::fake_gateway::FakeGateway>, Shim) {
    let (gateway, address) = fake_gateway(Duration::ZERO);
    (gateway, Shim::start(address, &format!("{}\n{cors}", people())))
}

#[test]
fn a_preflight_is_answered_here_before_a_credential_is_asked_for() {
    let (gateway, shim) = shim(CORS);
    let mut client = shim.client();
    for path in ["/v1/chat/completions", "/v1/models", "/healthz", "/no/such/route"] {
        let answer = client.ask(&format!("OPTIONS {path}"), "", &[&[PANEL], ASKED].concat(), "");
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://panel.example.org"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,content-type,x-stainless-os"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert!(answer.header("x-request-id").is_some());
        assert!(answer.head.contains("vary: origin") || answer.head.contains("Vary: origin"), "{}", answer.head);
    }
    // The connection goes on.
    assert_eq!(client.ask("GET /v1/models", READER, &[PANEL], "").status, 200);
    let methods: Vec<_> = gateway.seen().iter().map(|s| s.headers.contains_key("origin")).collect();
    assert_eq!(methods, [false], "the gateway was asked more than once, or told of the origin");
}

#[test]
fn without_cors_a_preflight_is_a_request_like_any_other() {
    let (_gateway, shim) = shim("");
    let answer = shim.client().ask(PREFLIGHT, "", &[&[PANEL], ASKED].concat(), "");
    assert_eq!(answer.code(), "credential_missing");
    assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{}", answer.head);
    let answer = shim.client().ask("GET /v1/models", READER, &[PANEL], "");
    assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{}", answer.head);
    assert_eq!(answer.header("vary"), None);
}

#[test]
fn a_page_that_is_not_listed_is_refused_and_the_log_says_which() {
    let (gateway, shim) = shim(CORS);
    let answer = shim.client().ask(PREFLIGHT, "", &[&[EVIL], ASKED].concat(), "");
    assert_eq!((answer.status, answer.code().as_str()), (403, "cors_origin_not_allowed"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    shim.says("cors_origin_not_allowed");
    assert!(answer.body.contains("https://evil.example"), "{}", answer.body);
    assert!(gateway.seen().is_empty());
    // Nor may it read what a request gives that needs no preflight.
    let answer = shim.client().ask("GET /healthz", "", &[EVIL], "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(answer.header("vary"), Some("origin"));
}

#[test]
fn a_refusal_can_be_read_by_the_page_that_caused_it() {
    let limits = people().replacen("scopes = [", "limits = { requests_per_minute = 1 }\nscopes = [", 1);
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let shim = Shim::start(address, &format!("{limits}\n{CORS}"));
    let mut client = shim.client();
    let ask = |client: &mut crate::support::Client, line: &str, token: &str, headers: &[&str]| {
        let answer = client.ask(line, token, &[&[PANEL], headers].concat(), "");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://panel.example.org"), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap().to_owned();
        for name in ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.split(", ").any(|e| e == name), "{exposed}");
        }
        answer
    };
    assert_eq!(ask(&mut client, "GET /v1/models", "", &[]).code(), "credential_missing");
    assert_eq!(ask(&mut client, "GET /v1/models", "wrong-wrong", &[]).code(), "credential_unknown");
    assert_eq!(ask(&mut client, "GET /v1//models", READER, &[]).code(), "ambiguous_target");
    assert_eq!(ask(&mut client, "GET /v1/models", READER, &[]).status, 200);
    let answer = ask(&mut client, "GET /v1/models", READER, &[]);
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
    assert!(answer.header("retry-after").is_some() && answer.header("ratelimit").is_some());
}

#[test]
fn any_page_may_ask_with_a_token_and_never_with_credentials_of_the_browser() {
    let (_gateway, shim) = shim(ANY);
    for answer in [
        shim.client().ask(
            PREFLIGHT,
            "",
            &[&[EVIL, "Access-Control-Request-Private-Network: true"], ASKED].concat(),
            "",
        ),
        shim.client().ask("GET /v1/models", READER, &[EVIL], ""),
        shim.client().ask("GET /v1/models", "", &[EVIL], ""),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("access-control-allow-private-network"), None);
    }
}

#[test]
fn a_listed_page_may_act_for_a_caller_without_a_credential_and_any_other_may_not() {
    let anonymous = "[anonymous]\nscopes = [\"operator.read\"]\n";
    let status = |cors: &str, origin: &str| {
        let (_gateway, address) = fake_gateway(Duration::ZERO);
        let shim = Shim::start(address, &format!("{}\n{anonymous}{cors}", people()));
        let headers = [origin, "Sec-Fetch-Site: cross-site"];
        let answer = shim.client().ask("GET /v1/models", "", &headers, "");
        (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
    };
    let refused = (403, "cross_origin".to_owned());
    assert_eq!(status(CORS, PANEL), (200, String::new()));
    assert_eq!(status(CORS, EVIL), refused);
    assert_eq!(status(ANY, EVIL), refused);
    assert_eq!(status("", PANEL), refused);
}

#[test]
fn what_the_gateway_says_of_origins_does_not_count() {
    let gateway = Scripted::answering(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
         Vary: accept-encoding\r\nContent-Length: 2\r\n\r\nok",
    );
    let shim = Shim::start(gateway.address(), &format!("{}\n{CORS}", people()));
    let answer = shim.client().ask("GET /v1/models", READER, &[EVIL], "");
    assert_eq!(answer.status, 200);
    assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{}", answer.head);
    assert!(answer.head.contains("accept-encoding"), "{}", answer.head);
    let answer = shim.client().ask("GET /v1/models", READER, &[PANEL], "");
    let named = answer.head.to_ascii_lowercase().matches("access-control-allow-origin").count();
    assert_eq!((named, answer.header("access-control-allow-origin")), (1, Some("https://panel.example.org")));
}

#[test]
fn a_page_reads_an_event_stream() {
    let (_gateway, shim) = shim(CORS);
    let answer = shim.client().ask(CHAT, WRITER, &[PANEL], r#"{"stream":true,"messages":[]}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://panel.example.org"));
    assert!(answer.body.contains("data:"), "{answer:?}");
}

#[test]
fn the_list_is_in_force_as_soon_as_it_is_saved() {
    let capture = Capture::start();
    let shim = Shim::start(capture.address(), &people());
    let asked = [&[PANEL], ASKED].concat();
    assert_eq!(shim.client().ask(PREFLIGHT, "", &asked, "").status, 401);
    let text = std::fs::read_to_string(shim.config()).unwrap();
    std::fs::write(shim.config(), format!("{text}\n{CORS}")).unwrap();
    crate::support::eventually("the preflight is answered", || {
        shim.client().ask(PREFLIGHT, "", &asked, "").status == 204
    });
    assert_eq!(capture.count(), 0);
}
