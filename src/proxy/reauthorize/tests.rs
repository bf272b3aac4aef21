//! Whatever happens in whatever order: what must end ends at once, and nothing else does.

use super::*;
use crate::authn::Credential;
use crate::config::{
    ClaimPath, Conditions, DynamicConfig, GrantRule, Issuer, KeySource, Limits, NameClaim, SimulatedCaller, Subject,
    Token,
};
use crate::glob::Glob;
use crate::jwks::{KeySet, KeySlot};
use crate::listener::Connections;
use crate::policy::Proven;
use crate::scope::{Scope, ScopeSet};
use crate::secret::Secret;
use crate::telemetry::Telemetry;
use proptest::prelude::*;
use std::sync::LazyLock;

const NAMES: [&str; 3] = ["a", "b", "c"];
const ISSUER: &str = "sso";
/// Microseconds from the first moment to the last that anything is bound to: few milliseconds, so that much
/// falls into the same one.
const SPAN: i64 = 20_000;
/// In the middle of that, since JWTs end at full seconds.
const SECOND: i64 = 2_000_000_000;

static TELEMETRY: LazyLock<Arc<Telemetry>> = LazyLock::new(|| Arc::new(Telemetry::new().unwrap()));

fn moment(microsecond: i64) -> Timestamp {
    Timestamp::from_microsecond(SECOND * 1_000_000 - SPAN / 2 + microsecond).unwrap()
}

/// What a file says: of each token whether it is there, its scope and its end; the grants.
#[derive(Debug, Clone)]
struct File {
    tokens: Vec<Option<(bool, Option<i64>)>>,
    grants: Vec<(usize, Option<i64>, Option<i64>)>,
    issuer: bool,
}

fn file() -> impl Strategy<Value = File> {
    let end = || prop_oneof![Just(None), (0..SPAN).prop_map(Some)];
    let token = prop_oneof![1 => Just(None), 6 => (any::<bool>(), end()).prop_map(Some)];
    (prop::collection::vec(token, 3), prop::collection::vec((0..4usize, end(), end()), 0..5), prop::bool::weighted(0.9))
        .prop_map(|(tokens, grants, issuer)| File { tokens, grants, issuer })
}

impl File {
    fn live(&self) -> DynamicConfig {
        let mut live = DynamicConfig::closed();
        let read =
            |given: bool| if given { [Scope::known("operator.read")].into_iter().collect() } else { ScopeSet::empty() };
        live.tokens = NAMES
            .iter()
            .zip(&self.tokens)
            .filter_map(|(name, said)| {
                let (scope, end) = said.as_ref()?;
                Some(Token { scopes: read(*scope), expires: end.map(moment), ..Token::plain(name, name) })
            })
            .collect();
        live.issuers = self.issuer.then(issuer).into_iter().collect();
        let grant = |(to, from, until): &(usize, Option<i64>, Option<i64>)| {
            let to = match NAMES.get(*to) {
                Some(name) => Subject::Token(vec![Glob::new(name)]),
                None => Subject::Issuer { issuer: 0, claims: Vec::new(), names: Vec::new() },
            };
            GrantRule {
                scopes: read(true),
                when: Conditions { not_before: from.map(moment), expires: until.map(moment), ..Conditions::default() },
                ..GrantRule::plain(to)
            }
        };
        live.grants = self.grants.iter().filter(|(to, ..)| *to < 3 || self.issuer).map(grant).collect();
        live
    }
}

fn issuer() -> Issuer {
    Issuer {
        name: Arc::from(ISSUER),
        issuer: "https://sso.example".to_owned(),
        proves_users: false,
        audiences: vec!["openclaw".to_owned()],
        keys: KeySource::Secret(Secret::parse("a-secret-of-the-issuer-s-own-0123456789").unwrap()),
        algorithms: Vec::new(),
        leeway: std::time::Duration::ZERO,
        token_from: None,
        typ: Vec::new(),
        empty_subject: false,
        scope_claims: vec![ClaimPath(Arc::from("scope"))],
        roles_claim: None,
        role_scopes: std::collections::BTreeMap::new(),
        max_scopes: None,
        name_claims: vec![NameClaim { path: ClaimPath(Arc::from("sub")), verified_email: false }],
        place: Arc::from("x:1"),
    }
}

#[derive(Debug, Clone)]
enum Change {
    File(File),
    Keys(bool),
}

#[derive(Debug, Clone)]
enum Step {
    /// Opens a stream: who, and for a JWT its end and whether it brings a scope.
    Open(usize, i64, bool),
    /// The same, and this happens between its proof and its registration.
    OpenAcross(usize, i64, bool, Change),
    Close(usize),
    Happens(Change),
    Pass(i64),
    SetBack(i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![3 => file().prop_map(Change::File), 1 => any::<bool>().prop_map(Change::Keys)]
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..4usize, 0..SPAN, any::<bool>());
    prop_oneof![
        6 => who().prop_map(|(who, end, scope)| Step::Open(who, end, scope)),
        2 => (who(), change()).prop_map(|((who, end, scope), c)| Step::OpenAcross(who, end, scope, c)),
        2 => (0..8usize).prop_map(Step::Close),
        2 => change().prop_map(Step::Happens),
        6 => (1..SPAN / 8).prop_map(Step::Pass),
        1 => (1..SPAN / 2).prop_map(Step::SetBack),
    ]
}

