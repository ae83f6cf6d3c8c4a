#!/bin/sh
# All tests: once as built for use by gcc, once built by clang with the address and undefined-behaviour sanitizers, and the fuzzers; both builds
# must be free of warnings. The last line counts all of them: "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
CC=${CC:-gcc}; export CC
status=0

build() {   # build DIRECTORY [setup options]
    dir=$1; shift
    [ -d "$dir" ] || meson setup "$dir" "$@" >/dev/null 2>&1
    ninja -C "$dir" -k 0 >"$dir/build.log" 2>&1 || { grep -E -A12 "FAILED|error:" "$dir/build.log" | head -200; exit 1; }
    if grep -q 'warning:' "$dir/build.log"; then
        grep -A3 'warning:' "$dir/build.log"
        echo "the build in $dir has warnings"; exit 1
    fi
}

build build -Dwerror=true
(CC=clang CXX=clang++ build build-asan -Dwerror=true -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1)

meson test -C build --no-rebuild || status=1
LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    meson test -C build-asan --no-rebuild --timeout-multiplier 5 --no-suite peers --no-suite long --no-suite levels || status=1
# Seconds for each format: what breaks a reader breaks the build. tests/fuzz/nightly.sh searches longer.
tests/fuzz/run.sh "${KR_FUZZ_SECONDS:-2}" || status=1
python3 tests/summary.py build build-asan || status=1
exit $status
