use super::*;
use crate::authn::Credential;
use crate::config::{DynamicConfig, Token};
use crate::policy::Policy;
use jiff::Timestamp;
use proptest::prelude::*;
use std::num::NonZeroU32;

fn policy(names: impl IntoIterator<Item = String>) -> Policy {
    let mut live = DynamicConfig::closed();
    live.tokens = names
        .into_iter()
        .map(|name| Token { place: Arc::from("config.toml:1"), ..Token::plain(&name, &name) })
        .collect();
    Policy::dry_run(live)
}

fn principal(policy: &Policy, name: &str) -> Arc<Principal> {
    policy.authenticate(Credential::Opaque(name.as_bytes()), None, Timestamp::now()).unwrap().principal
}

fn rate(per_minute: u32, burst: u32) -> PrincipalLimits {
    let rate = Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() };
    PrincipalLimits { rate: Some(rate), ..PrincipalLimits::default() }
}

#[test]
fn a_rate_is_said_as_the_draft_has_it() {
    let quotas = PrincipalLimiter::default();
    let policy = policy(["a".to_owned()]);
    let a = principal(&policy, "a");
    let permit = quotas.enter(&a, rate(60, 2), LimitedUse::Request).unwrap();
    assert_eq!(permit.headers(), Some(("\"requests\";q=2;w=2".to_owned(), "\"requests\";r=1;t=1".to_owned())));
    let _second = quotas.enter(&a, rate(60, 2), LimitedUse::Request).unwrap();
    let reached = quotas.enter(&a, rate(60, 2), LimitedUse::Request).unwrap_err();
    assert_eq!((reached.limit, reached.retry_after), (Limit::Rate, 1));
    assert_eq!(reached.headers(), ("\"requests\";q=2;w=2".to_owned(), "\"requests\";r=0;t=1".to_owned()));
}

#[test]
fn what_reaches_another_limit_costs_nothing_of_the_rate() {
    let quotas = PrincipalLimiter::default();
    let policy = policy(["a".to_owned()]);
    let a = principal(&policy, "a");
    let limits = PrincipalLimits { requests: Some(1), ..rate(1, 2) };
    let first = quotas.enter(&a, limits, LimitedUse::Request).unwrap();
    for _ in 0..5 {
        assert_eq!(quotas.enter(&a, limits, LimitedUse::Request).unwrap_err().limit, Limit::Requests);
    }
    drop(first);
    assert!(quotas.enter(&a, limits, LimitedUse::Request).is_ok());
}

#[test]
fn a_thousand_idle_principals_are_forgotten_and_busy_ones_are_not() {
    let quotas = PrincipalLimiter::default();
    let names = |n: usize| (0..n).map(|i| format!("token-{i}"));
    let policy = policy(names(1_001));
    for name in names(1_000) {
        drop(quotas.enter(&principal(&policy, &name), PrincipalLimits::default(), LimitedUse::Request).unwrap());
    }
    let used = principal(&policy, "token-7");
    quotas.enter(&used, rate(1, 1), LimitedUse::Request).unwrap();
    let open = quotas.enter(&principal(&policy, "token-9"), PrincipalLimits::default(), LimitedUse::Socket).unwrap();
    quotas.sweep();
    assert_eq!(quotas.accounts().len(), 2);
    assert!(quotas.enter(&used, rate(1, 1), LimitedUse::Request).is_err(), "what was used is still used");
    drop(open);
    quotas.sweep();
    assert_eq!(quotas.accounts().len(), 1);
}

#[test]
fn memory_is_bounded_though_all_have_used_something() {
    let quotas = PrincipalLimiter::default();
    let names = |n: usize| (0..n).map(|i| format!("token-{i}"));
    let policy = policy(names(REMEMBERED + 500));
    let open = quotas.enter(&principal(&policy, "token-0"), rate(1, 1), LimitedUse::Socket).unwrap();
    for name in names(REMEMBERED + 500).skip(1) {
        drop(quotas.enter(&principal(&policy, &name), rate(1, 1), LimitedUse::Request).unwrap());
    }
    assert!(quotas.accounts().len() <= REMEMBERED);
    let one = PrincipalLimits { sockets: Some(1), ..PrincipalLimits::default() };
    assert!(
        quotas.enter(&principal(&policy, "token-0"), one, LimitedUse::Socket).is_err(),
        "an open one is never forgotten"
    );
    drop(open);
}

/// What a step of the model does.
#[derive(Debug, Clone)]
enum Step {
    Enter(usize, LimitedUse),
    /// The answer of an open one is a stream, or is none.
    Streams(usize, bool),
    End(usize),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![Just(LimitedUse::Request), Just(LimitedUse::Stream), Just(LimitedUse::Socket)];
    prop_oneof![
        4 => (0..2usize, what).prop_map(|(who, what)| Step::Enter(who, what)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, is)| Step::Streams(which, is)),
        2 => any::<usize>().prop_map(Step::End),
        1 => Just(Step::Sweep),
    ]
}

/// Whose it is, what it is for, whether it counts as a stream.
type Open = (usize, LimitedUse, bool, Permit);

proptest! {
    #[test]
    fn it_counts_as_a_list_of_what_is_open_does(
        steps in prop::collection::vec(step(), 1..120),
        (requests, streams, sockets) in (1u32..5, 0u32..4, 0u32..4),
    ) {
        let quotas = PrincipalLimiter::default();
        let policy = policy(["a".to_owned(), "b".to_owned()]);
        let who = [principal(&policy, "a"), principal(&policy, "b")];
        let limits = PrincipalLimits {
            rate: None, requests: Some(requests), streams: Some(streams), sockets: Some(sockets),
        };
        // The model: everything that is open, whose it is, and whether it counts as a stream.
        let mut open: Vec<Open> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(i, what) => {
                    let count = |f: &dyn Fn(&Open) -> bool| {
                        u32::try_from(open.iter().filter(|o| o.0 == i && f(o)).count()).unwrap()
                    };
                    let fits = match what {
                        LimitedUse::Socket => count(&|o| o.1 == LimitedUse::Socket) < sockets,
                        LimitedUse::Request => count(&|o| o.1 != LimitedUse::Socket) < requests,
                        LimitedUse::Stream => count(&|o| o.1 != LimitedUse::Socket) < requests && count(&|o| o.2) < streams,
                    };
                    let entered = quotas.enter(&who[i], limits, what);
                    prop_assert_eq!(entered.is_ok(), fits);
                    open.extend(entered.ok().map(|permit| (i, what, what == LimitedUse::Stream, permit)));
                }
                Step::Streams(which, is) if !open.is_empty() => {
                    let at = which % open.len();
                    let i = open[at].0;
                    let others = open.iter().filter(|o| o.0 == i && o.2).count();
                    let (_, what, counts, permit) = &mut open[at];
                    if *what == LimitedUse::Socket {
                        continue;
                    }
                    if is {
                        let fits = *counts || u32::try_from(others).unwrap() < streams;
                        prop_assert_eq!(permit.streams(limits).is_ok(), fits);
                        *counts = fits;
                    } else {
                        permit.streams_not();
                        *counts = false;
                    }
                }
                Step::End(which) if !open.is_empty() => drop(open.swap_remove(which % open.len())),
                Step::Sweep => quotas.sweep(),
                Step::Streams(..) | Step::End(_) => {}
            }
        }
        drop(open);
        quotas.sweep();
        prop_assert!(quotas.accounts().is_empty());
    }
}
