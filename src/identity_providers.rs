//! The identity sources that are asked while a request waits: issuers for their keys, tailscaled for
//! who is at the other end.

use crate::auth_throttle::AuthThrottle;
use crate::authn::Credential;
use crate::authn::tailscale::WhoisQuestion;
use crate::dns_rebinding::HostNames;
use crate::jwks_cache::JwksCache;
use crate::policy::{Policy, Proven};
use crate::refusal::{Refusal, TailnetFault};
use crate::tailscale::Tailnet;
use std::net::IpAddr;
use std::sync::Arc;

/// What the tailnet is to be asked about a caller who presents nothing: [`WhoisQuestion::new`].
pub type TailnetQuery = Result<Option<WhoisQuestion>, TailnetFault>;

/// The identity sources of a process.
#[derive(Debug)]
pub struct IdentityProviders {
    /// The issuers' keys.
    pub issuers: Arc<JwksCache>,
    /// The tailnet.
    pub tailnet: Arc<Tailnet>,
    /// The names of this machine.
    pub names: Arc<HostNames>,
    /// The wrong credentials of late.
    pub guessing: AuthThrottle,
}

impl IdentityProviders {
    /// Who is calling? What is presented is checked alone; the tailnet is asked about who presents
    /// nothing. The answer to one wrong credential after the other is held back.
    ///
    /// # Errors
    /// The [`Refusal`] that says why the caller is not authenticated.
    pub async fn authenticate(
        &self,
        policy: &Policy,
        credential: Credential<'_>,
        asking: &TailnetQuery,
        peer: Option<IpAddr>,
    ) -> Result<Proven, Refusal> {
        if !matches!(credential, Credential::Absent) {
            return match self.issuers.authenticate(policy, credential, peer).await {
                Err(refusal) => Err(self.guessing.answer(refusal, peer).await),
                proven => proven,
            };
        }
        match asking.as_ref().map_err(|fault| Refusal::Tailnet(fault.clone()))? {
            None => self.issuers.authenticate(policy, credential, peer).await,
            Some(question) => {
                let seen = self.tailnet.whois(question, policy.generation()).await.map_err(Refusal::Tailnet)?;
                self.issuers.authenticate(policy, Credential::Tailnet(&seen), peer).await
            }
        }
    }
}
