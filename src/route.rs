//! The gateway's routes and what each needs (contract §1), and the routes a policy adds.

pub mod builtin;
mod rule;
mod table;

pub use rule::{Fit, PathRule};
pub use table::RouteTable;

use crate::metric_labels::RouteLabel;
use crate::principal_limits::PrincipalLimits;
use crate::request_path::is_join;
use crate::scope::{Scope, ScopeSet};
use http::Method;
use ipnet::IpNet;
use std::fmt;
use std::sync::Arc;

/// Who is shown the gateway's web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ui {
    /// Nobody; its paths are like any other that is not listed.
    Off,
    /// Callers with operator.read.
    Authenticated,
    /// Anybody. Nothing of ours is sent along.
    Open,
}

/// What a route asks of its caller, the least first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A credential of the client's own, which the gateway verifies: it is passed on, and nothing of ours.
    PassthroughCredential(Arc<ClientRoute>),
    /// No authentication is needed, and no credential and no scope is sent.
    Public,
    /// A health probe: as [`Need::Public`], and the answer is cut down to its verdict.
    Health(Probe),
    /// A principal, whatever its scopes.
    Authenticated,
    /// A principal whose effective scopes satisfy this one.
    Scope(Scope),
    /// A principal whose effective scopes satisfy each of these: readings of one path need scopes
    /// of which none implies the other.
    Scopes(ScopeSet),
}

/// What a route asks of callers whom only the gateway can authenticate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientRoute {
    /// Where they may come from; empty: from anywhere.
    pub cidrs: Vec<IpNet>,
    /// How much each address may ask for.
    pub limits: PrincipalLimits,
}

/// The health questions a gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/health`, `/healthz`.
    Live,
    /// `/ready`, `/readyz`.
    Ready,
    /// `/startup`, `/startupz`, from 2026.9.
    Startup,
}

impl Need {
    /// The first scope needed that a set does not satisfy.
    #[must_use]
    pub fn missing(&self, held: &ScopeSet) -> Option<Scope> {
        match self {
            Self::PassthroughCredential(_) | Self::Public | Self::Health(_) | Self::Authenticated => None,
            Self::Scope(scope) => (!held.satisfies(scope)).then(|| scope.clone()),
            Self::Scopes(all) => all.iter().find(|s| !held.satisfies(s)).cloned(),
        }
    }

    /// Whether nobody is authenticated here.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Self::PassthroughCredential(_) | Self::Public | Self::Health(_))
    }

    /// Whether every caller that meets this need also meets the other.
    #[must_use]
    pub fn is_at_least(&self, other: &Self) -> bool {
        if let (Self::PassthroughCredential(own), Self::PassthroughCredential(other)) = (self, other) {
            return own == other;
        }
        self.rank() >= other.rank() && other.missing(&self.scopes()).is_none()
    }

    /// Both needs in one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if self.is_at_least(other) {
            self.clone()
        } else if other.is_at_least(self) {
            other.clone()
        } else if self.is_public() || other.is_public() {
            // Two rules for callers nobody authenticates, for readings of one path: nobody meets both.
            Self::Scope(Scope::admin().clone())
        } else {
            Self::Scopes(self.scopes().union(&other.scopes()))
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::PassthroughCredential(_) => 0,
            Self::Public => 1,
            Self::Health(_) => 2,
            Self::Authenticated => 3,
            Self::Scope(_) | Self::Scopes(_) => 4,
        }
    }

    fn scopes(&self) -> ScopeSet {
        match self {
            Self::PassthroughCredential(_) | Self::Public | Self::Health(_) | Self::Authenticated => ScopeSet::empty(),
            Self::Scope(scope) => std::iter::once(scope.clone()).collect(),
            Self::Scopes(all) => all.clone(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassthroughCredential(_) => {
                f.write_str("nothing here: the gateway verifies the client's own credential")
            }
            Self::Public => f.write_str("nothing: it is public"),
            Self::Health(_) => f.write_str("nothing: it is a health probe"),
            Self::Authenticated => f.write_str("any authenticated caller"),
            Self::Scope(scope) => write!(f, "{scope}"),
            Self::Scopes(all) => {
                let names: Vec<&str> = all.iter().map(Scope::as_str).collect();
                f.write_str(&names.join(" and "))
            }
        }
    }
}

/// Which paths a route covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This path and no other.
    Exact(Arc<str>),
    /// Every path that begins so.
    Prefix(Arc<str>),
    /// `before`, one non-empty segment, `after`.
    Segment {
        /// What stands before the segment, its slash included.
        before: &'static str,
        /// What stands after the segment, its slash included.
        after: &'static str,
    },
    /// Every path that the gateway takes for a pairing join.
    Join,
}

impl Pattern {
    /// Whether the pattern covers `path`.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => path.starts_with(&**prefix),
            Self::Segment { before, after } => path
                .strip_prefix(before)
                .and_then(|p| p.strip_suffix(after))
                .is_some_and(|s| !s.is_empty() && !s.contains('/')),
            Self::Join => is_join(path),
        }
    }

    /// Whether some path is covered by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(path), pattern) | (pattern, Self::Exact(path)) => pattern.covers(path),
            (Self::Prefix(a), Self::Prefix(b)) => a.starts_with(&**b) || b.starts_with(&**a),
            (Self::Prefix(prefix), Self::Segment { before, after })
            | (Self::Segment { before, after }, Self::Prefix(prefix)) => {
                before.starts_with(&**prefix)
                    || prefix.strip_prefix(before).is_some_and(|rest| {
                        let (segment, rest) = rest.split_once('/').unwrap_or((rest, ""));
                        !segment.is_empty() && after.trim_start_matches('/').starts_with(rest)
                    })
            }
            (Self::Segment { .. }, Self::Segment { .. }) => self == other,
            (Self::Join, _) | (_, Self::Join) => true,
        }
    }

    /// Whether it can cover nothing but pairing joins: it names them.
    #[must_use]
    pub fn names_join(&self) -> bool {
        match self {
            Self::Exact(path) => is_join(path),
            Self::Prefix(prefix) => prefix.contains("/j/"),
            Self::Segment { .. } => false,
            Self::Join => true,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) | Self::Prefix(path) => f.write_str(path),
            Self::Segment { before, after } => write!(f, "{before}{{key}}{after}"),
            Self::Join => f.write_str("/j/{code}"),
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name in metrics and logs: one of a closed set.
    pub label: RouteLabel,
    /// The methods it covers; empty means all. GET covers HEAD too.
    pub methods: Vec<Method>,
    /// The paths it covers.
    pub pattern: Pattern,
    /// What it needs.
    pub need: Need,
}

impl Route {
    /// Whether it covers a method. HEAD asks for what GET answers.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}
