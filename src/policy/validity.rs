//! How long a decision on a principal holds: what it rests on beside the moment, and the next moment that may
//! change it.

use super::{Policy, Proven};
use crate::authn::Principal;
use jiff::Timestamp;

impl Policy {
    /// What a judgement on a principal depends on beside the moment: this policy, the keys of its
    /// issuer, what its tailnet says now. The same number, the same judgement.
    #[must_use]
    pub fn state(&self, principal: Option<&Principal>) -> u64 {
        let prover = principal.and_then(Principal::prover);
        let keys = prover.and_then(|issuer| self.authenticator.keys_of(issuer)).unwrap_or_default();
        self.state_with(principal, keys)
    }

    /// The same for a principal that this policy has just proven: with the keys that did it, which may not be
    /// the present ones any more. For a user behind an app it is not noted which they were: it is another number
    /// than any, and the first change has everything checked.
    #[must_use]
    pub fn state_of_proof(&self, principal: Option<&Principal>) -> u64 {
        let keys = principal.and_then(Principal::verified).map(|v| v.keys).unwrap_or_default();
        self.state_with(principal, keys)
    }

    fn state_with(&self, principal: Option<&Principal>, keys: u64) -> u64 {
        let outdated = principal.is_some_and(Principal::is_outdated);
        (self.generation << 32) ^ keys ^ u64::from(outdated)
    }

    /// Until when a judgement on a principal holds if nothing changes, in microseconds since 1970: its proof
    /// ends, or one of its grants or of its app's begins or ends.
    #[must_use]
    pub fn holds_until(&self, proven: &Proven, now: Timestamp) -> i64 {
        let grants = proven.permissions.grants_and_app_s().filter_map(|place| self.live.grants.get(place));
        let moments = grants.flat_map(|g| [g.when.not_before, g.when.expires]).flatten().filter(|at| *at > now);
        let first = moments.chain(proven.principal.valid_until()).min();
        first.map_or(i64::MAX, Timestamp::as_microsecond)
    }

    /// When grants begin and end, in order.
    #[must_use]
    pub fn moments(&self) -> &[Timestamp] {
        &self.moments
    }

    /// The same as [`Policy::holds_until`], with the grants of all principals: earlier than need be, and found without theirs.
    #[must_use]
    pub fn first_change(&self, principal: &Principal, now: Timestamp) -> i64 {
        let next = self.moments.partition_point(|at| *at <= now);
        let first = self.moments.get(next).copied().into_iter().chain(principal.valid_until()).min();
        first.map_or(i64::MAX, Timestamp::as_microsecond)
    }
}
