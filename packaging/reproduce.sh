#!/usr/bin/env bash
# Builds the packages of the last commit from a fresh clone in another folder, and compares them with dist/.
# usage: packaging/reproduce.sh [ARCH...]      as packaging/build.sh
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
    echo "there are changes that no commit has; dist/ may hold them" >&2
    exit 1
fi
elsewhere=$(mktemp -d "${TMPDIR:-/tmp}/scopeshim-reproduce-XXXXXX")
trap 'rm -rf "$elsewhere"' EXIT
git clone --quiet . "$elsewhere/clone"
mkdir -p "$elsewhere/clone/target"
# The tools are not what is compared.
[ ! -d target/tools ] || cp -r target/tools "$elsewhere/clone/target/"
"$elsewhere/clone/packaging/build.sh" "$@"
if ! diff dist/SHA256SUMS "$elsewhere/clone/dist/SHA256SUMS"; then
    rm -rf target/reproduce && mkdir -p target/reproduce
    cp "$elsewhere"/clone/dist/* target/reproduce/
    find "$elsewhere/clone/target" -path '*/release/scopeshim' -exec cp --parents {} target/reproduce/ \;
    echo "the two builds differ; the other one is in target/reproduce" >&2
    exit 1
fi
echo "the same files, byte for byte:"
cat dist/SHA256SUMS
