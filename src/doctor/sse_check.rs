//! Events come as they are made: a real chat, each event timed.

use super::Outcome;
use super::context::{Chain, TIMEOUT};
use super::proxy_checks::{address, caller};
use crate::gateway_probe::{Advice, Severity, Side};
use crate::http_client::{ClientRequest, Fault, open};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use std::time::{Duration, Instant};

/// For the whole stream.
const WHOLE: Duration = Duration::from_secs(180);
const CHAT: &str =
    r#"{"model":"openclaw","stream":true,"messages":[{"role":"user","content":"Count from one to twenty in words."}]}"#;

/// When each event came, counted from the question, and whether the last was `[DONE]`.
#[derive(Debug, Default)]
struct Times {
    words: Vec<Duration>,
    done: bool,
}

/// Streams a chat and times it.
pub(super) async fn chat(chain: &Chain) -> Outcome {
    let caller = match caller(chain) {
        Ok(caller) => caller,
        Err(skipped) => return skipped,
    };
    if !chain.may(caller, &Method::POST, "/v1/chat/completions") {
        return Outcome::Skipped(format!("{} may not chat", caller.name));
    }
    let mut lines = caller.lines.clone();
    lines.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    let question = ClientRequest { method: Method::POST, path: "/v1/chat/completions", lines, body: CHAT.into() };
    let broken = |what: String| {
        Outcome::found(Advice::new(
            "stream-broken",
            Severity::Error,
            Side::Gateway,
            what,
            "chats do not work for clients that stream",
            "see the gateway's log, and check that a model is configured (`openclaw models status`)",
        ))
    };
    let begun = Instant::now();
    match tokio::time::timeout(WHOLE, timed(chain, question, begun)).await {
        Ok(Ok(Ok(times))) => evaluate(&times),
        Ok(Ok(Err(answer))) => broken(format!("the chat is answered {answer}")),
        Ok(Err(fault)) => broken(format!("the stream fails: {fault}")),
        Err(_) => broken(format!("the stream did not end within {WHOLE:?}")),
    }
}

/// Reads a stream to its end; the inner error is an answer that is no stream.
async fn timed(chain: &Chain, question: ClientRequest<'_>, begun: Instant) -> Result<Result<Times, String>, Fault> {
    let mut answer = open(address(chain), question, TIMEOUT).await?;
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if answer.status != 200 || !kind.starts_with("text/event-stream") {
        let body = answer.piece().await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
        return Ok(Err(format!("{} {text}", answer.status)));
    }
    let mut times = Times::default();
    let mut text = Vec::new();
    while let Some(piece) = answer.piece().await? {
        let at = begun.elapsed();
        text.extend_from_slice(&piece);
        while let Some(end) = text.windows(2).position(|w| w == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            times.note(&event, at);
        }
    }
    Ok(Ok(times))
}

impl Times {
    fn note(&mut self, event: &[u8], at: Duration) {
        let text = String::from_utf8_lossy(event);
        let Some(data) = text.lines().find_map(|l| l.strip_prefix("data:")) else { return };
        if data.trim() == "[DONE]" {
            self.done = true;
        } else if serde_json::from_str::<serde_json::Value>(data).is_ok_and(|v| {
            v.pointer("/choices/0/delta/content").and_then(|c| c.as_str()).is_some_and(|c| !c.is_empty())
        }) {
            self.words.push(at);
        }
    }
}

fn evaluate(times: &Times) -> Outcome {
    let (Some(first), Some(last)) = (times.words.first(), times.words.last()) else {
        return Outcome::found(Advice::new(
            "stream-empty",
            Severity::Error,
            Side::Gateway,
            "the stream has no text",
            "clients show an empty answer",
            "see the gateway's log, and check that a model is configured (`openclaw models status`)",
        ));
    };
    let spread = last.saturating_sub(*first);
    let said = format!(
        "{} pieces: the first after {:.1} s, the last {:.1} s later",
        times.words.len(),
        first.as_secs_f64(),
        spread.as_secs_f64()
    );
    let mut advice = Vec::new();
    if !times.done {
        advice.push(Advice::new(
            "stream-cut",
            Severity::Error,
            Side::Machine,
            "the stream ends without `[DONE]`",
            "clients treat the answer as broken",
            "see the logs of this proxy and of the gateway, and look for another proxy in between",
        ));
    }
    // Pieces that arrive together after a wait many times as long were buffered on the way.
    if times.words.len() >= 5 && spread < Duration::from_millis(20) && *first > Duration::from_secs(1) {
        advice.push(Advice::new(
            "stream-buffered",
            Severity::Warning,
            Side::Machine,
            format!("all {} pieces came at once, after {:.1} s", times.words.len(), first.as_secs_f64()),
            "the text appears all at once instead of word by word",
            "this proxy does not buffer: check the model's provider, and proxies between it and the gateway",
        ));
    }
    Outcome::of(said, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: &[u64], done: bool) -> Times {
        Times { words: milliseconds.iter().map(|ms| Duration::from_millis(*ms)).collect(), done }
    }

    fn codes(times: &Times) -> Vec<&'static str> {
        match evaluate(times) {
            Outcome::Found(_, advice) => advice.iter().map(|a| a.code).collect(),
            Outcome::Good(_) | Outcome::Skipped(_) | Outcome::NotTested(_) => Vec::new(),
        }
    }

    #[test]
    fn a_stream_is_judged_by_its_times() {
        assert!(codes(&times(&[900, 1000, 1100, 1200, 1300], true)).is_empty());
        assert_eq!(codes(&times(&[3000, 3001, 3002, 3003, 3004], true)), ["stream-buffered"]);
        assert_eq!(codes(&times(&[100, 200], false)), ["stream-cut"]);
        assert_eq!(codes(&times(&[], true)), ["stream-empty"]);
    }

    #[test]
    fn only_words_count() {
        let mut times = Times::default();
        times.note(b"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n", Duration::ZERO);
        times.note(b": keepalive\n\n", Duration::ZERO);
        times.note(b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", Duration::ZERO);
        times.note(b"data: [DONE]\n\n", Duration::ZERO);
        assert_eq!((times.words.len(), times.done), (1, true));
    }
}
