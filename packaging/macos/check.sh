#!/bin/sh
# Type-checks scopeshim for macOS on a machine that has neither Apple's linker nor its SDK.
# usage: packaging/macos/check.sh [TARGET]      aarch64-apple-darwin, unless told
#
# `cargo check` links nothing, so the C code of crates need not be compiled, only their build scripts be content: they get a
# compiler, an archiver and a cmake that leave empty files. What is checked is all Rust code, ours and that of all crates.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PATH:$HOME/.cargo/bin"
target=${1:-aarch64-apple-darwin}
tools=$PWD/target/no-macos-sdk
mkdir -p "$tools/sdk"

cat >"$tools/cc" <<'END'
#!/bin/sh
# Says that it is clang, and otherwise leaves an empty file where an object is wanted.
out=
preprocess=
while [ $# -gt 0 ]; do
    case $1 in
    --version | -v) echo "Apple clang version 15.0.0 (no compiler)" && exit ;;
    -E) preprocess=1 ;;
    -o) shift && out=$1 ;;
    esac
    shift
done
# The cc crate asks by a file with macros which compiler this is.
[ -z "$preprocess" ] || { echo clang && exit; }
[ -z "$out" ] || : >"$out"
END
cat >"$tools/ar" <<'END'
#!/bin/sh
# The archive is the first word that ends like one.
for word; do
    case $word in *.a) [ -e "$word" ] || printf '!<arch>\n' >"$word" && exit ;; esac
done
END
cat >"$tools/cmake" <<'END'
#!/bin/sh
exit 0
END
cp "$tools/ar" "$tools/ranlib"
chmod +x "$tools/cc" "$tools/ar" "$tools/ranlib" "$tools/cmake"

name=$(echo "$target" | tr - _)
export "CC_$name=$tools/cc" "CXX_$name=$tools/cc" "AR_$name=$tools/ar" "RANLIB_$name=$tools/ranlib" "CMAKE_$name=$tools/cmake"
export SDKROOT="$tools/sdk" MACOSX_DEPLOYMENT_TARGET=13.0
cargo check --locked --target "$target"
echo "every crate's Rust code passes the type checker for $target; nothing was linked or run"
