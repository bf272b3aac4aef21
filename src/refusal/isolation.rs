//! What a caller may not name: agents, sessions, models and tools that are not its own (docs/isolation.md).

use super::Code;
use crate::json_body::BodyFault;

/// Why a caller is kept from what a request names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsolationFault {
    /// An agent that is not the caller's.
    #[error("the agent `{agent}`, named by {by}, is not among this caller's")]
    Agent {
        /// Which.
        agent: String,
        /// Where the request names it.
        by: &'static str,
    },
    /// A session that is not the caller's.
    #[error("the session named by {by} is not this caller's: {why}")]
    Session {
        /// Where the request names it.
        by: &'static str,
        /// Why it is not.
        why: &'static str,
    },
    /// A tool that the caller may not call directly.
    #[error("the tool `{tool}` may not be called by this caller: {why}")]
    Tool {
        /// Which.
        tool: String,
        /// Why not.
        why: &'static str,
    },
    /// A header that names the chat, and cannot be read.
    #[error("the header that names the chat cannot be used: {0}")]
    Chat(&'static str),
    /// A model that the caller may not choose.
    #[error("this caller may not choose the model of a session")]
    Model,
    /// A model that was sent for this caller, and that the gateway does not take.
    #[error("the gateway takes x-openclaw-model from operator.admin alone, and it was sent for this caller")]
    ModelNotTaken,
    /// A body that must be read and cannot.
    #[error("{0}; for this caller the body must be plain JSON, as its agents, sessions or tools are limited")]
    Body(BodyFault),
    /// Too much is held in memory already.
    #[error("too many request bodies are being read at the moment")]
    Crowded,
}

impl IsolationFault {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Agent { .. } | Self::Session { .. } | Self::Tool { .. } | Self::Model | Self::ModelNotTaken => 403,
            Self::Body(_) | Self::Chat(_) => 400,
            Self::Crowded => 503,
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Agent { .. } => Code::AgentNotAllowed,
            Self::Session { .. } => Code::SessionNotAllowed,
            Self::Tool { .. } => Code::ToolNotAllowed,
            Self::Model => Code::ModelNotAllowed,
            Self::ModelNotTaken => Code::ModelNotTaken,
            Self::Body(_) => Code::InvalidBody,
            Self::Chat(_) => Code::InvalidChatHeader,
            Self::Crowded => Code::TooManyBodies,
        }
    }

    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Agent { .. } => "name one of your agents or none, or have `agent_id` changed in the policy",
            Self::Session { .. } => "name a session of your own or none, or have `session_key` changed in the policy",
            Self::Tool { .. } => "call another tool, or have `tools` changed in the policy",
            Self::Model => "leave `model` out, or have `model` changed in the policy",
            Self::ModelNotTaken => {
                "omit the header; operator: give an agent that model in the gateway's configuration, and pin `agent_id` in place of `model`"
            }
            Self::Body(_) => "send one JSON object in UTF-8, each member once, not compressed",
            Self::Chat(_) => "send each header of `[sessions]` once, as visible ASCII",
            Self::Crowded => "try again in a moment",
        }
    }
}
