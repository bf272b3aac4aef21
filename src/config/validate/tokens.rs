//! Named tokens.

use super::values::{cidrs, moment, scopes};
use crate::config::diagnostic::{Problems, Source};
use crate::config::environment::Environment;
use crate::config::file::{self, At, File};
use crate::config::{Issuer, Token};
use crate::scope::ScopeSet;
use crate::secret::TokenHash;
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn tokens(
    file: &File,
    source: &Source,
    around: &dyn Environment,
    issuers: &[Issuer],
    problems: &mut Problems,
) -> Vec<Token> {
    let mut names: HashMap<&str, usize> = HashMap::with_capacity(file.token.len());
    let mut hashes: HashMap<TokenHash, &str> = HashMap::with_capacity(file.token.len());
    let mut lists = ScopeLists::default();
    let mut tokens = Vec::with_capacity(file.token.len());
    for at in &file.token {
        let table = at.get();
        let name = table.name.get();
        if !crate::config::is_name(name) {
            problems.error(
                "name",
                table.name.span(),
                format!("`{name}` is not a name"),
                "1 to 64 letters, digits and `. _ - @`",
            );
        }
        if let Some(first) = names.insert(name, table.name.span().start) {
            problems.error(
                "duplicate-name",
                table.name.span(),
                format!("two tokens are named `{name}`; the first is on line {}", source.position(first).0),
                "give each its own name",
            );
        }
        let hash = fingerprint(&table.sha256, name, &mut hashes, problems);
        let not_before = moment(table.not_before.as_ref(), problems);
        let expires = moment(table.expires.as_ref(), problems);
        lint_expiry(table, expires, around, problems);
        if let (Some(from), Some(to)) = (not_before, expires)
            && from >= to
        {
            problems.error(
                "never-valid",
                at.span(),
                format!("the token `{name}` expires before it becomes valid"),
                "swap `not_before` and `expires`",
            );
        }
        let scopes = lists.read(&table.scopes, problems);
        let nets = cidrs(table.cidrs.as_ref(), problems);
        if table.cidrs.as_ref().is_some_and(Vec::is_empty) {
            problems.error(
                "cidr",
                at.span(),
                format!("the token `{name}` has an empty list of addresses"),
                "leave `cidrs` out if any address is meant",
            );
        }
        let limits = super::principal_limits::limits(table.limits.as_ref(), problems);
        let users = super::app_users::users(table.users.as_ref(), issuers, problems);
        let place: Arc<str> = Arc::from(source.place(&at.span()));
        let token = |hash, expires| Token {
            name: Arc::from(name.as_str()),
            hash,
            scopes: scopes.clone(),
            not_before,
            expires,
            cidrs: nets.clone(),
            users: users.clone(),
            limits,
            place: place.clone(),
        };
        tokens.extend(hash.map(|hash| token(hash, expires)));
        if let Some(previous) = &table.previous {
            let old = fingerprint(&previous.get().sha256, name, &mut hashes, problems);
            let until = moment(Some(&previous.get().until), problems);
            let until = [until, expires].into_iter().flatten().min();
            tokens.extend(old.map(|hash| token(hash, until)));
        }
    }
    tokens
}

/// Lists of scopes that were read: most tokens of a long file hold the same few.
#[derive(Default)]
struct ScopeLists<'a>(HashMap<Vec<&'a str>, ScopeSet>);

impl<'a> ScopeLists<'a> {
    fn read(&mut self, list: &'a [At<String>], problems: &mut Problems) -> ScopeSet {
        let names: Vec<&str> = list.iter().map(|name| name.get().as_str()).collect();
        if let Some(known) = self.0.get(&names) {
            return known.clone();
        }
        let before = problems.count();
        let read = scopes(list, problems);
        // What there is to say of a list is said of each.
        if problems.count() == before {
            self.0.insert(names, read.clone());
        }
        read
    }
}

fn fingerprint<'a>(
    at: &At<String>,
    name: &'a str,
    hashes: &mut HashMap<TokenHash, &'a str>,
    problems: &mut Problems,
) -> Option<TokenHash> {
    let Some(hash) = TokenHash::from_hex(at.get()) else {
        problems.error(
            "sha256",
            at.span(),
            "this is not a SHA-256: 64 hexadecimal digits are needed",
            "`scopeshim token new` prints it; the token itself does not belong here",
        );
        return None;
    };
    if let Some(other) = hashes.insert(hash, name) {
        let message = format!("`{name}` and `{other}` are the same token");
        problems.error("duplicate-token", at.span(), message, "make a token for each");
    }
    Some(hash)
}

fn lint_expiry(
    table: &file::Token,
    expires: Option<jiff::Timestamp>,
    around: &dyn Environment,
    problems: &mut Problems,
) {
    let (Some(at), Some(field)) = (expires, &table.expires) else {
        return;
    };
    let left = at.duration_since(around.now());
    if left.is_negative() || left.is_zero() {
        problems.warn(
            "expired",
            field.span(),
            format!("the token `{}` has expired", table.name.get()),
            "rotate it, or remove the table",
        );
    } else if left < SignedDuration::from_hours(7 * 24) {
        problems.warn(
            "expires-soon",
            field.span(),
            format!("the token `{}` expires within a week", table.name.get()),
            "rotate it in time",
        );
    }
}