struct Stream {
    connection: Arc<Connection>,
    grant: Grant,
    must_end: bool,
}

struct World {
    connections: Connections,
    policy: Arc<Policy>,
    slot: Arc<KeySlot>,
    streams: Vec<Stream>,
    now: i64,
}

impl World {
    fn new(first: &File) -> Self {
        let slot = Arc::new(KeySlot::fixed(keys(true)));
        let policy = Arc::new(Policy::compile(first.live(), std::slice::from_ref(&slot), 1));
        let connections = Connections::new(Limits::default(), TELEMETRY.clone());
        Self { connections, policy, slot, streams: Vec::new(), now: 0 }
    }

    fn proven(&self, who: usize, end: i64, scope: bool) -> Option<Proven> {
        let now = moment(self.now);
        if let Some(name) = NAMES.get(who) {
            return self.policy.authenticate(Credential::Opaque(name.as_bytes()), None, now).ok();
        }
        if self.slot.keys()?.is_empty() {
            return None;
        }
        let scope = if scope { "operator.read" } else { "" };
        let exp = SECOND + end * 2 / SPAN;
        let claims = serde_json::json!({ "scope": scope, "exp": exp }).as_object().cloned().unwrap_or_default();
        self.policy.simulate(&SimulatedCaller::Claims { issuer: ISSUER.to_owned(), claims }, None, now).ok()
    }

    fn open(&mut self, who: usize, end: i64, scope: bool, across: Option<Change>) {
        let connection = self.connections.accepted();
        let (changes, policy, now) = (connection.changes(), self.policy.clone(), moment(self.now));
        let proven = self.proven(who, end, scope);
        let path = Path::validate(b"/v1/models").unwrap();
        let route = policy.route(&Method::GET, path);
        let grant = proven.and_then(|p| policy.decide(&p, Request::plain(&Method::GET, path, &route, None, now)).ok());
        if let Some(across) = across {
            self.happens(across);
        }
        let Some(grant) = grant else { return self.connections.ended(connection) };
        context(&grant, &policy, now).register(&connection, changes);
        self.streams.push(Stream { connection, grant, must_end: false });
    }

    fn happens(&mut self, change: Change) {
        match change {
            Change::File(file) => {
                let generation = self.policy.generation() + 1;
                self.policy = Arc::new(Policy::compile(file.live(), std::slice::from_ref(&self.slot), generation));
            }
            Change::Keys(there) => self.slot.put(keys(there), moment(self.now)),
        }
        self.connections.reauthorize(&self.policy, moment(self.now));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open(who, end, scope) => self.open(who, end, scope, None),
            Step::OpenAcross(who, end, scope, change) => self.open(who, end, scope, Some(change)),
            Step::Close(which) if which < self.streams.len() => {
                let stream = self.streams.swap_remove(which);
                self.connections.ended(stream.connection);
            }
            Step::Close(_) => {}
            Step::Happens(change) => self.happens(change),
            Step::Pass(by) => self.now += by,
            Step::SetBack(by) => {
                self.now -= by;
                self.connections.reauthorize(&self.policy, moment(self.now));
            }
        }
        while !self.connections.recheck_due(&self.policy, moment(self.now)) {}
    }

    /// What each stream must have come to by now, by a judgement that remembers nothing.
    fn judge(&mut self) {
        for stream in &mut self.streams {
            let fresh = context(&stream.grant, &self.policy, moment(self.now));
            fresh.checked.doubt();
            stream.must_end |= fresh.ends_under(&self.policy, moment(self.now)).is_some();
        }
    }
}

fn keys(there: bool) -> KeySet {
    if there {
        KeySet::secret(&Secret::parse("a-secret-of-the-issuer-s-own-0123456789").unwrap())
    } else {
        KeySet::default()
    }
}

fn context(grant: &Grant, policy: &Policy, now: Timestamp) -> Arc<ReauthorizationContext> {
    let asked = RequestedHeaders::default();
    let path = Arc::from("/v1/models");
    Arc::new(ReauthorizationContext::new(grant.clone(), asked, policy, Method::GET, path, None, now))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_must_end_ends_at_once_and_nothing_else_does(first in file(), steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new(&first);
        for step in steps {
            let said = format!("{step:?}");
            world.step(step);
            world.judge();
            for stream in &world.streams {
                prop_assert_eq!(stream.connection.revoked().is_some(), stream.must_end, "after {}", said);
            }
            // One timer at the most for each, and none for those that are gone.
            let open = world.streams.len();
            let [deadlines, rechecks] = world.connections.timers();
            prop_assert!(deadlines <= open && rechecks <= open, "{} and {} timers for {}", deadlines, rechecks, open);
        }
    }
}
