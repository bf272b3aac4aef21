//! A model of the live configuration under any order of good and bad files: what is observable changes by
//! a file that is right, all of it at once, and by no other.

use super::*;
use crate::authn::Credential;
use crate::config::Config;
use crate::config::Limits;
use crate::telemetry::Telemetry;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// What a right file can say, in this model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Says {
    /// For each token: how many scopes it has; `None`: it is not listed.
    tokens: [Option<usize>; 3],
    /// Where the issuer's keys are; `None`: there is no issuer.
    issuer: Option<u16>,
    /// Which certificate each of two listeners shows, and whether the file has them in the other order.
    certificates: [usize; 2],
    swapped: bool,
    /// Whether it changes what only a restart applies.
    threads: usize,
}

/// Every way in which a file can be wrong, on top of whatever else it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Syntax,
    UnknownKey,
    FailingTest,
    NoListener,
    Empty,
    MissingSecret,
    WorldReadableSecret,
    MissingKeys,
    UnusableAuthority,
    BrokenCertificate,
    KeyOfAnotherCertificate,
    DuplicateToken,
    Directory,
    Deleted,
}

const FAULTS: [Fault; 14] = [
    Fault::Syntax,
    Fault::UnknownKey,
    Fault::FailingTest,
    Fault::NoListener,
    Fault::Empty,
    Fault::MissingSecret,
    Fault::WorldReadableSecret,
    Fault::MissingKeys,
    Fault::UnusableAuthority,
    Fault::BrokenCertificate,
    Fault::KeyOfAnotherCertificate,
    Fault::DuplicateToken,
    Fault::Directory,
    Fault::Deleted,
];
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const SCOPES: [&str; 3] = ["operator.read", "operator.write", "operator.approvals"];
const ADDRESSES: [&str; 2] = ["127.0.0.1:1", "127.0.0.1:2"];

/// Everything of a process that a reload can reach.
struct House {
    dir: TempDir,
    reloader: Reloader,
    shown: Vec<Arc<CertificateResolver>>,
    issuers: Arc<JwksCache>,
}

/// Everything that can be seen of it, beside the record of the last reload.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    generation: u64,
    reload_status: (u64, bool, Vec<&'static str>, u64),
    /// For each token: its scopes, if it is accepted.
    tokens: Vec<Option<String>>,
    /// The issuer's key slot, and whether somebody keeps it fresh: the identity of both.
    issuers: Vec<(Arc<str>, [usize; 2])>,
    slots: Vec<usize>,
    certificates: Vec<Vec<u8>>,
    last_good: Option<String>,
    /// The policy itself.
    policy: usize,
}

impl House {
    fn new(first: &Says) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        put("gateway.token", "the-gateway-s-own-secret-0123456789");
        put("open.token", "the-gateway-s-own-secret-0123456789");
        std::fs::set_permissions(dir.path().join("open.token"), std::fs::Permissions::from_mode(0o644)).unwrap();
        for (number, (certificate, key)) in CERTIFICATES.iter().enumerate() {
            put(&format!("{number}.cert"), certificate);
            put(&format!("{number}.key"), key);
        }
        put("broken.cert", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, first.text(dir.path())).unwrap();
        let loaded = config::load(&path, &System).unwrap();
        let said = loaded.render();
        let Some(Config { fixed, live }) = loaded.config else { panic!("{said}") };
        let shown: Vec<_> =
            live.certificates.iter().flatten().map(|c| Arc::new(CertificateResolver::new(c.clone()))).collect();
        let issuers = Arc::new(JwksCache::new(&fixed.state_dir));
        let slots = issuers.adopt(&live.issuers);
        let policy = Arc::new(ArcSwap::from_pointee(Policy::compile(live, &slots, 1)));
        let limits = Limits::default();
        let connections = Arc::new(Connections::new(limits, Arc::new(Telemetry::new().unwrap())));
        let reloader = Reloader::new(&path, fixed, policy, issuers.clone(), connections, false)
            .showing(shown.iter().cloned().map(Some).collect());
        reloader.keep(&loaded.source.text);
        Self { dir, reloader, shown, issuers }
    }

    /// Writes the file, with a fault or without, and has it read.
    fn save(&self, says: &Says, fault: Option<Fault>) -> Verdict {
        let path = self.dir.path().join("config.toml");
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir(&path);
        let good = says.text(self.dir.path());
        let broken = fault.map_or(Some(good.clone()), |fault| with_fault(&good, fault));
        match broken {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None if fault == Some(Fault::Directory) => std::fs::create_dir(&path).unwrap(),
            None => {}
        }
        self.reloader.reload().0
    }

    fn seen(&self) -> Seen {
        let policy = self.reloader.policy.load_full();
        let reload_status = self.reloader.reload_status();
        let now = Timestamp::now();
        let tokens = NAMES.iter().map(|name| {
            let proven = policy.authenticate(Credential::Opaque(secret(name).as_bytes()), None, now).ok()?;
            let token = policy.live().tokens.iter().find(|t| *t.name == *proven.principal.name())?;
            Some(token.scopes.to_header())
        });
        let slots: Vec<_> = (0..).map_while(|i| policy.authenticator().slot(i)).collect();
        Seen {
            generation: policy.generation(),
            reload_status: (
                reload_status.generation,
                reload_status.from_last_good,
                reload_status.pending_restart,
                reload_status.reloads.0,
            ),
            tokens: tokens.collect(),
            issuers: self.issuers.identities(),
            slots: slots.iter().map(|slot| Arc::as_ptr(slot) as usize).collect(),
            certificates: self.shown.iter().map(|shown| shown.first_in_chain()).collect(),
            last_good: self.reloader.state.recall(&self.reloader.path),
            policy: Arc::as_ptr(&policy) as usize,
        }
    }
}

