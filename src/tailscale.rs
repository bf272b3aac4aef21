//! Asks tailscaled who is calling: each peer once at a time, a few peers at a time, and for a few
//! seconds not again. Who is an open stream's caller is asked about for as long as it lasts.

mod localapi;

use crate::authn::tailscale::{About, WhoisQuestion, WhoisResult};
use crate::dns_rebinding::HostNames;
use crate::refusal::TailnetFault;
use crate::tailscale_whois_answer::WhoisNode;
use crate::telemetry::Telemetry;
use localapi::{LocalApi, LocalApiError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OnceCell, Semaphore};

/// For how long an answer holds. What the tailnet takes away is gone after this at the latest.
const FRESH: Duration = Duration::from_secs(10);
/// For how long a failure holds: a storm of callers does not become one of questions.
const AFTER_FAULT: Duration = Duration::from_millis(250);
/// How often tailscaled is looked after, and callers of open streams are asked about.
const EVERY: Duration = Duration::from_secs(2);
/// How often tailscaled is asked for this machine's name, where nothing else depends on it.
const NAME_EVERY: Duration = Duration::from_secs(30);
/// Questions at a time; more wait.
const AT_A_TIME: usize = 8;
/// Answers that are kept.
const KEPT: usize = 10_000;

/// What a process knows of the tailnet.
#[derive(Debug)]
pub struct Tailnet {
    api: LocalApi,
    /// Whether any listener asks it.
    used: bool,
    answers: Mutex<HashMap<About, Arc<Answer>>>,
    room: Semaphore,
    /// Why tailscaled does not answer; `None`: it does.
    silence: Mutex<Option<LocalApiError>>,
    /// What this machine is called there is noted here.
    names: Arc<HostNames>,
    telemetry: Arc<Telemetry>,
    changed: Arc<Notify>,
}

/// One answer, or a question under way for whose answer all callers wait.
#[derive(Debug)]
struct Answer {
    asked: Instant,
    /// The policy under which it was asked for.
    generation: u64,
    said: OnceCell<Result<Arc<WhoisResult>, TailnetFault>>,
    /// Whom it proved, after it went stale: they are asked about again while anything refers to it.
    about: About,
}

impl Answer {
    fn is_fresh(&self, generation: u64) -> bool {
        let holds = match self.said.get() {
            Some(Err(_)) => AFTER_FAULT,
            Some(Ok(_)) | None => FRESH,
        };
        self.generation == generation && self.asked.elapsed() < holds
    }
}

