//! Whether a 401 of the gateway is about this proxy's credential. The answer itself does not say: plugins,
//! hooks and model providers answer 401 for reasons of their own. So the gateway is asked.

use super::requests::{HISTORY, READS};
use crate::config::GatewayAddress;
use crate::headers::SCOPES;
use crate::http_client::{ClientRequest, ClientResponse, Server, ask};
use crate::policy::Policy;
use http::HeaderValue;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// For the whole question. A gateway answers bad credentials later and later, up to 5 s (contract §3).
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long a credential that was refused counts as refused: each question is a failed attempt there.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// How long it counts as accepted after it was.
const ACCEPTED_FOR: Duration = Duration::from_secs(1);

/// Asks the gateway, one question at a time, and remembers the answer for a moment.
#[derive(Debug)]
pub struct CredentialCheck {
    address: GatewayAddress,
    last: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    user: Option<HeaderValue>,
    refused: bool,
    at: Instant,
}

impl Known {
    fn holds_for(&self, policy: &Policy, user: Option<&HeaderValue>) -> bool {
        let fresh = if self.refused { REFUSED_FOR } else { ACCEPTED_FOR };
        self.generation == policy.generation() && self.user.as_ref() == user && self.at.elapsed() < fresh
    }
}

impl CredentialCheck {
    /// For the gateway at this address.
    #[must_use]
    pub fn new(address: GatewayAddress) -> Self {
        Self { address, last: Mutex::default() }
    }

    /// Whether the gateway refuses what this policy proves this proxy with, for a request of `user`. Where
    /// that cannot be found out: no.
    pub async fn is_refused(&self, policy: &Policy, user: Option<&HeaderValue>) -> bool {
        let mut last = self.last.lock().await;
        if let Some(known) = last.as_ref().filter(|known| known.holds_for(policy, user)) {
            return known.refused;
        }
        let refused = tokio::time::timeout(TIMEOUT, self.ask(policy, user)).await.unwrap_or(false);
        *last = Some(Known { generation: policy.generation(), user: user.cloned(), refused, at: Instant::now() });
        refused
    }

    async fn ask(&self, policy: &Policy, user: Option<&HeaderValue>) -> bool {
        let server = Server::Tcp(self.address.host.clone(), self.address.port);
        for path in [READS, HISTORY] {
            let mut lines = policy.credentials().lines(user, None);
            lines.push((SCOPES, HeaderValue::from_static("operator.read")));
            match ask(&server, ClientRequest::get(path, lines), TIMEOUT).await {
                Ok(answer) if answer.status == 401 => return true,
                // Not served there: the page, or nothing.
                Ok(answer) if answer.is_html() || answer.status == 404 => {}
                Ok(ClientResponse { .. }) | Err(_) => return false,
            }
        }
        false
    }
}
