#!/bin/sh
# Installs what a make target needs and this machine lacks.
# usage: tests/setup.sh build|test|fuzz|bench|budgets|packages-test|release|repository-test|arm64-test|macos-check [--dry-run]
#        tests/setup.sh packages [ARCHS]
#
# On Debian and Ubuntu, as root or with a sudo that asks for no password, it says what it is going to install and installs
# it. Elsewhere it names the missing commands, in one line, and fails. With --dry-run it only says what it would do.
set -eu

dry_run=
case ${2:-} in --dry-run) dry_run=1 ;; esac
missing=
packages=
need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 && return
    missing="$missing $1"
    packages="$packages $2"
}

# rustup may be installed and not yet in the PATH of this shell.
if ! command -v cargo >/dev/null 2>&1 && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "missing: cargo; install Rust from https://rustup.rs" >&2
    exit 1
fi
need cc gcc
need make make
need cmake cmake # Pingora's zlib is built with it
if [ "$1" = fuzz ]; then
    need c++ g++ # libFuzzer
fi
case $1 in bench | budgets)
    need python3 python3
    ;;
esac
if [ "$1" = bench ]; then
    [ -x /usr/sbin/nginx ] || need nginx nginx-light
    [ -x /usr/sbin/haproxy ] || need haproxy haproxy
    need h2load nghttp2-client
    need wrk wrk
    need strip binutils
    need strace strace
fi
if [ "$1" = budgets ]; then
    need valgrind valgrind
fi
case $1 in packages*)
    need git git
    need python3 python3
    need objdump binutils
    need dpkg-shlibdeps dpkg-dev
    ;;
esac
# What it takes to build for a processor that is not this machine's.
cross() { # Debian's name, Rust's name
    case $(uname -m) in "$2") return ;; esac
    need "$2-linux-gnu-gcc" "gcc-$(echo "$2" | tr _ -)-linux-gnu"
    [ -e "/usr/$2-linux-gnu/lib/libc.so.6" ] || {
        missing="$missing libc.so.6($1)"
        packages="$packages libc6-dev-$1-cross"
    }
    PATH="$PATH:$HOME/.cargo/bin" rustup target list --installed 2>/dev/null | grep -qx "$2-unknown-linux-gnu" ||
        [ -n "$dry_run" ] || PATH="$PATH:$HOME/.cargo/bin" rustup --quiet target add "$2-unknown-linux-gnu"
}
if [ "$1" = packages ]; then
    for arch in ${2:-}; do
        case $arch in
        amd64) cross amd64 x86_64 ;;
        arm64) cross arm64 aarch64 ;;
        esac
        need rpm rpm # reads what a foreign program needs
    done
fi
if [ "$1" = arm64-test ]; then
    cross arm64 aarch64
    need qemu-aarch64-static qemu-user-static
    need debootstrap debootstrap
    need unshare util-linux
    need ip iproute2
    need curl curl
    need gpg gnupg
    need apt-ftparchive apt-utils
fi
if [ "$1" = macos-check ]; then
    need python3 python3
    need ruby ruby # reads the formula
    PATH="$PATH:$HOME/.cargo/bin" rustup target list --installed 2>/dev/null | grep -qx aarch64-apple-darwin ||
        [ -n "$dry_run" ] || PATH="$PATH:$HOME/.cargo/bin" rustup --quiet target add aarch64-apple-darwin
fi
if [ "$1" = packages-test ]; then
    need curl curl
    need debootstrap debootstrap
    need nsenter util-linux
    need rpm rpm
    need cpio cpio
    need lintian lintian
    need man man-db # lintian looks at manual pages with it
    need piuparts piuparts
    need adequate adequate # piuparts asks it
    need rpmlint rpmlint
    need shellcheck shellcheck
fi
case $1 in release | repository-test)
    need python3 python3
    need gpg gnupg
    need apt-ftparchive apt-utils
    need createrepo_c createrepo-c
    ;;
esac
if [ "$1" = repository-test ]; then
    need debootstrap debootstrap
    need unshare util-linux
    need rpmbuild rpm
    need dnf dnf
fi
if [ "$1" = test ]; then
    need curl curl
    need openssl openssl
    need slowhttptest slowhttptest # slow heads, bodies and readers
    [ -x /usr/sbin/nginx ] || need nginx nginx-light # docs/tls.md is tested with it
    need python3 python3 # 3.11 or newer; pytest and ruff come into the cache
    need npm npm
    if [ "$(uname -s)" = Linux ]; then # the tailnet suite runs in network namespaces
        need ip iproute2
        need unshare util-linux
    fi
    need chromium chromium # the status page is tested in it
    if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
        missing="$missing python3-venv"
        packages="$packages python3-venv"
    fi
fi
if [ -z "$missing" ]; then
    [ -z "$dry_run" ] || echo "nothing to install for \`$1\`"
    exit 0
fi

sudo=
if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
    $sudo true 2>/dev/null || sudo=none
fi
if [ "$sudo" != none ] && command -v apt-get >/dev/null 2>&1; then
    if [ -n "$dry_run" ]; then
        echo "missing:$missing"
        echo "to be installed by apt-get:$packages"
        exit 0
    fi
    echo "installing:$packages (apt-get says nothing while it works; a minute or two)"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # words are meant
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >/dev/null
    exit 0
fi
echo "missing:$missing; on Debian or Ubuntu: sudo apt-get install$packages" >&2
exit 1
