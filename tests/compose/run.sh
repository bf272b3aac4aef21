#!/bin/sh
# Checks packaging/compose: decoded by the Compose specification's own schema and types, judged by what must hold; then its
# policy by `scopeshim check`, with the token that its comment has people make. Prints the project as JSON with --json.
# usage: tests/compose/run.sh BINARY [--json]
set -eu
binary=$(realpath "$1")
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if ! command -v go >/dev/null 2>&1; then
    echo "skip  go is not installed, which the Compose specification's types come with" >&2
    [ -z "${CI:-}" ]
    exit
fi
mkdir -p ../../target
go build -o ../../target/compose-check . 2>"$out/go.log" || { cat "$out/go.log" >&2; exit 1; }
../../target/compose-check ../../packaging/compose >"$out/project.json"
if [ "${2:-}" = --json ]; then
    cat "$out/project.json"
    exit
fi
echo "ok    compose.yaml: every field known to the specification"
config=$out/config.toml
cp ../../packaging/compose/scopeshim/config.toml "$config"
# The image's user has /var/lib/scopeshim; this machine may have none.
sed -i "s|/var/lib/scopeshim|$out/state|" "$config"
mkdir "$out/state"
"$binary" token new open-webui --config "$config" | sed -n '/^\[\[token\]\]/,$p' >>"$config"
OPENCLAW_GATEWAY_TOKEN=a-secret-for-the-check-0123456789 "$binary" check --config "$config" || { echo "FAIL  the policy"; exit 1; }
grep -q 'name *= *"open-webui"' "$config" || { echo "FAIL  token new printed no table"; exit 1; }
echo "ok    scopeshim/config.toml: passes check with the token of Open WebUI"
