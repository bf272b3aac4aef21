//! Gateways that do not say which scopes a session keeps: some keep them all, some none, and a call tells.

use super::pairing::Approach;
use super::{Authorization, Opened, UpstreamWebSocket, answer};
use crate::refusal::Refusal;
use crate::scope::ScopeSet;
use crate::websocket::connect_frame::{self, ClientIdentity, Reply};
use crate::websocket::frame_codec::Frame;
use std::sync::atomic::Ordering;

/// What `UpstreamWebSocket::silent` holds; 0: it was not found out yet.
const KEEPS: u8 = 1;
const DROPS: u8 = 2;

/// Asks for operator.read on every release, and does nothing.
const CALL: &str = r#"{"type":"req","id":"kept","method":"status","params":{}}"#;

impl UpstreamWebSocket {
    /// Whether a session whose hello names no scopes keeps them. Found out once, in a session of this proxy's own.
    pub(super) async fn keeps_silently(&self, caller: Authorization<'_>) -> Result<bool, Refusal> {
        match self.silent.load(Ordering::Relaxed) {
            KEEPS => return Ok(true),
            DROPS => return Ok(false),
            _ => {}
        }
        let grant = caller.policy.own_device(caller.grant);
        let Opened { mut wire, .. } = self.open(Authorization { grant: &grant, ..caller }, Approach::Plain).await?;
        let client = connect_frame::pairing();
        let frame = connect_frame::leaving(&client, &grant, caller.policy.gateway_auth(), &ClientIdentity::Backend);
        wire.send(Frame::Text(&frame)).await.map_err(|_| Refusal::GatewayBroken)?;
        if let (Reply::Error { .. }, _) = answer(&mut wire, client.id(), grant.effective()).await? {
            return Ok(false);
        }
        wire.send(Frame::Text(CALL)).await.map_err(|_| Refusal::GatewayBroken)?;
        let keeps = match answer(&mut wire, "kept", &ScopeSet::empty()).await?.0 {
            Reply::Hello { .. } => true,
            Reply::Error { message, .. } => !message.contains("missing scope"),
        };
        self.silent.store(if keeps { KEEPS } else { DROPS }, Ordering::Relaxed);
        Ok(keeps)
    }
}
