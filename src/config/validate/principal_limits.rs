//! The limits of a principal.

use crate::config::diagnostic::Problems;
use crate::config::file::{self, At};
use crate::config::{PrincipalLimits, Rate};
use std::num::NonZeroU32;

/// The most of anything.
const MOST: i64 = 1_000_000;

pub(super) fn limits(table: Option<&At<file::PrincipalLimits>>, problems: &mut Problems) -> PrincipalLimits {
    let Some(at) = table else { return PrincipalLimits::default() };
    let table = at.get();
    let per_minute = number(table.requests_per_minute.as_ref(), 1, problems).and_then(NonZeroU32::new);
    let burst = number(table.burst.as_ref(), 1, problems).and_then(NonZeroU32::new);
    if let (Some(burst), None) = (&table.burst, &table.requests_per_minute) {
        problems.error(
            "limits",
            burst.span(),
            "`burst` says how many of the requests a minute may come at once",
            "add `requests_per_minute`, or use `concurrent_requests`",
        );
    }
    let limits = PrincipalLimits {
        rate: per_minute.map(|per_minute| Rate { per_minute, burst: burst.unwrap_or(per_minute) }),
        requests: number(table.concurrent_requests.as_ref(), 1, problems),
        streams: number(table.concurrent_streams.as_ref(), 0, problems),
        sockets: number(table.concurrent_websockets.as_ref(), 0, problems),
    };
    if let (Some(requests), Some(streams), Some(at)) = (limits.requests, limits.streams, &table.concurrent_streams)
        && streams > requests
    {
        problems.warn(
            "limits",
            at.span(),
            format!("a stream is a request too, so no more than {requests} can be open"),
            "lower `concurrent_streams`, or raise `concurrent_requests`",
        );
    }
    limits
}

fn number(value: Option<&At<i64>>, least: i64, problems: &mut Problems) -> Option<u32> {
    let value = value?;
    let number = Some(*value.get()).filter(|n| (least..=MOST).contains(n)).and_then(|n| u32::try_from(n).ok());
    if number.is_none() {
        problems.error(
            "number",
            value.span(),
            format!("{} is out of range", value.get()),
            format!("from {least} to {MOST}; leave it out for no limit"),
        );
    }
    number
}
