//! Answers the upgrade to a WebSocket and takes the socket over from Pingora.
//!
//! Pingora 0.9.1 loses one upgrade in 200 that it proxies to a fast gateway (its issue 946) and has
//! no call to hand a connection over (its issue 647). The socket is taken out of its session, which
//! continues with a placeholder session until it is dropped.

use super::context::RequestContext;
use crate::authn::Credential;
use crate::headers::REQUEST_ID;
use crate::identity_providers::IdentityProviders;
use crate::listener::ClientStream;
use crate::policy::SocketRequest;
use crate::refusal::Refusal;
use crate::request_evaluation::UpgradeHead;
use crate::request_evaluation::requested_scopes;
use crate::websocket::{Client, OpenSocket, Sockets, Upgraded, occupy, serve};
use futures_util::poll;
use http::HeaderValue;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use jiff::Timestamp;
use pingora::ErrorType::InternalError;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, Result};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::subrequest::server::HttpSession as Subrequest;
use pingora::proxy::Session;
use std::sync::Arc;
use std::task::Poll;

/// An upgrade that may take place.
pub(super) struct Upgrade {
    accept: String,
    /// The subprotocol that is spoken, where one has to be chosen.
    protocol: Option<HeaderValue>,
    checked: Upgraded,
}

/// Goes on with an upgrade whose head was checked. A credential in its head is verified here; without one, the
/// first frame has to bring it.
pub(super) async fn admit(
    head: &RequestHeader,
    upgrade: UpgradeHead,
    ctx: &mut RequestContext,
    sources: &IdentityProviders,
    sockets: &Sockets,
) -> Result<Upgrade, Refusal> {
    let policy = ctx.policy.clone();
    let headers = &head.headers;
    let UpgradeHead { accept, origin } = upgrade;
    let (presented, protocol) = policy.authenticator().presented_by_upgrade(headers)?;
    let proven = match policy.authenticator().credential(presented.as_ref())? {
        Credential::Absent => None,
        credential => Some(sources.authenticate(&policy, credential, &Ok(None), ctx.place()).await?),
    };
    let requested = requested_scopes(headers)?;
    if let Some(proven) = &proven {
        ctx.record.principal = Some(proven.principal.clone());
    }
    let permit = match &proven {
        Some(proven) => {
            let asked = SocketRequest {
                requested: requested.as_ref(),
                requested_scopes: None,
                session: None,
                peer: ctx.place(),
                now: Timestamp::now(),
            };
            // What is refused for another reason is told so in the protocol's own words, later.
            let grant = policy.decide_socket(proven, asked).ok();
            grant.map(|grant| occupy(&policy, &grant, &mut ctx.record)).transpose()?.flatten()
        }
        None => None,
    };
    let unauthenticated = proven.is_none().then(|| sockets.place(ctx.peer()));
    drop(presented);
    Ok(Upgrade {
        accept,
        protocol,
        checked: Upgraded { policy, proven, asking: ctx.asking(headers), requested, origin, unauthenticated, permit },
    })
}

/// Answers the upgrade and lets the connection go on as a WebSocket once Pingora is done with it.
pub(super) async fn hand_over(
    session: &mut Session,
    ctx: &mut RequestContext,
    upgrade: Upgrade,
    sockets: &Arc<Sockets>,
) -> Result<()> {
    let Some(connection) = ctx.connection.clone() else {
        return Error::e_explain(InternalError, "a request without a connection");
    };
    let mut head = ResponseHeader::build(101, Some(5))?;
    head.insert_header(UPGRADE, "websocket")?;
    head.insert_header(CONNECTION, "Upgrade")?;
    head.insert_header(SEC_WEBSOCKET_ACCEPT, upgrade.accept)?;
    if let Some(protocol) = upgrade.protocol {
        head.insert_header(SEC_WEBSOCKET_PROTOCOL, protocol)?;
    }
    head.insert_header(REQUEST_ID, ctx.request_id())?;
    session.write_response_header(Box::new(head), false).await?;
    let (stream, mut early) = detach(session).await?;
    let (socket, held) = stream.into_raw();
    early.extend_from_slice(&held);
    ctx.record.status = 101;
    ctx.handed_over = true;
    let open = Arc::new(OpenSocket::new(ctx.place(), Arc::downgrade(&connection)));
    let client = Client { socket, early, upgrade: upgrade.checked, record: ctx.record.take(), open: open.clone() };
    connection.hand_over(open, Box::pin(serve(client, sockets.clone())));
    Ok(())
}

/// Takes the socket out of an upgraded session, with what the client sent behind its request.
async fn detach(session: &mut Session) -> Result<(Box<ClientStream>, Vec<u8>)> {
    // Bytes of the client are in the session's body reader by now, not in the stream.
    let early = match poll!(std::pin::pin!(session.downstream_session.read_request_body())) {
        Poll::Ready(read) => read?.map(Vec::from).unwrap_or_default(),
        Poll::Pending => Vec::new(),
    };
    let Some(answer) = session.response_written().cloned() else {
        return Error::e_explain(InternalError, "nothing was answered");
    };
    // The placeholder reads the same head from memory and was answered alike.
    let (subrequest, handle) = Subrequest::new_from_session(&session.downstream_session);
    let mut subrequest_session = ServerSession::new_subrequest(subrequest);
    subrequest_session.read_request().await?;
    subrequest_session.write_response_header(Box::new(answer)).await?;
    drop(handle);
    let taken = std::mem::replace(&mut *session.downstream_session, subrequest_session);
    let ServerSession::H1(taken) = taken else {
        return Error::e_explain(InternalError, "an upgrade in another protocol than HTTP/1");
    };
    let stream = taken.into_inner().into_any().downcast::<ClientStream>();
    stream.map(|s| (s, early)).map_err(|_| Error::explain(InternalError, "another kind of stream"))
}
