#!/bin/bash
# threads.sh [FOLDER]: two jobs side by side in two threads under gcc's thread sanitizer: no data race in Kray, and the same bits as one after the other
# (side_by_side of unit/test_job.c). Builds the library and that test in FOLDER (build-tsan). KR_THREADS=1: a job does its work in the thread that called
# it, since the barriers of gcc's OpenMP are unknown to the sanitizer; what OpenMP's threads share within a job is held by the tests that compare
# thread counts bit for bit. Libraries that are not instrumented (OpenBLAS, FFTW, HDF5, glib's kin) are left out by tests/tsan.supp.
set -e
cd "$(dirname "$0")/.."
build=${1:-build-tsan}
[ -d "$build" ] || meson setup "$build" -Db_sanitize=thread -Db_lundef=false -Doptimization=1 >/dev/null
ninja -C "$build" tests/test_job >"$build/build.log" || { grep -E -A8 'FAILED|error:' "$build/build.log" | head -40; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# A fixed place in memory: newer kernels spread programs further than the sanitizer of gcc 12 expects.
KR_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 CMOCKA_MESSAGE_OUTPUT=TAP TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp history_size=4 exitcode=66" \
    setarch -R "$build/tests/test_job" side_by_side >"$log" 2>&1 || status=$?
grep -E '^(ok|not ok)|WARNING: ThreadSanitizer|SUMMARY' "$log" || true
[ $status = 0 ] || { grep -A30 'WARNING: ThreadSanitizer' "$log" | head -60; echo "# exit $status"; }
exit $status
