#!/usr/bin/env bash
# Builds dist/*.deb and dist/*.rpm from this checkout, and looks at what came of it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"

tools=$PWD/target/tools
tool() { # crate, version
    if ! "$tools/bin/$1" --version 2>/dev/null | grep -qF "$2"; then
        echo "installing $1 $2 into target/tools"
        cargo install --quiet --locked --root "$tools" "$1" --version "$2"
    fi
}
tool cargo-deb 3.8.0
tool cargo-generate-rpm 0.21.1

# The same commit gives the same binary: no path of this machine, no moment of the build.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
cargo build --locked --release

binary=target/release/scopeshim
mkdir -p target/package dist
rm -f dist/*.deb dist/*.rpm dist/SHA256SUMS
"$binary" generate man >target/package/scopeshim.1
"$binary" generate man5 >target/package/scopeshim.toml.5
"$binary" generate completions bash >target/package/scopeshim.bash
"$binary" generate completions zsh >target/package/_scopeshim
"$binary" generate completions fish >target/package/scopeshim.fish
python3 packaging/licences.py >target/package/THIRD-PARTY-LICENSES.md
python3 packaging/sbom.py >dist/scopeshim.cdx.json

PATH="$tools/bin:$PATH" cargo deb --no-build --quiet --output dist/
PATH="$tools/bin:$PATH" cargo generate-rpm --output dist/
(cd dist && sha256sum ./* >SHA256SUMS)

# Which systems it runs on: the newest glibc symbol it asks for.
glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
echo "needs ${glibc/_/ } or newer"
ls -l dist
