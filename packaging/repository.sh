#!/usr/bin/env bash
# Puts packages into an apt and a dnf repository, folders that any web server can serve, signed by a key of gpg's.
# usage: packaging/repository.sh FOLDER KEY PACKAGE...
#
# FOLDER/apt and FOLDER/rpm keep what is in them already, so older versions stay installable. KEY is a key's fingerprint or
# address in the caller's keyring. SOURCE_DATE_EPOCH is the moment that the indexes name.
set -euo pipefail
folder=$1 key=$2
shift 2
: "${SOURCE_DATE_EPOCH:?the moment that the indexes name, in seconds since 1970}"
export LC_ALL=C.UTF-8
umask 022

sign() { gpg --batch --yes --local-user "$key" --digest-algo SHA512 --faked-system-time "$SOURCE_DATE_EPOCH!" "$@"; }

mkdir -p "$folder/apt/pool" "$folder/rpm"
for package; do
    case $package in
    *.deb) install -m 644 "$package" "$folder/apt/pool/" ;;
    *.rpm) install -m 644 "$package" "$folder/rpm/" ;;
    *) echo "$package is neither a deb nor an rpm" >&2 && exit 64 ;;
    esac
done
gpg --batch --armor --export "$key" >"$folder/scopeshim.asc"
[ -s "$folder/scopeshim.asc" ] || { echo "gpg has no key $key" >&2 && exit 1; }

if compgen -G "$folder/apt/pool/*.deb" >/dev/null; then
    cd "$folder/apt"
    rm -rf dists
    architectures=$(for deb in pool/*.deb; do dpkg-deb --field "$deb" Architecture; done | sort -u | tr '\n' ' ')
    for architecture in $architectures; do
        list=dists/stable/main/binary-$architecture
        mkdir -p "$list"
        apt-ftparchive --arch "$architecture" packages pool >"$list/Packages"
        gzip -9nk "$list/Packages"
    done
    apt-ftparchive -o APT::FTPArchive::Release::Origin=scopeshim -o APT::FTPArchive::Release::Label=scopeshim \
        -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
        -o APT::FTPArchive::Release::Architectures="${architectures% }" -o APT::FTPArchive::Release::Components=main \
        release dists/stable | sed "s/^Date: .*/Date: $(date --utc --date="@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S UTC')/" >Release.new
    mv Release.new dists/stable/Release
    sign --clearsign --output dists/stable/InRelease dists/stable/Release
    sign --armor --detach-sign --output dists/stable/Release.gpg dists/stable/Release
    cd - >/dev/null
fi
if compgen -G "$folder/rpm/*.rpm" >/dev/null; then
    find "$folder/rpm" -name '*.rpm' -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
    createrepo_c --quiet --no-database --simple-md-filenames --revision "$SOURCE_DATE_EPOCH" --set-timestamp-to-revision "$folder/rpm"
    sign --armor --detach-sign --output "$folder/rpm/repodata/repomd.xml.asc" "$folder/rpm/repodata/repomd.xml"
fi
