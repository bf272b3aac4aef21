//! The closed sets that metrics, log lines and the status page are labelled with. Each is an enum, so
//! that no value can be made that has no series.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// A value of a closed set.
pub trait Label: Copy + VariantArray + Into<&'static str> {
    /// As it is written in metrics, logs and answers.
    fn as_str(self) -> &'static str {
        self.into()
    }

    /// Its place among all of them.
    fn index(self) -> usize;
}

/// Makes an enum a [`Label`], which is written as its name in snake case.
macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$each:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, IntoStaticStr, VariantArray)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum $name { $($(#[$each])* $variant),+ }

        impl Label for $name {
            fn index(self) -> usize {
                self as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// The route a request takes.
    RouteLabel {
        /// `/v1/models` and below.
        Models,
        /// `/v1/chat/completions`.
        ChatCompletions,
        /// `/v1/responses`.
        Responses,
        /// `/v1/embeddings`.
        Embeddings,
        /// `/tools/invoke`.
        ToolsInvoke,
        /// `/sessions/<key>/history`.
        SessionHistory,
        /// `/sessions/<key>/kill`.
        SessionKill,
        /// `/api/v1/admin/rpc`.
        AdminRpc,
        /// A pairing join: a path that holds `/j/` or ends in `/j`.
        Join,
        /// The health probes.
        Health,
        /// The gateway's web page and what it loads.
        WebPage,
        /// A WebSocket, whatever path it was opened at.
        Websocket,
        /// A `[[route]]` of the policy.
        Custom,
        /// Everything else.
        Unlisted,
        /// None: the request was refused before it had a route.
        None,
    }
}

label! {
    /// How a request was decided.
    Decision {
        /// It passed.
        Allow,
        /// It was refused.
        Deny,
        /// It could not be carried out.
        Error,
        /// It broke off before there was an answer.
        Cut,
    }
}

label! {
    /// What proved the caller.
    SourceLabel {
        /// A named token.
        Token,
        /// The gateway's own secret.
        GatewaySecret,
        /// A JWT.
        Issuer,
        /// An app's token and what the app says of its user.
        AppUser,
        /// The tailnet.
        Tailnet,
        /// Nothing: callers without a credential are let in.
        Anonymous,
        /// The caller was not authenticated.
        None,
    }
}

label! {
    /// What kind of stream an answer is.
    StreamKind {
        /// Server-sent events.
        Sse,
        /// A WebSocket.
        Websocket,
    }
}

label! {
    /// Which admin endpoint a request came by.
    AdminEndpoint {
        /// The unix socket: everyone who can open it can change things.
        Socket,
        /// The loopback port, `[admin] address`: for reading.
        Address,
        /// `[admin] metrics_address`, for monitoring from elsewhere: numbers and health, nothing about callers.
        MetricsAddress,
    }
}
