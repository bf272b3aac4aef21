#!/usr/bin/env bash
# An OCI image layout, target/image, of the programs that were built, and the same as an archive.
# usage: packaging/image.sh [ARCH...]      amd64, arm64; the machine's own unless told
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
# shellcheck source=packaging/arch.sh
. packaging/arch.sh
[ $# -gt 0 ] || set -- "$(own_arch)"
moment=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
rm -rf target/image target/image-root target/image-archive
mkdir -p target/image-root target/image-archive
roots=()
for arch; do
    target=$(triple "$arch") binary=$(built "$arch")/scopeshim
    [ "$target" = "$host" ] && libraries= || libraries=/usr/${target%%-*}-linux-gnu/lib
    [ -x "$binary" ] || { echo "$binary is not there; build it first" >&2 && exit 1; }
    packaging/image-root.sh "$binary" "target/image-root/$arch" "$libraries"
    roots+=("$arch=target/image-root/$arch")
done
python3 packaging/sbom.py "$target" >target/image-root/scopeshim.cdx.json
python3 packaging/image.py target/image --version "$version" --revision "$revision" --source-date "$moment" \
    --sbom target/image-root/scopeshim.cdx.json "${roots[@]}" >target/image-root/digest
tar --create --sort=name --mtime="@$moment" --owner=0 --group=0 --numeric-owner --format=gnu -C target/image . >"target/image-archive/scopeshim-$version.oci.tar"
echo "target/image: scopeshim $version for $*, $(cat target/image-root/digest)"
