#!/bin/sh
# Runs every fuzz target for its share of the time and says how many inputs each was given.
# usage: fuzz/run.sh SECONDS [TARGET …]
#
# It works on the pinned toolchain: no sanitizer, for the product has no unsafe code of its own.
set -eu
cd "$(dirname "$0")/.."

seconds=$1
shift
version=0.13.2
export PATH="$PWD/target/tools/bin:$PATH" RUSTC_BOOTSTRAP=1
if [ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    cargo install --quiet --locked --root target/tools --version "$version" cargo-fuzz
fi
[ $# -gt 0 ] || set -- $(cargo fuzz list)
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1

# Built once, so that compiling takes nothing of the time.
cargo fuzz build --sanitizer none --target-dir target/fuzz >target/fuzz.log 2>&1 || {
    cat target/fuzz.log >&2
    exit 1
}
failed=0
for target; do
    mkdir -p "fuzz/corpus/$target"
    if cargo fuzz run --sanitizer none --target-dir target/fuzz "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$share" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 >target/fuzz.log 2>&1; then
        echo "$target: $(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 inputs in \2 s/p' target/fuzz.log)," \
            "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' target/fuzz.log | tail -n 1) edges"
    else
        failed=1
        echo "$target: FAILED"
        tail -n 40 target/fuzz.log
    fi
done
exit $failed
