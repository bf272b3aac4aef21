# shellcheck shell=bash
# The processors that scopeshim is built for, by Debian's names: amd64, arm64. Sourced by the scripts beside it.

host=$(rustc -vV | sed -n 's/^host: //p')

# Rust's name of a processor's target.
triple() { # ARCH
    case $1 in
    amd64) echo x86_64-unknown-linux-gnu ;;
    arm64) echo aarch64-unknown-linux-gnu ;;
    *) echo "no packages are made for $1; amd64 and arm64 are known" >&2 && return 64 ;;
    esac
}

# The machine's own, which is built unless another one is asked for.
own_arch() {
    case $host in
    x86_64-*) echo amd64 ;;
    aarch64-*) echo arm64 ;;
    *) echo "no packages are made on $host" >&2 && return 64 ;;
    esac
}

# Where cargo puts the optimised program.
built() { # ARCH
    if [ "$(triple "$1")" = "$host" ]; then echo target/release; else echo "target/$(triple "$1")/release"; fi
}

# Links with Debian's cross compiler, for a processor that is not the machine's own. The crates with C code find it by its name.
use_cross_linker() { # ARCH
    local rust
    rust=$(triple "$1")
    [ "$rust" != "$host" ] || return 0
    rust=${rust//-/_}
    export "CARGO_TARGET_${rust^^}_LINKER=${rust%%_unknown*}-linux-gnu-gcc"
}

# Starts a program of any of these processors: an emulator runs that of another one.
emulated() { # ARCH PROGRAM [ARGUMENT...]
    local machine
    machine=$(triple "$1")
    shift
    if [ "$machine" = "$host" ]; then
        "$@"
        return
    fi
    machine=${machine%%-*}
    "qemu-$machine-static" -L "/usr/$machine-linux-gnu" "$@"
}
