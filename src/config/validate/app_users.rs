//! Tokens of apps that speak for users.

use super::token_headers::carrier;
use super::values::choice;
use crate::config::diagnostic::{Problems, did_you_mean};
use crate::config::file::{At, Users};
use crate::config::{AppUsers, Issuer, MissingUser};
use http::HeaderName;
use std::sync::Arc;

const CODE: &str = "users";

/// What apps are known to send: each claim with its header.
const PRESETS: &[(&str, &[(&str, &str)])] = &[(
    "open-webui",
    &[("email", "x-openwebui-user-email"), ("id", "x-openwebui-user-id"), ("role", "x-openwebui-user-role")],
)];

pub(super) fn users(at: Option<&At<Users>>, issuers: &[Issuer], problems: &mut Problems) -> Option<Arc<AppUsers>> {
    let at = at?;
    let table = at.get();
    let words = [("refuse", MissingUser::Refuse), ("app", MissingUser::App)];
    let missing = choice(table.missing.as_ref(), MissingUser::Refuse, &words, CODE, problems);
    let users = match &table.issuer {
        Some(name) => {
            let others = table.preset.is_some() || !table.headers.is_empty() || table.name_claim.is_some();
            if others || table.missing.is_some() {
                let hint = "leave `preset`, `headers`, `name_claim` and `missing` out";
                problems.error(CODE, at.span(), "where a JWT proves the user, nothing else counts", hint);
            }
            signed(name, issuers, problems)
        }
        None => plain(at, missing, problems),
    };
    users.map(Arc::new)
}

fn signed(name: &At<String>, issuers: &[Issuer], problems: &mut Problems) -> Option<AppUsers> {
    let of_users = || issuers.iter().filter(|i| i.proves_users);
    if let Some(issuer) = of_users().find(|i| *i.name == **name.get())
        && let Some(header) = &issuer.token_from
    {
        return Some(AppUsers::Issuer { name: issuer.name.clone(), header: header.clone() });
    }
    let (message, hint) = if issuers.iter().any(|i| *i.name == **name.get()) {
        let message = format!("the issuer `{}` proves callers, not the users of an app", name.get());
        (message, "add `proves = \"users\"` to its table".to_owned())
    } else {
        let near = did_you_mean(name.get(), of_users().map(|i| &*i.name));
        let add = || "add an `[[issuer]]` of that name with `proves = \"users\"`".to_owned();
        let hint = near.map_or_else(add, |near| format!("did you mean `{near}`?"));
        (format!("no issuer is named `{}`", name.get()), hint)
    };
    problems.error("unknown-issuer", name.span(), message, hint);
    None
}

fn plain(at: &At<Users>, missing: MissingUser, problems: &mut Problems) -> Option<AppUsers> {
    let table = at.get();
    let preset = choice(table.preset.as_ref(), &[][..], PRESETS, "preset", problems);
    let mut claims: Vec<(Arc<str>, HeaderName)> = Vec::new();
    for (claim, header) in preset.iter().filter(|(claim, _)| !table.headers.contains_key(*claim)) {
        claims.push((Arc::from(*claim), HeaderName::from_static(header)));
    }
    for (claim, header) in &table.headers {
        let example = "for example `x-openwebui-user-email`";
        let Some(header) = carrier(header.get(), header.span(), "a user", CODE, example, problems) else { continue };
        if let Some((other, _)) = claims.iter().find(|(_, known)| *known == header) {
            let message = format!("`{header}` is `{other}` and `{claim}` at once");
            problems.error(CODE, at.span(), message, "give each claim a header of its own");
        }
        claims.push((Arc::from(claim.as_str()), header));
    }
    let name = table.name_claim.as_ref().map_or("email", |name| name.get().as_str());
    if claims.is_empty() {
        let hint = "write `preset = \"open-webui\"`, `headers = { email = \"…\" }` or `issuer = \"…\"`";
        problems.error(CODE, at.span(), "nothing says where the app names its users", hint);
        return None;
    }
    if !claims.iter().any(|(claim, _)| **claim == *name) {
        let span = table.name_claim.as_ref().map_or_else(|| at.span(), At::span);
        let message = format!("no header is the claim `{name}`, which names the user");
        problems.error(CODE, span, message, "add it to `headers`, or set `name_claim`");
        return None;
    }
    Some(AppUsers::Headers { claims, name: Arc::from(name), missing })
}
