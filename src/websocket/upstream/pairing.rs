//! How this proxy's device becomes known to the gateway. Releases differ in whom they pair without a person,
//! and nothing tells beforehand: each way is tried, the least demanding first.

use super::{Attempt, Authorization, Failure, UpstreamWebSocket, refused};
use crate::refusal::Refusal;
use crate::websocket::connect_frame::{self, Connect};
use http::header::{HOST, ORIGIN};
use http::{HeaderName, HeaderValue};
use std::time::{Duration, Instant};

/// How long a pairing is taken to last without being looked at again: a gateway may lose its state.
const PAIRED_FOR: Duration = Duration::from_secs(60);
/// How long a pairing that was not had is not tried for again: each attempt leaves a request behind
/// on the gateway, and the client's own attempt tells when it was approved.
const UNPAIRED_FOR: Duration = Duration::from_secs(30);

/// A page is taken without a list of origins where it comes from the host it calls, and that host has a
/// private address. The gateway's own is loopback mostly, which counts for callers of its machine only.
const PAGE_HOST: HeaderValue = HeaderValue::from_static("10.0.0.1");
const PAGE_ORIGIN: HeaderValue = HeaderValue::from_static("http://10.0.0.1");

/// What is known of the device's standing with the gateway.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Pairing {
    #[default]
    Unknown,
    /// When the device was last seen to be known with all its scopes.
    Known(Instant),
    /// When the gateway last did not pair it.
    Refused(Instant),
}

/// As what a socket of the gateway is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approach {
    /// For a client, whose address is told where the gateway wants one (mode trusted-proxy).
    Plain,
    /// Without an address: as a program of the gateway's own machine, which this proxy mostly is.
    Local,
    /// As a page of the gateway's own address.
    Page,
}

impl Approach {
    /// The lines that say which host is called, and from which page.
    pub(super) fn host(self, authority: &HeaderValue) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let (host, origin) = match self {
            Self::Plain | Self::Local => (authority.clone(), None),
            Self::Page => (PAGE_HOST, Some(PAGE_ORIGIN)),
        };
        std::iter::once((HOST, host)).chain(origin.map(|origin| (ORIGIN, origin)))
    }
}

impl UpstreamWebSocket {
    /// Has the device paired with every scope it may ever need, since most releases refuse to widen
    /// a pairing later (contract §7). Where that is not to be had, the client's own attempt tells why.
    pub(super) async fn make_known(&self, caller: Authorization<'_>) -> Result<(), Failure> {
        let mut pairing = self.pairing.lock().await;
        let holds = match *pairing {
            Pairing::Unknown => false,
            Pairing::Known(at) => at.elapsed() < PAIRED_FOR,
            Pairing::Refused(at) => at.elapsed() < UNPAIRED_FOR,
        };
        if holds {
            return Ok(());
        }
        let grant = caller.policy.own_device(caller.grant);
        let leave = Authorization { grant: &grant, ..caller };
        let named = caller.policy.credentials().names_callers();
        // The latter two are what gateways in mode trusted-proxy pair by themselves if they are told to
        // (`deviceAutoApprove`): some native applications, others pages alone.
        let ways = [
            (connect_frame::pairing(), Approach::Local),
            (connect_frame::native_pairing(), Approach::Plain),
            (connect_frame::page_pairing(), Approach::Page),
        ];
        let ways = if named { &ways[..] } else { &ways[..1] };
        *pairing = Pairing::Refused(Instant::now());
        for (client, approach) in ways {
            match self.pair(client, leave, *approach).await {
                Ok(true) => {
                    *pairing = Pairing::Known(Instant::now());
                    break;
                }
                Ok(false) => {}
                // It takes no client in this way.
                Err(
                    Failure::Refused(Refusal::Socket(_) | Refusal::GatewayCredential { .. }) | Failure::Answered(_),
                ) if named => {}
                Err(why) => {
                    *pairing = Pairing::Unknown;
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// Asks for all scopes once more, because a gateway keeps one request of a device, the latest, and the client's
    /// own asked for less: the person who approves it approves it for every caller. Gives the request.
    pub(super) async fn ask_for_approval(&self, caller: Authorization<'_>) -> Option<String> {
        let grant = caller.policy.own_device(caller.grant);
        let leave = Authorization { grant: &grant, ..caller };
        let socket = self.open(leave, Approach::Plain).await.ok()?;
        match self.attempt(&connect_frame::pairing(), leave, socket, true).await.ok()? {
            Attempt::PairingRequired(request) => Some(request).filter(|r| !r.is_empty()),
            Attempt::Connected(_) | Attempt::Stripped | Attempt::Refused { .. } => None,
        }
    }

    /// Whether the gateway now knows the device.
    async fn pair(&self, client: &Connect, leave: Authorization<'_>, approach: Approach) -> Result<bool, Failure> {
        let socket = self.open(leave, approach).await?;
        match self.attempt(client, leave, socket, true).await? {
            Attempt::Connected(_) => Ok(true),
            Attempt::PairingRequired(_) | Attempt::Stripped => Ok(false),
            Attempt::Refused { text, code, .. } => Err(refused(text, &code, leave.policy.credentials().mode())),
        }
    }
}
