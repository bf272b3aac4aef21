//! Every algorithm from every kind of key source.

use crate::support::signer::{ED25519, HMAC_SECRET, P256, P384, RSA, Signer, claims, jwks};
use crate::support::{ISS, Issuer, Shim, fake_gateway};
use std::time::Duration;

const ASYMMETRIC: [(&std::sync::LazyLock<Signer>, &str); 9] = [
    (&RSA, "RS256"),
    (&RSA, "RS384"),
    (&RSA, "RS512"),
    (&RSA, "PS256"),
    (&RSA, "PS384"),
    (&RSA, "PS512"),
    (&P256, "ES256"),
    (&P384, "ES384"),
    (&ED25519, "EdDSA"),
];

fn table(name: &str, iss: &str, keys: &str, more: &str) -> String {
    format!("[[issuer]]\nname = \"{name}\"\nissuer = \"{iss}\"\naudiences = [\"openclaw\"]\nkeys = {keys}\n{more}\n")
}

#[test]
fn every_asymmetric_algorithm_is_accepted_from_a_jwks_address_and_by_discovery() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let issuer = Issuer::start(&[&RSA, &P256, &P384, &ED25519]);
    let other = Issuer::start(&[&RSA, &P256, &P384, &ED25519]);
    let shim = Shim::start(address, &(issuer.table("") + &other.table_discovered("found", "")));
    for iss in [issuer.iss(), other.iss()] {
        for (signer, algorithm) in ASYMMETRIC {
            let answer = shim.client().ask("GET /v1/models", &signer.token(algorithm, &claims(&iss)), &[], "");
            assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
        }
    }
}

#[test]
fn every_asymmetric_algorithm_is_accepted_from_files() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let set = jwks(&[&RSA, &P256, &P384, &ED25519]);
    let (rsa, p256, p384, ed) = (RSA.pem(), P256.pem(), P384.pem(), ED25519.pem());
    let files =
        [("set.json", set.as_str()), ("RSA.pem", &rsa), ("p256.pem", &p256), ("p384.pem", &p384), ("ed.pem", &ed)];
    let pem = |name: &str| table(name, &format!("https://{name}"), &format!("{{ pem_file = \"{name}.pem\" }}"), "");
    let tables =
        table("set", ISS, "{ jwks_file = \"set.json\" }", "") + &["RSA", "p256", "p384", "ed"].map(pem).concat();
    let shim = Shim::start_with_files(address, &files, &tables);
    for (signer, algorithm) in ASYMMETRIC {
        let own = match signer.id {
            "rsa-1" => "https://RSA",
            "p256-1" => "https://p256",
            "p384-1" => "https://p384",
            _ => "https://ed",
        };
        for iss in [ISS, own] {
            let answer = shim.client().ask("GET /v1/models", &signer.token(algorithm, &claims(iss)), &[], "");
            assert_eq!(answer.status, 200, "{algorithm} of {iss}: {answer:?}");
        }
    }
}

#[test]
fn hmac_algorithms_are_accepted_from_a_secret_file_as_the_table_names_them() {
    let (_gateway, address) = fake_gateway(Duration::ZERO);
    let tables = table("one", "https://one", "{ secret_file = \"s\" }", "")
        + &table("all", "https://all", "{ secret_file = \"s\" }", "algorithms = [\"HS256\", \"HS384\", \"HS512\"]");
    let shim = Shim::start_with_files(address, &[("s", HMAC_SECRET)], &tables);
    let signer = Signer::hmac(HMAC_SECRET);
    for (algorithm, iss, status) in [
        ("HS256", "https://one", 200),
        ("HS384", "https://one", 401),
        ("HS512", "https://one", 401),
        ("HS256", "https://all", 200),
        ("HS384", "https://all", 200),
        ("HS512", "https://all", 200),
    ] {
        let answer = shim.client().ask("GET /v1/models", &signer.token(algorithm, &claims(iss)), &[], "");
        assert_eq!(answer.status, status, "{algorithm} of {iss}: {answer:?}");
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("s");
    std::fs::write(&secret, HMAC_SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = dir.path().join("config.toml");
    let tables = table("one", ISS, "{ secret_file = \"s\" }", "");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[gateway]\nurl = \"http://127.0.0.1:1\"\nauth = {{ kind = \"none\" }}\n{tables}"
    );
    std::fs::write(&config, text).unwrap();
    let done = crate::support::scopeshim().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("every user"), "{said}");
}
