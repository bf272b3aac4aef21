//! What is particular to well-known issuers.

use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::At;

/// Defaults that a preset changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    /// The JWKS's place under the issuer's address; `None`: discovery.
    pub jwks_path: Option<&'static str>,
    /// The header that carries the token.
    pub token_from: Option<&'static str>,
    /// The claims that hold scopes.
    pub scope_claims: &'static [&'static str],
    /// The claim that holds roles.
    pub roles_claim: Option<&'static str>,
    /// The claims that may name the principal.
    pub name_claims: &'static [&'static str],
    /// Whether every e-mail in its tokens was proven, without a claim that says so.
    pub vouches_for_email: bool,
    /// Whether its machine tokens have no subject.
    pub empty_subject: bool,
    /// Whether its tokens prove the users of an app, and no callers.
    pub proves_users: bool,
}

const PLAIN: Preset = Preset {
    jwks_path: None,
    token_from: None,
    scope_claims: &["scope", "scp"],
    roles_claim: None,
    name_claims: &["sub"],
    vouches_for_email: false,
    empty_subject: false,
    proves_users: false,
};

/// By name. Each differs from the plain one in what its own documentation says.
const PRESETS: &[(&str, Preset)] = &[
    // Application tokens come in a header of their own, signed by the team's keys; a service token
    // has `common_name` and an empty `sub`.
    (
        "cloudflare-access",
        Preset {
            jwks_path: Some("/cdn-cgi/access/certs"),
            token_from: Some("cf-access-jwt-assertion"),
            name_claims: &["email", "common_name", "sub"],
            vouches_for_email: true,
            empty_subject: true,
            ..PLAIN
        },
    ),
    (
        "keycloak",
        Preset { roles_claim: Some("realm_access.roles"), name_claims: &["preferred_username", "sub"], ..PLAIN },
    ),
    // With RBAC on, what a user may do is in `permissions`, not in `scope`.
    ("auth0", Preset { scope_claims: &["scope", "permissions"], ..PLAIN }),
    // Application permissions come as `roles`, delegated ones as `scp`.
    (
        "entra",
        Preset {
            scope_claims: &["scp", "roles"],
            roles_claim: Some("roles"),
            name_claims: &["preferred_username", "oid", "sub"],
            ..PLAIN
        },
    ),
    ("google", Preset { scope_claims: &[], name_claims: &["email", "sub"], ..PLAIN }),
    // Who of its users asks, signed with `FORWARD_USER_INFO_HEADER_JWT_SECRET`; it has checked the e-mail or not,
    // and the app is believed in that.
    (
        "open-webui",
        Preset {
            token_from: Some("x-openwebui-user-jwt"),
            scope_claims: &[],
            roles_claim: Some("role"),
            name_claims: &["email"],
            vouches_for_email: true,
            proves_users: true,
            ..PLAIN
        },
    ),
    ("okta", Preset { scope_claims: &["scp"], roles_claim: Some("groups"), ..PLAIN }),
];

/// The preset of that name; the plain one where none is named.
pub(super) fn find(name: Option<&At<String>>, problems: &mut Problems) -> Preset {
    let Some(name) = name else { return PLAIN };
    if let Some((_, preset)) = PRESETS.iter().find(|(n, _)| n == name.get()) {
        return *preset;
    }
    let all = PRESETS.iter().map(|(n, _)| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(name.get(), PRESETS.iter().map(|(n, _)| *n))
        .map_or_else(|| format!("one of {all}"), |near| format!("did you mean `{near}`?"));
    problems.error("preset", name.span(), format!("no preset is named `{}`", name.get()), hint);
    PLAIN
}
