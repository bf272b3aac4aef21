//! The gateway's part, as the probe found it.

use super::Outcome;
use super::context::Chain;
use crate::gateway_probe::{Advice, Capabilities, ProbeState};

/// The advice with these codes.
fn advice(chain: &Chain, codes: &[&str]) -> Vec<Advice> {
    chain.gateway.advice().into_iter().filter(|a| codes.contains(&a.code)).collect()
}

fn capabilities(chain: &Chain) -> Result<&Capabilities, Outcome> {
    match &chain.gateway.state {
        ProbeState::Answers(capabilities) => Ok(capabilities),
        ProbeState::Unknown | ProbeState::Unreachable(_) => {
            Err(Outcome::Skipped("the gateway does not answer".to_owned()))
        }
    }
}

/// Does it answer?
pub(super) fn reachable(chain: &Chain) -> Outcome {
    let said = format!("{}, mode {}", chain.fixed.gateway.authority(), chain.gateway.mode);
    Outcome::of(said, advice(chain, &["gateway-unreachable", "gateway-suspended", "gateway-broken"]))
}

/// Does it take this proxy's credential?
pub(super) fn credential(chain: &Chain) -> Outcome {
    let capabilities = match capabilities(chain) {
        Ok(capabilities) => capabilities,
        Err(skipped) => return skipped,
    };
    let found = advice(chain, &["gateway-credential", "gateway-attribution", "gateway-locked-out"]);
    match (found.is_empty(), capabilities.credential_accepted) {
        (true, None) => Outcome::NotTested("no route of this release shows it".to_owned()),
        _ => Outcome::claim(&format!("the gateway accepts it (mode {})", chain.gateway.mode), found),
    }
}

/// Are the OpenAI endpoints switched on?
pub(super) fn endpoints(chain: &Chain) -> Outcome {
    let capabilities = match capabilities(chain) {
        Ok(capabilities) => capabilities,
        Err(skipped) => return skipped,
    };
    match capabilities.endpoints_enabled {
        None => Outcome::NotTested("the gateway does not show it".to_owned()),
        Some(_) => Outcome::claim("the OpenAI endpoints are switched on", advice(chain, &["endpoints-disabled"])),
    }
}
