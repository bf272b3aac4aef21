#!/usr/bin/env bash
# Makes a folder of a release from packages that were built: everything to publish, its checksums signed, its provenance,
# and an apt and a dnf repository of it. The same packages and the same key give the same bytes.
# usage: packaging/release.sh KEY OUT DIST...
#
# KEY is a key of gpg's. OUT/repository is kept from one release to the next, if it is there, so that older versions stay.
# With RELEASE_URL, the folder where the files will be found, Homebrew's formula is made too.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 3 ] || { echo "usage: $0 KEY OUT DIST..." >&2 && exit 64; }
key=$1 out=$2
shift 2
umask 022
export LC_ALL=C.UTF-8
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

mkdir -p "$out"
find "$out" -maxdepth 1 -type f -delete
packages=()
for dist; do
    for file in "$dist"/*; do
        case $file in
        */SHA256SUMS) continue ;;
        *.deb | *.rpm) packages+=("$out/$(basename "$file")") ;;
        esac
        name=$(basename "$file")
        # Every processor's folder has one of these, and they may differ.
        [ ! -e "$out/$name" ] || cmp -s "$file" "$out/$name" || { echo "two files are called $name, and differ" >&2 && exit 1; }
        install -m 644 "$file" "$out/$name"
    done
done
[ ${#packages[@]} -gt 0 ] || { echo "no package in $*: make packages" >&2 && exit 1; }
# What Homebrew and distributions build from: the commit's own files, at the commit's own moment.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
source=$out/scopeshim-$version-source.tar.gz
git archive --format=tar --prefix="scopeshim-$version/" HEAD | gzip -9n >"$source"
[ -z "${RELEASE_URL:-}" ] || packaging/macos/formula.sh "$RELEASE_URL" "$source" >"$out/scopeshim.rb"
files=("$out"/*.*)
python3 packaging/provenance.py "${files[@]}" >"$out/provenance.intoto.json"
(cd "$out" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum -- >SHA256SUMS)
gpg --batch --yes --local-user "$key" --digest-algo SHA512 --faked-system-time "$SOURCE_DATE_EPOCH!" \
    --armor --detach-sign --output "$out/SHA256SUMS.asc" "$out/SHA256SUMS"
packaging/repository.sh "$out/repository" "$key" "${packages[@]}"
echo "$out:"
(cd "$out" && find . -maxdepth 1 -type f -printf '  %P\n' | sort)
