#!/bin/sh
# Checks licences, duplicate crates, sources and advisories of the dependency tree against deny.toml.
# usage: tests/deny.sh
#
# cargo-deny is built once, into target/tools, without optimisation: it runs for a second. The advisory database is a git
# repository. Where it cannot be fetched, the last line says so, and the result is that of the other three checks.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"

version=0.20.2
tools=$PWD/target/tools
if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "installing cargo-deny $version into target/tools (a few minutes, once)"
    cargo install --quiet --locked --debug --root "$tools" --version "$version" cargo-deny
fi
deny() { # the checks
    "$tools/bin/cargo-deny" --locked check --hide-inclusion-graph "$@"
}

deny bans licenses sources

database=https://github.com/RustSec/advisory-db
if reason=$(GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$database" HEAD 2>&1) &&
    reason=$(timeout 120 "$tools/bin/cargo-deny" --locked fetch db 2>&1); then
    deny --disable-fetch advisories
else
    echo "NOT checked: advisories, because $database cannot be fetched: $(echo "$reason" | tail -1)"
    echo "checked: duplicate crates, licences and sources"
fi
