//! Issuers of JWTs.

mod keys;
mod preset;

use super::token_headers::carrier;
use super::values::{choice, duration, scopes};
use crate::config::diagnostic::{Problems, Source, did_you_mean};
use crate::config::environment::Environment;
use crate::config::file::{self, At, File};
use crate::config::{ClaimPath, Issuer, KeySource, NameClaim};
use http::HeaderName;
use jsonwebtoken::Algorithm;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The longest an issuer's clock may be off.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

const ASYMMETRIC: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
const SYMMETRIC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

pub(super) fn issuers(file: &File, source: &Source, around: &dyn Environment, problems: &mut Problems) -> Vec<Issuer> {
    let mut names = HashSet::new();
    let mut urls = HashSet::new();
    let mut all = Vec::new();
    for at in &file.issuer {
        let table = at.get();
        if !crate::config::is_name(table.name.get()) {
            problems.error(
                "name",
                table.name.span(),
                format!("`{}` is not a name", table.name.get()),
                "1 to 64 letters, digits and `. _ - @`",
            );
        }
        if !names.insert(table.name.get()) {
            problems.error(
                "duplicate-name",
                table.name.span(),
                format!("two issuers are named `{}`", table.name.get()),
                "give each its own name",
            );
        }
        let issuer = issuer(at, source, around, problems);
        // Which one proves an app's users is said by the app's table, so two may have one `iss`.
        let of_callers = issuer.as_ref().is_none_or(|i| !i.proves_users);
        if of_callers && !urls.insert((table.issuer.get(), table.token_from.as_ref().map(At::get))) {
            problems.error(
                "duplicate-issuer",
                table.issuer.span(),
                "two tables are for this issuer",
                "put their audiences into one table",
            );
        }
        all.extend(issuer);
    }
    all
}

fn issuer(at: &At<file::Issuer>, source: &Source, around: &dyn Environment, problems: &mut Problems) -> Option<Issuer> {
    let table = at.get();
    if table.issuer.get().is_empty() {
        problems.error(
            "issuer",
            table.issuer.span(),
            "the issuer is empty",
            "write the `iss` of its tokens, to the letter",
        );
    }
    let preset = preset::find(table.preset.as_ref(), problems);
    let words = [("callers", false), ("users", true)];
    let proves_users = choice(table.proves.as_ref(), preset.proves_users, &words, "proves", problems);
    let audiences = table.audiences.as_ref().map(|a| a.get().as_slice());
    let fit = match audiences {
        None => proves_users,
        Some(all) => !all.is_empty() && !all.iter().any(|a| a.get().is_empty()),
    };
    if !fit {
        problems.error(
            "audiences",
            table.audiences.as_ref().map_or_else(|| at.span(), At::span),
            "without an audience, a token made for any other service would be accepted",
            "write the `aud` that the issuer puts into tokens for this gateway",
        );
    }
    let keys = keys::source(at, &preset, source, around, problems);
    let hmac = matches!(keys, Some(KeySource::Secret(_)));
    let leeway = duration(table.leeway.as_ref(), Duration::from_secs(30), Duration::ZERO, problems);
    if let (Some(value), true) = (&table.leeway, leeway > MAX_LEEWAY) {
        problems.error("duration", value.span(), "a leeway this long makes expiry meaningless", "`\"5m\"` at most");
    }
    let paths = |given: Option<&Vec<At<String>>>, preset: &[&str]| -> Vec<ClaimPath> {
        match given {
            Some(given) => given.iter().map(|c| path(c.get())).collect(),
            None => preset.iter().copied().map(path).collect(),
        }
    };
    let role_scopes = table.role_scopes.iter().map(|(role, s)| (role.clone(), scopes(s, problems))).collect();
    let roles_claim = table.roles_claim.as_ref().map(|c| path(c.get())).or(preset.roles_claim.map(path));
    if !table.role_scopes.is_empty() && roles_claim.is_none() {
        problems.error("roles", at.span(), "`role_scopes` needs `roles_claim`", "add `roles_claim = \"groups\"`");
    }
    let algorithms = algorithms(table, hmac, problems);
    let token_from = token_from(table.token_from.as_ref(), &preset, problems);
    if proves_users && token_from.is_none() {
        problems.error(
            "token-from",
            at.span(),
            "the JWT of an app's user comes beside the app's own token, in a header of its own",
            "add `token_from`, for example `token_from = \"X-OpenWebUI-User-Jwt\"`",
        );
    }
    Some(Issuer {
        name: Arc::from(table.name.get().as_str()),
        issuer: table.issuer.get().clone(),
        audiences: audiences.unwrap_or_default().iter().map(|a| a.get().clone()).collect(),
        proves_users,
        keys: keys?,
        algorithms,
        leeway: leeway.min(MAX_LEEWAY),
        token_from,
        typ: table.typ.iter().flatten().map(|t| t.get().to_ascii_lowercase()).collect(),
        empty_subject: preset.empty_subject,
        scope_claims: paths(table.scope_claims.as_ref(), preset.scope_claims),
        roles_claim,
        role_scopes,
        max_scopes: table.max_scopes.as_ref().map(|c| scopes(c, problems)),
        name_claims: name_claims(table.name_claim.as_ref(), &preset),
        place: Arc::from(source.place(&at.span())),
    })
}

