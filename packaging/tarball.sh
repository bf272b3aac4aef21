#!/usr/bin/env bash
# A tarball for machines without a package manager that knows our packages: the program, its manual pages and completions,
# the pages of docs/, an example of the configuration, and the units. Wants target/package, which build.sh fills.
# usage: packaging/tarball.sh BINARY FILE.tar.gz      SOURCE_DATE_EPOCH is the moment of all files
set -euo pipefail
: "${SOURCE_DATE_EPOCH:?the moment of all files, in seconds since 1970}"
binary=$1 file=$2
name=$(basename "$file" .tar.gz)
stage=target/package/tarball
rm -rf "$stage"
root=$stage/$name
install -D -m 755 "$binary" "$root/bin/scopeshim"
install -D -m 644 -t "$root/share/man/man1" target/package/scopeshim.1
install -D -m 644 -t "$root/share/man/man5" target/package/scopeshim.toml.5
install -D -m 644 target/package/scopeshim.bash "$root/share/bash-completion/completions/scopeshim"
install -D -m 644 -t "$root/share/zsh/site-functions" target/package/_scopeshim
install -D -m 644 -t "$root/share/fish/vendor_completions.d" target/package/scopeshim.fish
install -D -m 644 -t "$root/share/scopeshim" packaging/config.schema.json
install -D -m 644 -t "$root/share/scopeshim/systemd" packaging/systemd/*
install -m 644 -t "$root" README.md CHANGELOG.md SECURITY.md LICENSE* config.example.toml target/package/THIRD-PARTY-LICENSES.md
cp -r docs "$root/docs"
find "$root/docs" -type f -exec chmod 644 {} +
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu -C "$stage" "$name" |
    gzip -9n >"$file"
