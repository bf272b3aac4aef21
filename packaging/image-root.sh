#!/bin/sh
# Puts into a folder what an image of scopeshim holds.
# usage: packaging/image-root.sh BINARY FOLDER [LIBRARIES]
#
# LIBRARIES is the folder of another processor's C library, such as /usr/aarch64-linux-gnu/lib.
set -eu
binary=$1
root=$2
libraries=${3:-}

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/scopeshim/config" "$root/run/scopeshim" "$root/var/lib/scopeshim"
install -m 0755 "$binary" "$root/usr/bin/scopeshim"
ln -sfn usr/bin "$root/bin"
if [ -z "$libraries" ]; then
    # The loader and the libraries, each at the place where the program looks for it.
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
else
    # ldd runs the program; this reads it, and whatever is needed in turn.
    mkdir -p "$root/lib"
    needed="$binary"
    while [ -n "$needed" ]; do
        next=
        for file in $needed; do
            for name in $(objdump -p "$file" 2>/dev/null | sed -n 's/^ *NEEDED *//p') $(readelf -l "$file" | sed -n 's|.*program interpreter: .*/\(.*\)\]|\1|p'); do
                [ ! -e "$root/lib/$name" ] || continue
                cp -L "$libraries/$name" "$root/lib/$name"
                next="$next $root/lib/$name"
            done
        done
        needed=$next
    done
fi
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'scopeshim:x:65532:65532:scopeshim:/var/lib/scopeshim:/sbin/nologin' >"$root/etc/passwd"
echo 'scopeshim:x:65532:' >"$root/etc/group"
if [ "$(id -u)" = 0 ]; then
    chown -R 65532:65532 "$root/run/scopeshim" "$root/var/lib/scopeshim"
fi
