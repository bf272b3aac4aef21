//! `[limits]`.

use super::values::{count, duration, size};
use crate::config::diagnostic::Problems;
use crate::config::file::{At, File};
use crate::config::{BodySizes, Limits, Pace, UnauthenticatedLimits};
use std::time::Duration;

/// No deployment needs more places than this.
const MANY: usize = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn limits(file: &File, problems: &mut Problems) -> Limits {
    let table = &file.limits;
    let default = Limits::default();
    let sizes = default.body;
    let body = &table.max_body;
    let mut body_size = |value: &Option<At<String>>, default| size(value.as_ref(), default, 0, 1 << 40, problems);
    let body = BodySizes {
        chat_completions: body_size(&body.chat_completions, sizes.chat_completions),
        responses: body_size(&body.responses, sizes.responses),
        embeddings: body_size(&body.embeddings, sizes.embeddings),
        tools_invoke: body_size(&body.tools_invoke, sizes.tools_invoke),
        other: body_size(&body.other, sizes.other),
    };
    let head = size(table.max_head.as_ref(), default.head as u64, 1024, default.head as u64, problems);
    let pace = default.body_pace;
    let unauthenticated = default.unauthenticated;
    Limits {
        connections: count(table.max_connections.as_ref(), default.connections, 1, MANY, problems),
        connections_per_address: bound(
            table.max_connections_per_address.as_ref(),
            default.connections_per_address,
            problems,
        ),
        local_connections: bound(table.max_local_connections.as_ref(), default.local_connections, problems),
        head: usize::try_from(head).unwrap_or(default.head),
        headers: count(table.max_headers.as_ref(), default.headers, 8, 256, problems),
        head_timeout: duration(table.head_timeout.as_ref(), default.head_timeout, Duration::from_millis(100), problems),
        keepalive: duration(table.keepalive.as_ref(), default.keepalive, SECOND, problems),
        requests_per_connection: bound(
            table.max_requests_per_connection.as_ref(),
            default.requests_per_connection.and_then(|n| usize::try_from(n).ok()),
            problems,
        )
        .map(|n| n as u64),
        body,
        body_pace: Pace {
            deadline: duration(table.body_timeout.as_ref(), pace.deadline, SECOND, problems),
            grace: duration(table.body_grace.as_ref(), pace.grace, SECOND, problems),
            rate: size(table.min_body_rate.as_ref(), pace.rate, 0, 1 << 30, problems),
        },
        write_timeout: duration(table.write_timeout.as_ref(), default.write_timeout, SECOND, problems),
        unauthenticated: UnauthenticatedLimits {
            sockets: count(table.max_unauthenticated_websockets.as_ref(), unauthenticated.sockets, 1, MANY, problems),
            per_address: bound(
                table.max_unauthenticated_websockets_per_address.as_ref(),
                unauthenticated.per_address,
                problems,
            ),
            timeout: duration(table.websocket_connect_timeout.as_ref(), unauthenticated.timeout, SECOND, problems),
        },
    }
}

/// A count where 0 means no bound.
fn bound(value: Option<&At<i64>>, default: Option<usize>, problems: &mut Problems) -> Option<usize> {
    match count(value, default.unwrap_or(0), 0, MANY, problems) {
        0 => None,
        n => Some(n),
    }
}