/// Two certificates and their keys, in PEM.
static CERTIFICATES: LazyLock<[(String, String); 2]> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    [0, 1].map(|number| {
        let (cert, key) = (dir.path().join(format!("{number}.cert")), dir.path().join(format!("{number}.key")));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output();
        assert!(made.is_ok_and(|made| made.status.success()), "openssl is needed");
        (std::fs::read_to_string(cert).unwrap(), std::fs::read_to_string(key).unwrap())
    })
});

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn secret(name: &str) -> String {
    format!("the-secret-of-{name}-0123456789")
}

impl Says {
    fn text(&self, dir: &Path) -> String {
        let mut listeners: Vec<String> = ADDRESSES
            .iter()
            .zip(self.certificates)
            .map(|(address, c)| {
                format!(
                    "[[listen]]\naddress = \"{address}\"\ntls = {{ certificate = \"{c}.cert\", key = \"{c}.key\" }}\n"
                )
            })
            .collect();
        if self.swapped {
            listeners.reverse();
        }
        let tokens: String = NAMES
            .iter()
            .zip(self.tokens)
            .filter_map(|(name, scopes)| {
                let hash = TokenHash::of(secret(name).as_bytes()).to_hex();
                let scopes = &SCOPES[..scopes?];
                Some(format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nscopes = {scopes:?}\n"))
            })
            .collect();
        let issuer = self.issuer.map_or_else(String::new, |port| {
            format!(
                "[[issuer]]\nname = \"sso\"\nissuer = \"https://sso.example.org\"\naudiences = [\"openclaw\"]\n\
                 keys = {{ url = \"http://127.0.0.1:{port}/jwks\" }}\n"
            )
        });
        format!(
            "{}[gateway]\nurl = \"http://127.0.0.1:9\"\nauth = {{ kind = \"token\", file = \"gateway.token\" }}\n\
             [server]\nthreads = {}\nstate_dir = \"{}\"\n{tokens}{issuer}",
            listeners.concat(),
            self.threads,
            dir.join("state").display()
        )
    }
}

/// The file with something wrong in it; `None`: there is no file.
fn with_fault(good: &str, fault: Fault) -> Option<String> {
    let issuer = |keys: &str| {
        format!(
            "{good}[[issuer]]\nname = \"other\"\nissuer = \"https://other.example.org\"\naudiences = [\"a\"]\nkeys = {{ {keys} }}\n"
        )
    };
    Some(match fault {
        Fault::Syntax => format!("{good}\n[[["),
        Fault::UnknownKey => format!("{good}\n[colour]\n"),
        Fault::FailingTest => format!(
            "{good}[[test]]\nname = \"t\"\nas = {{ anonymous = true }}\nrequest = \"GET /v1/models\"\nexpect = \"allow\"\n"
        ),
        Fault::NoListener => good[good.find("[gateway]").unwrap()..].to_owned(),
        Fault::Empty => String::new(),
        Fault::MissingSecret => good.replace("gateway.token", "missing.token"),
        Fault::WorldReadableSecret => good.replace("gateway.token", "open.token"),
        Fault::MissingKeys => issuer("pem_file = \"missing.pem\""),
        Fault::UnusableAuthority => issuer("url = \"https://other.example.org/jwks\", ca_file = \"broken.cert\""),
        Fault::BrokenCertificate => good.replacen("0.cert", "broken.cert", 1).replacen("1.cert", "broken.cert", 1),
        Fault::KeyOfAnotherCertificate => {
            good.replace("0.key", "x").replace("1.key", "0.key").replace("\"x\"", "\"1.key\"")
        }
        Fault::DuplicateToken => {
            let table = format!("[[token]]\nname = \"twice\"\nsha256 = \"{}\"\n", "a".repeat(64));
            format!("{good}{table}{table}")
        }
        Fault::Directory | Fault::Deleted => return None,
    })
}

fn says() -> impl Strategy<Value = Says> {
    let token = || prop::option::weighted(0.7, 1..=SCOPES.len());
    let issuer = prop::option::of(1u16..3);
    (([token(), token(), token()], issuer), ([0..2usize, 0..2usize], any::<bool>(), 1..3usize)).prop_map(
        |((tokens, issuer), (certificates, swapped, threads))| Says { tokens, issuer, certificates, swapped, threads },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Save(Says, Option<Fault>),
    Revoke(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (says(), prop::sample::select(&FAULTS)).prop_map(|(says, fault)| Step::Save(says, Some(fault))),
        2 => says().prop_map(|says| Step::Save(says, None)),
        1 => (0..NAMES.len()).prop_map(Step::Revoke),
    ]
}

/// Holds what is seen against what the model says of it.
fn agrees(seen: &Seen, model: &Says, threads: usize) {
    let tokens: Vec<_> = model
        .tokens
        .iter()
        .map(|n| {
            n.map(|n| {
                let mut scopes = SCOPES[..n].to_vec();
                scopes.sort_unstable();
                scopes.join(",")
            })
        })
        .collect();
    assert_eq!(seen.tokens, tokens);
    assert_eq!(seen.slots.len(), usize::from(model.issuer.is_some()));
    let certificates: Vec<_> = model.certificates.iter().map(|c| der(&CERTIFICATES[*c].0)).collect();
    assert_eq!(seen.certificates, certificates, "by the address, in whichever order");
    let pending: Vec<_> = [("[[listen]]", model.swapped), ("[server] threads", model.threads != threads)]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect();
    assert_eq!(seen.reload_status.2, pending);
    assert_eq!(seen.reload_status.0, seen.generation);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_observable_changes_but_by_a_file_that_is_right(first in says(), steps in prop::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let first = Says { swapped: false, ..first };
        let house = House::new(&first);
        let threads = first.threads;
        let mut model = first;
        agrees(&house.seen(), &model, threads);
        for step in steps {
            let before = house.seen();
            match step {
                Step::Save(says, Some(fault)) => {
                    let verdict = house.save(&says, Some(fault));
                    prop_assert!(!verdict.is_in_force(), "{:?} came into force", fault);
                    prop_assert_eq!(house.seen(), before, "{:?} changed something", fault);
                }
                Step::Save(says, None) => {
                    let same_issuer = says.issuer == model.issuer;
                    let verdict = house.save(&says, None);
                    prop_assert!(verdict.is_in_force(), "{}", verdict.describe());
                    let after = house.seen();
                    prop_assert_eq!(after.generation, before.generation + 1);
                    prop_assert_eq!(after.slots == before.slots && after.issuers == before.issuers, same_issuer);
                    prop_assert_eq!(after.last_good.as_ref(), Some(&says.text(house.dir.path())));
                    model = says;
                }
                Step::Revoke(which) => {
                    let revoked = house.reloader.revoke(NAMES[which]);
                    let was = model.tokens[which].take();
                    prop_assert_eq!(revoked.tokens, usize::from(was.is_some()));
                    prop_assert_eq!(revoked.not_kept, None);
                    let after = house.seen();
                    prop_assert_eq!(&after.slots, &before.slots);
                    prop_assert_eq!(after.last_good, before.last_good);
                }
            }
            agrees(&house.seen(), &model, threads);
        }
    }
}

#[test]
fn every_kind_of_refusal_is_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let says =
        Says { tokens: [Some(1), None, None], issuer: Some(1), certificates: [0, 1], swapped: false, threads: 1 };
    let house = House::new(&says);
    let before = house.seen();
    let other =
        Says { tokens: [None, Some(2), None], issuer: Some(2), certificates: [1, 0], swapped: true, threads: 2 };
    for fault in FAULTS {
        assert!(!house.save(&other, Some(fault)).is_in_force(), "{fault:?}");
        assert_eq!(house.seen(), before, "{fault:?}");
    }
    assert!(house.save(&other, None).is_in_force());
    assert_ne!(house.seen(), before);
}
