#!/bin/sh
# Checks packaging/kubernetes: built by Kustomize, decoded strictly by the Go types of each API, judged by
# what must hold; then the policies in it by `scopeshim check`.
# usage: tests/kubernetes/run.sh BINARY
set -eu
binary=$(realpath "$1")
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if ! command -v go >/dev/null 2>&1; then
    echo "skip  go is not installed, which the Kubernetes API's types come with"
    [ -z "${CI:-}" ]
    exit
fi
mkdir -p ../../target
if ! go build -o ../../target/kubernetes-check . 2>"$out/go.log"; then
    cat "$out/go.log" >&2
    echo "skip  the Kubernetes API's types could not be built; see above"
    [ -z "${CI:-}" ]
    exit
fi
../../target/kubernetes-check ../../packaging/kubernetes "$out"
umask 077
mkdir "$out/secrets"
echo a-secret-for-the-check-0123456789 >"$out/secrets/token"
for policy in "$out"/*.toml; do
    sed -i "s|/etc/scopeshim/secrets|$out/secrets|" "$policy"
    "$binary" check --config "$policy" || { echo "FAIL  the policy of $(basename "$policy" .toml)"; exit 1; }
    echo "ok    $(basename "$policy" .toml): its policy passes check"
done
