#!/usr/bin/env bash
# Builds dist/*.deb and dist/*.rpm from this checkout, their bill of materials and their checksums.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"
# The packages' metadata names files below target/.
export CARGO_TARGET_DIR="$PWD/target"

tools=$PWD/target/tools
tool() { # crate, version
    if ! "$tools/bin/$1" --version 2>/dev/null | grep -qF "$2"; then
        echo "installing $1 $2 into target/tools"
        cargo install --quiet --locked --root "$tools" "$1" --version "$2"
    fi
}
tool cargo-deb 3.8.0
tool cargo-generate-rpm 0.21.1
export PATH="$tools/bin:$PATH"

# The same commit gives the same files: no path of this machine, no moment of the build, no caller's umask.
umask 022
export LC_ALL=C.UTF-8
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
# mimalloc holds the moment it was compiled; one that is the commit's would have all C code compiled for every commit.
SOURCE_DATE_EPOCH=0 cargo build --locked --release

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH
binary=target/release/scopeshim
mkdir -p target/package dist
rm -f dist/*
"$binary" generate man >target/package/scopeshim.1
"$binary" generate man5 >target/package/scopeshim.toml.5
"$binary" generate completions bash >target/package/scopeshim.bash
"$binary" generate completions zsh >target/package/_scopeshim
"$binary" generate completions fish >target/package/scopeshim.fish
python3 packaging/licences.py >target/package/THIRD-PARTY-LICENSES.md
# The form that Debian's tools read; what changed is in CHANGELOG.md, beside it.
printf 'scopeshim (%s-1) stable; urgency=medium\n\n  * As /usr/share/doc/scopeshim/changelog.gz says.\n\n -- %s  %s\n' \
    "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)" \
    "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" \
    "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" >target/package/changelog
# cargo-deb compresses manual pages itself; cargo-generate-rpm takes files as they are.
gzip -9nkf target/package/scopeshim.1 target/package/scopeshim.toml.5

cargo deb --locked --no-build --quiet --output dist/
# cargo-generate-rpm keeps the times of files older than the commit: it gets copies, all of one moment.
stage=target/package/rpm
rm -rf "$stage"
mkdir -p "$stage/target/package"
cp -r --parents Cargo.toml README.md CHANGELOG.md config.example.toml docs packaging src "$binary" "$stage"
find target/package -maxdepth 1 -type f -exec cp {} "$stage/target/package" \;
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
(cd "$stage" && env -u CARGO_TARGET_DIR cargo generate-rpm --target-dir target --output ../../../dist/)
python3 packaging/sbom.py >dist/scopeshim.cdx.json
(cd dist && sha256sum -- * >../target/package/SHA256SUMS && mv ../target/package/SHA256SUMS .)

# Which systems it runs on: the newest glibc symbol it asks for.
glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
echo "needs ${glibc/_/ } or newer; $(stat -c %s "$binary") bytes"
ls -l dist
