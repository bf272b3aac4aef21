#!/usr/bin/env bash
# Builds into dist/, from this checkout: a deb, an rpm and a tarball for each processor, their bill of materials and checksums.
# usage: packaging/build.sh [ARCH...]      amd64, arm64; the machine's own unless told
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"
# The packages' metadata names files below target/.
export CARGO_TARGET_DIR="$PWD/target"
# shellcheck source=packaging/arch.sh
. packaging/arch.sh
[ $# -gt 0 ] || set -- "$(own_arch)"

tools=$PWD/target/tools
tool() { # crate, version
    if ! grep -qF "\"$1 $2 " "$tools/.crates.toml" 2>/dev/null; then
        echo "installing $1 $2 into target/tools"
        cargo install --quiet --locked --root "$tools" "$1" --version "$2"
    fi
}
tool cargo-deb 3.8.0
tool cargo-generate-rpm 0.21.1
tool cargo-auditable 0.7.7
export PATH="$tools/bin:$PATH"

# The same commit gives the same files: no path of this machine, no moment of the build, no caller's umask.
umask 022
export LC_ALL=C.UTF-8
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
for arch; do
    target=$(triple "$arch")
    use_cross_linker "$arch"
    [ "$target" = "$host" ] && flags=() || flags=(--target "$target")
    # mimalloc holds the moment it was compiled; one that is the commit's would have all C code compiled for every commit.
    # The binary lists its crates, for scanners: `rust-audit-info`, `cargo audit bin`, trivy, grype.
    SOURCE_DATE_EPOCH=0 cargo auditable build --locked --release "${flags[@]}"
done

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
mkdir -p target/package dist
rm -f dist/*
# What the program writes is the same on every processor.
first=$1
generate() { emulated "$first" "$(built "$first")/scopeshim" generate "$@"; }
generate man >target/package/scopeshim.1
generate man5 >target/package/scopeshim.toml.5
generate completions bash >target/package/scopeshim.bash
generate completions zsh >target/package/_scopeshim
generate completions fish >target/package/scopeshim.fish
# The form that Debian's tools read; what changed is in CHANGELOG.md, beside it.
printf 'scopeshim (%s-1) stable; urgency=medium\n\n  * As /usr/share/doc/scopeshim/changelog.gz says.\n\n -- %s  %s\n' \
    "$version" "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" \
    "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" >target/package/changelog
# cargo-deb compresses manual pages itself; cargo-generate-rpm takes files as they are.
gzip -9nkf target/package/scopeshim.1 target/package/scopeshim.toml.5

for arch; do
    target=$(triple "$arch") binary=$(built "$arch")/scopeshim
    python3 packaging/sbom.py "$target" >"target/package/$arch.cdx.json"
    # One bill of materials goes with all packages, as long as every processor's program is linked with the same crates.
    cmp "target/package/$arch.cdx.json" "target/package/$first.cdx.json"
    python3 packaging/licences.py "$target" >target/package/THIRD-PARTY-LICENSES.md
    if [ "$target" = "$host" ]; then
        cargo deb --locked --no-build --quiet --output dist/
    else
        PATH=$PWD/packaging/cross:$PATH cargo deb --locked --no-build --quiet --output dist/ --target "$target"
    fi
    # cargo-generate-rpm keeps the times of files older than the commit: it gets copies, all of one moment.
    stage=target/package/rpm
    rm -rf "$stage"
    mkdir -p "$stage/target/package" "$stage/target/release"
    cp -r --parents Cargo.toml README.md CHANGELOG.md config.example.toml docs packaging src "$stage"
    cp "$binary" "$stage/target/release"
    find target/package -maxdepth 1 -type f -exec cp {} "$stage/target/package" \;
    find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    (cd "$stage" && env -u CARGO_TARGET_DIR cargo generate-rpm --target-dir target --arch "${target%%-*}" --output ../../../dist/)
    packaging/tarball.sh "$binary" "dist/scopeshim-$version-linux-$arch.tar.gz"
    # Which systems it runs on: the newest glibc symbol it asks for.
    glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
    echo "$arch needs ${glibc/_/ } or newer; $(stat -c %s "$binary") bytes"
done
cp "target/package/$first.cdx.json" dist/scopeshim.cdx.json
(cd dist && sha256sum -- * >../target/package/SHA256SUMS && mv ../target/package/SHA256SUMS .)
ls -l dist
