#!/usr/bin/env bash
# An OCI image layout, target/image, of the programs that were built, and the same as an archive.
# usage: packaging/image.sh [ARCH...]      amd64, unless told; arm64 wants its program in target/aarch64-unknown-linux-gnu/release
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
[ $# -gt 0 ] || set -- amd64
host=$(rustc -vV | sed -n 's/^host: //p')
moment=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
rm -rf target/image target/image-root target/image-archive
mkdir -p target/image-root target/image-archive
roots=()
for arch; do
    case $arch in
    amd64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    *) echo "usage: $0 [amd64] [arm64]" >&2 && exit 64 ;;
    esac
    if [ "$target" = "$host" ]; then
        binary=target/release/scopeshim libraries=
    else
        binary=target/$target/release/scopeshim libraries=/usr/${target%%-*}-linux-gnu/lib
    fi
    [ -x "$binary" ] || { echo "$binary is not there; build it first" >&2 && exit 1; }
    packaging/image-root.sh "$binary" "target/image-root/$arch" "$libraries"
    roots+=("$arch=target/image-root/$arch")
done
python3 packaging/sbom.py >target/image-root/scopeshim.cdx.json
python3 packaging/image.py target/image --version "$version" --revision "$revision" --source-date "$moment" \
    --sbom target/image-root/scopeshim.cdx.json "${roots[@]}" >target/image-root/digest
tar --create --sort=name --mtime="@$moment" --owner=0 --group=0 --numeric-owner --format=gnu -C target/image . >"target/image-archive/scopeshim-$version.oci.tar"
echo "target/image: scopeshim $version for $*, $(cat target/image-root/digest)"
