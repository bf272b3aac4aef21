//! Single values: choices, counts, spans of time, scopes, addresses, moments.

use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::{At, Moment};
use crate::scope::{Scope, ScopeSet};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::time::Duration;

/// One of several words.
pub(super) fn choice<T: Copy>(
    value: Option<&At<String>>,
    default: T,
    words: &[(&str, T)],
    code: &'static str,
    problems: &mut Problems,
) -> T {
    let Some(value) = value else { return default };
    if let Some((_, meaning)) = words.iter().find(|(word, _)| word == value.get()) {
        return *meaning;
    }
    let all = words.iter().map(|(w, _)| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(value.get(), words.iter().map(|(w, _)| *w))
        .map_or_else(|| format!("one of {all}"), |near| format!("did you mean `{near}`? One of {all}"));
    problems.error(code, value.span(), format!("`{}` is not known here", value.get()), hint);
    default
}

/// A whole number within bounds.
pub(super) fn count(
    value: Option<&At<i64>>,
    default: usize,
    least: usize,
    most: usize,
    problems: &mut Problems,
) -> usize {
    let Some(value) = value else { return default };
    match usize::try_from(*value.get()) {
        Ok(n) if (least..=most).contains(&n) => n,
        _ => {
            problems.error(
                "number",
                value.span(),
                format!("{} is out of range", value.get()),
                format!("from {least} to {most}"),
            );
            default
        }
    }
}

/// A span of time, such as `30s` or `5m`.
pub(super) fn duration(
    value: Option<&At<String>>,
    default: Duration,
    least: Duration,
    problems: &mut Problems,
) -> Duration {
    let Some(value) = value else { return default };
    match value.get().parse::<SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()) {
        Some(d) if d >= least => d,
        Some(_) => {
            problems.error(
                "duration",
                value.span(),
                format!("`{}` is too short", value.get()),
                format!("{least:?} at least"),
            );
            default
        }
        None => {
            problems.error(
                "duration",
                value.span(),
                format!("`{}` is not a duration", value.get()),
                "for example `\"30s\"`, `\"500ms\"`, `\"5m\"`, `\"1h\"`",
            );
            default
        }
    }
}

/// A number of bytes, such as `16KiB` or `20MiB`.
pub(super) fn size(value: Option<&At<String>>, default: u64, least: u64, most: u64, problems: &mut Problems) -> u64 {
    let Some(value) = value else { return default };
    match bytes(value.get()) {
        Some(n) if (least..=most).contains(&n) => n,
        Some(_) => {
            problems.error(
                "size",
                value.span(),
                format!("`{}` is out of range", value.get()),
                format!("from {} to {}", readable(least), readable(most)),
            );
            default
        }
        None => {
            problems.error(
                "size",
                value.span(),
                format!("`{}` is not a size", value.get()),
                "for example `\"240B\"`, `\"16KiB\"`, `\"20MiB\"`",
            );
            default
        }
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn bytes(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, each)| text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*each))
}

fn readable(bytes: u64) -> String {
    let (unit, each) =
        UNITS.iter().find(|(_, each)| bytes >= *each && bytes.is_multiple_of(*each)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / each)
}

/// One scope name.
pub(super) fn scope(value: &At<String>, problems: &mut Problems) -> Option<Scope> {
    match Scope::parse(value.get()) {
        Ok(scope) => {
            if !scope.is_known() {
                let hint = did_you_mean(value.get(), crate::scope::KNOWN.iter().copied()).map_or_else(
                    || "fine, if your gateway is newer than this proxy; it implies nothing".to_owned(),
                    |near| format!("did you mean `{near}`? Case matters"),
                );
                problems.warn(
                    "unknown-scope",
                    value.span(),
                    format!("no known gateway release has the scope `{scope}`"),
                    hint,
                );
            }
            Some(scope)
        }
        Err(fault) => {
            problems.error(
                "scope",
                value.span(),
                fault.to_string(),
                "one name an entry, for example `scopes = [\"operator.read\", \"operator.write\"]`",
            );
            None
        }
    }
}

/// A list of scope names.
pub(super) fn scopes(values: &[At<String>], problems: &mut Problems) -> ScopeSet {
    values.iter().filter_map(|v| scope(v, problems)).collect()
}

/// A list of networks; a bare address stands for itself.
pub(super) fn cidrs(values: Option<&Vec<At<String>>>, problems: &mut Problems) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for value in values.into_iter().flatten() {
        let text = value.get();
        match text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
            Some(net) => {
                if net.prefix_len() == 0 {
                    problems.warn(
                        "wide-cidr",
                        value.span(),
                        format!("`{text}` matches every address"),
                        "leave `cidrs` out if any address is meant",
                    );
                } else if net.trunc() != net {
                    problems.warn(
                        "cidr-host-bits",
                        value.span(),
                        format!("`{text}` has bits set beyond its prefix"),
                        format!("write `{}`", net.trunc()),
                    );
                }
                nets.push(net);
            }
            None => problems.error(
                "cidr",
                value.span(),
                format!("`{text}` is not a network"),
                "for example `192.168.1.0/24`, `fd00::/8` or `127.0.0.1`",
            ),
        }
    }
    nets
}

/// A moment.
pub(super) fn moment(value: Option<&At<Moment>>, problems: &mut Problems) -> Option<Timestamp> {
    let value = value?;
    let at = value.get().0.parse::<Timestamp>().ok();
    if at.is_none() {
        let message = format!("`{}` is not an RFC 3339 time with an offset", value.get().0);
        problems.error("moment", value.span(), message, "for example `2027-01-31T12:00:00Z`");
    }
    at
}
