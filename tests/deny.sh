#!/bin/sh
# Checks licences, duplicate crates, sources and advisories of the dependency tree against deny.toml.
# usage: tests/deny.sh
#
# cargo-deny is built once, into the cache that the tests use. The advisory database is a git repository; where it cannot
# be reached, that part is skipped, in so many words, and the rest still decides.
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
if [ -n "${SCOPESHIM_CACHE:-}" ]; then
    cache=$SCOPESHIM_CACHE
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/scopeshim
fi
root=$cache/cargo-deny
if [ "$("$root/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "installing cargo-deny $version into $root (a few minutes, once)"
    cargo install --quiet --locked --root "$root" --version "$version" cargo-deny
fi
deny() { # the checks
    "$root/bin/cargo-deny" --locked check --hide-inclusion-graph "$@"
}

deny bans licenses sources

database=https://github.com/RustSec/advisory-db
if reached=$(GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$database" HEAD 2>&1); then
    deny advisories
else
    echo "skipped: advisories. $database cannot be reached from here: $(echo "$reached" | tail -1)"
fi
