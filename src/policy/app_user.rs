//! Users of an app: the most that the app may do, and of that what their own grants give. Of a rule for the
//! app and one for the user both must be kept; where they cannot, the request is refused.

use super::Proven;
use crate::authn::Identity;
use crate::config::{HeaderRule, HeaderRules};
use crate::glob::Glob;
use crate::headers::GatewayHeader;
use crate::refusal::{Refusal, UserFault};
use std::sync::Arc;

/// Refuses an app that has not said for whom it calls, and a user whom no rule names.
pub(super) fn is_named(proven: &Proven) -> Result<(), Refusal> {
    let principal = &proven.principal;
    match principal.identity() {
        Identity::App(_) => Err(Refusal::User(UserFault::Missing)),
        Identity::AppUser(_) if proven.permissions.is_nothing() => {
            let app = principal.app().map(|app| app.name().to_owned()).unwrap_or_default();
            Err(Refusal::User(UserFault::Unknown { user: principal.name().to_owned(), app }))
        }
        _ => Ok(()),
    }
}

/// What both the rules for an app and those for its user let through, header by header; and of which there is
/// nothing.
pub(super) fn meet(app: &HeaderRules, user: &HeaderRules) -> (HeaderRules, Option<&'static str>) {
    let mut conflict = None;
    let mut rules = HeaderRules { tools: user.tools.clone().or_else(|| app.tools.clone()), ..HeaderRules::default() };
    for header in GatewayHeader::ALL {
        *rules.slot(header) = match (app.get(header), user.get(header)) {
            (None, rule) | (rule, None) => rule.cloned(),
            (Some(app), Some(user)) => {
                let met = meet_rules(app, user);
                if met.is_none() {
                    conflict = conflict.or(Some(header.name()));
                }
                // Refused anyway; until then nothing may be chosen.
                Some(met.unwrap_or(HeaderRule::Refuse))
            }
        };
    }
    (rules, conflict)
}

/// The tools of the app's rule, where the user has a rule of its own.
pub(super) fn tools_beside(app: &HeaderRules, user: &HeaderRules) -> Option<Arc<[Glob]>> {
    user.tools.as_ref().and(app.tools.clone())
}

/// The widest rule that lets nothing through which one of two does not. `None`: there is none.
fn meet_rules(app: &HeaderRule, user: &HeaderRule) -> Option<HeaderRule> {
    use HeaderRule::{Admin, Allow, Pass, Pin, Prefix, Refuse};
    match (app, user) {
        (Pass, rule) | (rule, Pass) => Some(rule.clone()),
        (a, b) if a == b => Some(a.clone()),
        (Allow(listed), Allow(own)) => {
            let both: Vec<_> = own.iter().filter(|value| listed.contains(value)).cloned().collect();
            (!both.is_empty()).then_some(Allow(both))
        }
        (Pin(value), Allow(values)) | (Allow(values), Pin(value)) => values.contains(value).then(|| Pin(value.clone())),
        // A session of its own for each call is within a space of one's own, and within what administrators may name.
        (Refuse | Admin | Prefix, Refuse | Admin | Prefix) => Some(Refuse),
        (Pin(_) | Allow(_) | Refuse | Admin | Prefix, _) => None,
    }
}

#[cfg(test)]
mod tests;
