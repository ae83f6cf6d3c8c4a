#!/bin/sh
# tests/fuzz/run.sh SECONDS [FORMAT...]: fuzzes the readers of each format (all, when none is named) for that long, from the
# files in corpus/FORMAT, under the address and undefined-behaviour sanitizers. Needs clang. New files that reach new code
# collect in build-asan/corpus/FORMAT and serve the next run; what breaks a reader is kept in build-asan/broken and printed.
# libhdf5 is not ours to mend: inputs that break down inside of it, which the kray command answers with a sentence
# (tools/guard.c), are counted, kept in build-asan/library, and no failure.
set -eu
cd "$(dirname "$0")/../.."
[ $# -ge 1 ] || { sed -n 's/^# //; 2,3p' "$0" >&2; exit 2; }
seconds=$1; shift
command -v clang >/dev/null || { echo "1..0 # SKIP clang is absent"; exit 0; }
build=build-asan                     # as tests/run.sh makes it
[ -d $build ] || CC=clang CXX=clang++ meson setup $build -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 >/dev/null
ninja -C $build >$build/build.log 2>&1 || { grep -A12 -E "FAILED|error:" $build/build.log; exit 1; }
mkdir -p $build/corpus $build/broken $build/library
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 KR_THREADS=1 OMP_NUM_THREADS=1
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1

[ $# -ge 1 ] || set -- $(ls $build/tests/fuzz | sed -n 's/^fuzz-\([a-z0-9]*\)$/\1/p')
echo "1..$#"
status=0 n=0
for format; do
    n=$((n + 1)) library=0 ours=0
    fuzz=$build/tests/fuzz/fuzz-$format new=$build/corpus/$format
    mkdir -p "$new" tests/fuzz/corpus/"$format"
    end=$(($(date +%s) + seconds))
    # A breakdown ends libFuzzer; it is judged by where it happened, and the rest of the time is used.
    while left=$((end - $(date +%s))); [ $left -gt 0 ]; do
        if "$fuzz" -max_total_time=$left -max_len=16384 -timeout=60 -rss_limit_mb=4096 -malloc_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix=$build/last- "$new" tests/fuzz/corpus/"$format" >$build/fuzz-$format.log 2>&1; then
            break
        fi
        # The innermost frame with a name, of Kray or of HDF5, decides; a leak or a timeout is always ours.
        first=$(grep -m1 -oE '^ *#[0-9]+ .*(src/[a-z]+/[a-z0-9_]+\.c|tests/fuzz/[a-z]+\.c|libhdf5|libpng|libz\.|libxml2|libnifti2|libznz)' $build/fuzz-$format.log || true)
        case $first in
        *libhdf5*) library=$((library + 1)); mv $build/last-* $build/library/ 2>/dev/null || true ;;
        *) ours=$((ours + 1)); mv $build/last-* $build/broken/ 2>/dev/null || true
           grep -A25 -E "ERROR|SUMMARY|runtime error" $build/fuzz-$format.log | sed 's/^/# /' | head -40; break ;;
        esac
    done
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' $build/fuzz-$format.log | tail -1)
    if [ $ours -eq 0 ]; then echo "ok $n - $format: ${runs:-some} inputs in the last run, $library broke libhdf5"
    else echo "not ok $n - $format"; status=1; fi
done
exit $status
