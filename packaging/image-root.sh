#!/bin/sh
# Puts into a folder what an image of scopeshim holds.
# usage: packaging/image-root.sh BINARY FOLDER
set -eu
binary=$1
root=$2

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/scopeshim/config" "$root/run/scopeshim" "$root/var/lib/scopeshim"
install -m 0755 "$binary" "$root/usr/bin/scopeshim"
ln -sfn usr/bin "$root/bin"
# The loader and the libraries, each at the place where the program looks for it.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'scopeshim:x:65532:65532:scopeshim:/var/lib/scopeshim:/sbin/nologin' >"$root/etc/passwd"
echo 'scopeshim:x:65532:' >"$root/etc/group"
chown -R 65532:65532 "$root/run/scopeshim" "$root/var/lib/scopeshim"