impl Tailnet {
    /// The tailnet that the tailscaled at this socket is in; `used`: whether any listener asks it.
    #[must_use]
    pub fn new(socket: &Path, used: bool, names: Arc<HostNames>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            api: LocalApi::new(socket),
            used,
            answers: Mutex::default(),
            room: Semaphore::new(AT_A_TIME),
            silence: Mutex::default(),
            names,
            telemetry,
            changed: Arc::default(),
        }
    }

    /// Tells that tailscaled says something else of a caller by now. For one who waits.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Why tailscaled does not answer, for people; `None` if it does, or if it is not needed.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.as_ref().map(|why| format!("tailscaled at {}: {why}", self.api.socket().display()))
    }

    /// Who a question is about, as of now and for the policy of this generation.
    ///
    /// # Errors
    /// When no node has the address, tailscaled does not answer, or the answer does not fit the question.
    pub async fn whois(&self, question: &WhoisQuestion, generation: u64) -> Result<Arc<WhoisResult>, TailnetFault> {
        let seen = self.find(question.about, generation).await?;
        question.validate(seen.peer())?;
        Ok(seen)
    }

    async fn find(&self, about: About, generation: u64) -> Result<Arc<WhoisResult>, TailnetFault> {
        let address = match about {
            About::Node(address) => address,
            About::Connection { peer, .. } => peer.ip(),
        };
        if about == About::Node(address) || is_of_tailnets(address) {
            let said = self.once(About::Node(address), generation).await;
            match (said, about) {
                (Ok(seen), _) if seen.peer().has_address(address) => return Ok(seen),
                // The address may be this machine's own, with peers behind it.
                (Ok(_) | Err(TailnetFault::UnknownPeer), About::Connection { .. }) => {}
                (Ok(_), About::Node(_)) => return Err(TailnetFault::UnknownPeer),
                (Err(fault), _) => return Err(fault),
            }
        }
        self.once(about, generation).await
    }

    /// Asks, unless the answer is there or on its way.
    async fn once(&self, about: About, generation: u64) -> Result<Arc<WhoisResult>, TailnetFault> {
        let answer = {
            let mut answers = self.answers();
            match answers.get(&about) {
                Some(answer) if answer.is_fresh(generation) => answer.clone(),
                _ => {
                    let answer = Arc::new(Answer { asked: Instant::now(), generation, said: OnceCell::new(), about });
                    if answers.len() >= KEPT {
                        answers.retain(|_, answer| answer.is_fresh(generation));
                    }
                    if answers.len() < KEPT {
                        answers.insert(about, answer.clone());
                    }
                    answer
                }
            }
        };
        // If the asking task goes away, the next in line asks.
        answer.said.get_or_init(|| self.ask(about)).await.clone()
    }

    async fn ask(&self, about: About) -> Result<Arc<WhoisResult>, TailnetFault> {
        let address = match about {
            About::Node(address) => address.to_string(),
            About::Connection { peer, .. } => peer.to_string(),
        };
        let asked = async {
            let Ok(_room) = self.room.acquire().await else { return Err(LocalApiError::Slow) };
            self.api.whois(&address).await
        };
        let metrics = self.telemetry.metrics();
        match asked.await {
            Ok(Some(body)) => {
                self.heard(None);
                let peer = WhoisNode::parse(&body);
                metrics.whois(if peer.is_ok() { "found" } else { "error" });
                if peer == Err(TailnetFault::Answer) {
                    tracing::warn!(about = address, "tailscaled's answer to whois cannot be read");
                }
                peer.map(|peer| Arc::new(WhoisResult::new(peer)))
            }
            Ok(None) => {
                self.heard(None);
                metrics.whois("unknown");
                Err(TailnetFault::UnknownPeer)
            }
            Err(silence) => {
                metrics.whois("error");
                self.heard(Some(silence));
                Err(TailnetFault::Unavailable)
            }
        }
    }

    /// Notes whether tailscaled answers, and says so when that changes.
    fn heard(&self, silence: Option<LocalApiError>) {
        let mut known = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &silence) {
            (None, Some(why)) => tracing::error!(
                socket = %self.api.socket().display(), %why,
                "tailscaled does not answer; callers without a bearer token get 503"
            ),
            (Some(_), None) => tracing::info!("tailscaled answers again"),
            _ => {}
        }
        *known = silence;
    }

    /// Looks after tailscaled and after the callers of open streams, for as long as the process serves.
    pub async fn follow(self: Arc<Self>) {
        if !self.used {
            return self.follow_name().await;
        }
        let mut held: Vec<(About, Instant, Weak<WhoisResult>)> = Vec::new();
        loop {
            let name = self.api.check().await;
            self.names.set_tailnet(name.as_deref().unwrap_or_default());
            self.heard(name.err());
            self.retire(&mut held);
            for (about, asked, seen) in &mut held {
                if asked.elapsed() >= FRESH
                    && let Some(seen) = seen.upgrade()
                {
                    *asked = Instant::now();
                    self.compare(*about, &seen).await;
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Where no listener needs tailscaled, it is asked for this machine's name all the same: pages that
    /// tailscale serve shows under that name may connect.
    async fn follow_name(&self) {
        loop {
            if self.api.socket().exists() {
                self.names.set_tailnet(self.api.check().await.as_deref().unwrap_or_default());
            }
            tokio::time::sleep(NAME_EVERY).await;
        }
    }

    /// Forgets stale answers, except to those who still hold on to one.
    fn retire(&self, held: &mut Vec<(About, Instant, Weak<WhoisResult>)>) {
        held.retain(|(_, _, seen)| seen.strong_count() > 0);
        self.answers().retain(|_, answer| {
            let fresh = answer.is_fresh(answer.generation);
            if !fresh && let Some(Ok(seen)) = answer.said.get() {
                held.push((answer.about, answer.asked, Arc::downgrade(seen)));
            }
            fresh
        });
    }

    /// Has a caller whose answer has changed checked anew. While tailscaled is silent nothing changes:
    /// a stream that was let in is not cut by a restart of tailscaled.
    async fn compare(&self, about: About, seen: &WhoisResult) {
        match self.ask(about).await {
            Ok(now) if now.peer() == seen.peer() => {}
            Ok(_) | Err(TailnetFault::UnknownPeer) => {
                seen.outdate();
                self.changed.notify_one();
            }
            Err(_) => {}
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<About, Arc<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the tailscaled at this socket answers, and is connected; else why not, for people.
///
/// # Errors
/// A sentence.
pub async fn check(socket: &Path) -> Result<(), String> {
    let api = LocalApi::new(socket);
    api.check().await.map(drop).map_err(|why| format!("tailscaled at {}: {why}", socket.display()))
}

/// Whether Tailscale gives out addresses of this range: 100.64.0.0/10 and fd7a:115c:a1e0::/48.
fn is_of_tailnets(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}
