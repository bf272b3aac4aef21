//! The live chain, proven by real requests in the order one travels: where it breaks, why that
//! matters, and the exact change on the side that needs it.
//!
//! Harmless throughout: reads, and requests that must be refused. Only the stream check costs a model
//! call, and it is made only when asked for.

mod bypass;
mod context;
mod gateway_checks;
mod isolation_check;
mod process_checks;
mod proxy_checks;
mod sse_check;
mod websocket_check;
mod websocket_principals;
mod websocket_session;

use crate::config::environment::System;
use crate::config::{self, Config};
use crate::gateway_probe::{Advice, Severity, Side};
use crate::secret::Secret;
use context::Chain;
use serde::Serialize;
use std::path::Path;

/// What to prove, and with what.
#[derive(Debug)]
pub struct DoctorOptions<'a> {
    /// The configuration file.
    pub config: &'a Path,
    /// A client's token; without one the gateway's secret or the anonymous caller serves.
    pub token: Option<Secret>,
    /// Whether a chat may be streamed, which costs a model call.
    pub chat: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything that can be tested was, and works: warnings do not count, and a stage that was
    /// skipped is not proven.
    pub healthy: bool,
    /// Stage by stage.
    pub checks: Vec<Checked>,
}

/// What came of one stage.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Its name.
    pub stage: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub said: String,
    /// What should be changed.
    pub findings: Vec<Advice>,
}

/// How a stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should.
    Good,
    /// With something to be changed.
    Found,
    /// It could not be proven, because something that it needs is missing.
    Skipped,
    /// It was not asked for, is turned off, or shows nothing here.
    NotTested,
}

/// What a check says.
#[derive(Debug)]
pub(crate) enum Outcome {
    Good(String),
    /// What was seen besides, and what should be changed.
    Found(String, Vec<Advice>),
    /// Something that the stage needs is missing: the token, the process, an earlier stage.
    Skipped(String),
    /// There is nothing to test, or nobody asked for it.
    NotTested(String),
}

impl Outcome {
    fn found(advice: Advice) -> Self {
        Self::Found(String::new(), vec![advice])
    }

    /// Good, unless there is advice; `claim` holds unless something is wrong.
    fn claim(claim: &str, advice: Vec<Advice>) -> Self {
        let wrong = advice.iter().any(|a| a.severity == Severity::Error);
        Self::of(if wrong { "" } else { claim }, advice)
    }

    /// Good, unless there is advice; `said` is true in any case.
    fn of(said: impl Into<String>, advice: Vec<Advice>) -> Self {
        if advice.is_empty() { Self::Good(said.into()) } else { Self::Found(said.into(), advice) }
    }
}

#[derive(Debug, Default)]
struct Log(Vec<Checked>);

impl Log {
    fn note(&mut self, stage: &'static str, outcome: Outcome) {
        let (verdict, said, findings) = match outcome {
            Outcome::Good(said) => (Verdict::Good, said, Vec::new()),
            Outcome::Found(said, findings) => (Verdict::Found, said, findings),
            Outcome::Skipped(why) => (Verdict::Skipped, why, Vec::new()),
            Outcome::NotTested(why) => (Verdict::NotTested, why, Vec::new()),
        };
        self.0.push(Checked { stage, verdict, said, findings });
    }

    fn report(self) -> Report {
        let unproven = |c: &Checked| c.verdict == Verdict::Skipped;
        let wrong = |c: &Checked| c.findings.iter().any(|f| f.severity == Severity::Error);
        Report { healthy: !self.0.iter().any(|c| wrong(c) || unproven(c)), checks: self.0 }
    }
}

/// Examines the whole chain.
pub async fn examine(what: DoctorOptions<'_>) -> Report {
    let mut log = Log::default();
    let (outcome, config) = configuration(what.config);
    log.note("config", outcome);
    let Some(config) = config else { return log.report() };
    let chain = Chain::new(config, what.token).await;

    log.note("listener", proxy_checks::listener(&chain).await);
    log.note("process", process_checks::reload_status(&chain).await);
    log.note("identity", proxy_checks::identity(&chain).await);
    log.note("gateway", gateway_checks::reachable(&chain));
    log.note("credential", gateway_checks::credential(&chain));
    log.note("endpoints", gateway_checks::endpoints(&chain));
    let gateway_config = isolation_check::gateway_config(&chain);
    log.note("ports", isolation_check::ports(&chain, gateway_config.as_ref()));
    log.note("isolation", isolation_check::isolation(&chain, gateway_config.as_ref()).await);
    log.note("request", proxy_checks::request(&chain).await);
    log.note("narrowing", proxy_checks::narrowing(&chain).await);
    log.note("forgery", proxy_checks::forgery(&chain).await);
    log.note("way-around", bypass::around(&chain).await);
    log.note("websocket", websocket_check::connect(&chain).await);
    log.note("principals", websocket_principals::scopes(&chain).await);
    log.note(
        "stream",
        if what.chat {
            sse_check::chat(&chain).await
        } else {
            Outcome::NotTested("costs a model call: `doctor --chat` does it".to_owned())
        },
    );
    log.report()
}

/// Whether the configuration is right; the rest needs one.
fn configuration(path: &Path) -> (Outcome, Option<Config>) {
    let wrong = |severity, what: String, change: String| {
        Advice::new(
            "config",
            severity,
            Side::Proxy,
            what,
            "the process does not start with it, or runs an older one",
            change,
        )
    };
    match config::load(path, &System) {
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            (Outcome::found(wrong(Severity::Error, what, "name the file with --config FILE".to_owned())), None)
        }
        Ok(loaded) => {
            let advice = loaded
                .problems
                .iter()
                .map(|p| {
                    let severity = match p.severity {
                        config::diagnostic::Severity::Error => Severity::Error,
                        config::diagnostic::Severity::Warning => Severity::Warning,
                    };
                    let place = p.span.as_ref().map_or_else(|| path.display().to_string(), |s| loaded.source.place(s));
                    wrong(severity, format!("{place}: {}", p.message), p.hint.clone())
                })
                .collect();
            (Outcome::of(path.display().to_string(), advice), loaded.config)
        }
    }
}