fn path(text: &str) -> ClaimPath {
    ClaimPath(Arc::from(text))
}

fn name_claims(given: Option<&At<String>>, preset: &preset::Preset) -> Vec<NameClaim> {
    let claim = |name: &str, vouched: bool| NameClaim { path: path(name), verified_email: name == "email" && !vouched };
    match given {
        Some(given) => vec![claim(given.get(), preset.vouches_for_email)],
        None => preset.name_claims.iter().map(|name| claim(name, preset.vouches_for_email)).collect(),
    }
}

fn token_from(given: Option<&At<String>>, preset: &preset::Preset, problems: &mut Problems) -> Option<HeaderName> {
    let Some(given) = given else { return preset.token_from.map(HeaderName::from_static) };
    if given.get().eq_ignore_ascii_case("authorization") {
        return None;
    }
    let example = "for example `Cf-Access-Jwt-Assertion`";
    carrier(given.get(), given.span(), "a token", "token-from", example, problems)
}

fn algorithms(table: &file::Issuer, hmac: bool, problems: &mut Problems) -> Vec<Algorithm> {
    let family = if hmac { SYMMETRIC } else { ASYMMETRIC };
    let Some(given) = &table.algorithms else {
        return if hmac { vec![Algorithm::HS256] } else { ASYMMETRIC.to_vec() };
    };
    let mut algorithms = Vec::new();
    for at in given.get() {
        let name = at.get();
        let known = ASYMMETRIC.iter().chain(SYMMETRIC).find(|a| format!("{a:?}") == *name);
        match known {
            Some(algorithm) if family.contains(algorithm) => algorithms.push(*algorithm),
            Some(_) => problems.error(
                "algorithm",
                at.span(),
                format!("{name} does not fit this issuer's keys"),
                if hmac {
                    "a secret goes with HS256, HS384 and HS512"
                } else {
                    "HMAC needs `keys = { secret_file = … }`: a public key is no secret"
                },
            ),
            None => {
                let names: Vec<String> = family.iter().map(|a| format!("{a:?}")).collect();
                let hint = did_you_mean(name, names.iter().map(String::as_str)).map_or_else(
                    || format!("known here: {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                problems.error("algorithm", at.span(), format!("the algorithm `{name}` is not accepted"), hint);
            }
        }
    }
    if given.get().is_empty() {
        problems.error(
            "algorithm",
            given.span(),
            "an empty list accepts nothing",
            "leave `algorithms` out for the defaults",
        );
    }
    algorithms
}
