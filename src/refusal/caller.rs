//! To whom a refusal is told. Most clients show nothing but the message, and the gateway's own refusals
//! have the same words: so the message itself says who refuses, and whom.

use super::Refusal;
use crate::metric_labels::SourceLabel;
use crate::scope::ScopeSet;
use std::fmt;

/// The longest name that is repeated in a message, in characters: an issuer may choose any.
const MAX_NAME: usize = 64;

/// An authenticated caller.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// What authenticated it.
    pub source: SourceLabel,
    /// Its name.
    pub name: &'a str,
    /// The app that calls on its behalf.
    pub app: Option<&'a str>,
    /// The scopes that the policy grants it for this request, where these are why it is refused.
    pub holds: Option<&'a ScopeSet>,
}

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            SourceLabel::Token => "token",
            SourceLabel::AppUser => "user",
            SourceLabel::Issuer => "JWT of",
            SourceLabel::Tailnet => "Tailscale",
            SourceLabel::GatewaySecret => return self.holding(f, "the gateway's own secret"),
            SourceLabel::Anonymous => return self.holding(f, "an anonymous caller"),
            SourceLabel::None => return self.holding(f, "an unauthenticated caller"),
        };
        let name: String = self.name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        match self.app {
            Some(app) => self.holding(f, &format!("{kind} \"{name}\" of the app \"{app}\"")),
            None => self.holding(f, &format!("{kind} \"{name}\"")),
        }
    }
}

impl Caller<'_> {
    fn holding(&self, f: &mut fmt::Formatter<'_>, who: &str) -> fmt::Result {
        match self.holds {
            None => f.write_str(who),
            Some(scopes) if scopes.is_empty() => write!(f, "{who} holds no scope"),
            Some(scopes) => write!(f, "{who} holds {}", scopes.to_header()),
        }
    }
}

impl Refusal {
    /// The message as a client is given it.
    #[must_use]
    pub fn told_to(&self, caller: Option<&Caller<'_>>) -> String {
        match caller {
            Some(caller) => format!("{self} (scopeshim: {caller})"),
            None => format!("{self} (scopeshim)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    #[test]
    fn a_message_says_who_refuses_whom() {
        let refusal = Refusal::ScopeMissing { needed: Scope::parse("operator.write").unwrap(), held: false };
        let scopes = ScopeSet::parse_lines([&b"operator.read"[..]]).unwrap();
        let mut caller = Caller { source: SourceLabel::Token, name: "reader", app: None, holds: Some(&scopes) };
        assert_eq!(
            refusal.told_to(Some(&caller)),
            "missing scope: operator.write (scopeshim: token \"reader\" holds operator.read)"
        );
        let nothing = ScopeSet::empty();
        caller = Caller { source: SourceLabel::Issuer, name: "a\nb", app: None, holds: Some(&nothing) };
        assert_eq!(
            refusal.told_to(Some(&caller)),
            "missing scope: operator.write (scopeshim: JWT of \"ab\" holds no scope)"
        );
        assert_eq!(Refusal::Draining.told_to(None), "this proxy is shutting down (scopeshim)");
    }
}
