#!/bin/sh
# Homebrew's formula of a release, to standard output.
# usage: packaging/macos/formula.sh URL SOURCE-ARCHIVE      URL is the folder in which the archive will be found
set -eu
[ $# = 2 ] || { echo "usage: $0 URL SOURCE-ARCHIVE" >&2 && exit 64; }
version=$(basename "$2" -source.tar.gz)
sum=$(sha256sum "$2")
sed -e '1d' -e "s|@URL@|${1%/}|; s|@VERSION@|${version#scopeshim-}|; s|@SHA256@|${sum%% *}|" "$(dirname "$0")/scopeshim.rb.in"
