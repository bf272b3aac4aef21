//! Simulated callers: principals for dry runs, which authenticate nothing and never reach the data path.

use super::issuer::Trusted;
use super::tailscale::WhoisResult;
use super::{Authenticator, Evidence, Identity, Principal, Verified};
use crate::config::SimulatedCaller;
use crate::refusal::{JwtFault, Refusal};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;

impl Authenticator {
    /// The principal that such a caller would be.
    ///
    /// # Errors
    /// The [`Refusal`] that a true proof of the same would get.
    pub fn simulate(
        &self,
        who: &SimulatedCaller,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Refusal> {
        match who {
            SimulatedCaller::Token(name) => {
                let named = self.tokens.named(name);
                named.ok_or(Refusal::CredentialUnknown)?.validate(peer, now)
            }
            SimulatedCaller::GatewaySecret => {
                self.gateway_secret.as_ref().map(|(_, p)| p.clone()).ok_or(Refusal::CredentialUnknown)
            }
            SimulatedCaller::Anonymous => self.anonymous(peer),
            SimulatedCaller::Tailnet(peer) => Ok(Self::tailnet(Arc::new(WhoisResult::new(peer.clone())))),
            SimulatedCaller::AppUser { app, claims } => {
                let app = self.simulate(&SimulatedCaller::Token(app.clone()), peer, now)?;
                self.simulate_user(&app, claims.clone(), now)
            }
            SimulatedCaller::Claims { issuer, claims } => {
                self.claims(issuer, claims.clone(), now).map_err(Refusal::Jwt)
            }
        }
    }

    fn claims(&self, issuer: &str, mut claims: Map<String, Value>, now: Timestamp) -> Result<Arc<Principal>, JwtFault> {
        let of_callers = |t: &Trusted| !t.issuer.proves_users && *t.issuer.name == *issuer;
        let (index, trusted) = self.issuers.iter().enumerate().find(|(_, t)| of_callers(t)).ok_or(JwtFault::Issuer)?;
        trusted.fill(&mut claims, now);
        let until = trusted.validate_claims(&claims, now)?;
        let name = trusted.name(&claims)?;
        let scopes = trusted.scopes(&claims);
        let verified = Verified { issuer: trusted.issuer.name.clone(), key_id: None, keys: 0, claims, scopes };
        Ok(Arc::new(Principal {
            name: Arc::from(name),
            identity: Identity::Issuer(index),
            valid_until: Some(until),
            evidence: Evidence::Jwt(Box::new(verified)),
        }))
    }
}

impl Trusted {
    /// Fills in what every token of the issuer says.
    pub(super) fn fill(&self, claims: &mut Map<String, Value>, now: Timestamp) {
        let mut fill = |name: &str, value: Value| {
            claims.entry(name).or_insert(value);
        };
        fill("iss", json!(self.issuer.issuer));
        if !self.issuer.audiences.is_empty() {
            fill("aud", json!(self.issuer.audiences));
        }
        fill("exp", json!(now.as_second() + 3600));
        fill("sub", json!("somebody"));
    }
}
