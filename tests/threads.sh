#!/bin/bash
# threads.sh [FOLDER]: no data race in Kray by the thread sanitizer (of gcc or clang): two jobs side by side in two threads, with the same bits as one after the other
# (side_by_side of unit/test_job.c); kray serve with ten clients at once, sliding windows among them, with journals, recipes that are read again, status, metrics and a program
# that looks at every image; and among clients that do not behave (storm.py). Builds what it needs in FOLDER (build-tsan). KR_THREADS=1: a job does its work in the thread that called
# it, since the barriers of gcc's OpenMP are unknown to the sanitizer; what OpenMP's threads share within a job is held by the tests that compare
# thread counts bit for bit. Libraries that are not instrumented (OpenBLAS, FFTW, HDF5, glib's kin) are left out by tests/tsan.supp.
set -e
cd "$(dirname "$0")/.."
build=${1:-build-tsan}
[ -d "$build" ] || meson setup "$build" -Db_sanitize=thread -Db_lundef=false -Doptimization=1 >/dev/null
ninja -C "$build" tests/test_job tools/kray >"$build/build.log" || { grep -E -A8 'FAILED|error:' "$build/build.log" | head -40; exit 1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# A fixed place in memory: newer kernels spread programs further than the sanitizer of gcc 12 expects.
export KR_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 CMOCKA_MESSAGE_OUTPUT=TAP TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp history_size=4 exitcode=66"
setarch -R "$build/tests/test_job" side_by_side >"$log" 2>&1 || status=$?
grep -E '^(ok|not ok)|WARNING: ThreadSanitizer|SUMMARY' "$log" || true
[ $status = 0 ] || { grep -A30 'WARNING: ThreadSanitizer' "$log" | head -60; echo "# exit $status"; }

kray() { setarch -R "$build/tools/kray" "$@"; }
build=$(realpath "$build") tests=$PWD/tests work=$(mktemp -d)
server= metrics=$((20000 + $$ % 20000))
trap '[ -z "$server" ] || kill $server 2>/dev/null; rm -rf "$log" "$work"' EXIT
cd "$work"
kray simulate brain -q -o lines.h5 -m 48,40 --slices 3 --coils 5 -u random:accel=2,center=0.25
kray simulate shepplogan -q -o spokes.h5 -m 64,64 --slices 1 --coils 4 --traj radial:spokes=325,angle=golden
kray simulate shepplogan -q -o storm.h5 -m 16,16 --slices 2 --coils 2
kray convert storm.h5 -q -o storm.bin
mkdir recipes journals
echo '{"method": "sense", "options": {"lambda": 0.1}}' >recipes/mine.json
window='{"method":"wavelet","spokes":13,"window":65'
setarch -R "$build/tools/kray" serve --port 0 --metrics $metrics --save journals --recipes recipes --each "python3 $tests/../docs/track.py" 2>server.log &
server=$!
for i in $(seq 300); do port=$(sed -n 's/.*listening at 127.0.0.1:\([0-9]*\).*/\1/p' server.log); [ -n "$port" ] && break; sleep 0.1; done
clients=
send() { kray send "$1" -o "$2" -q -c "$3" --port "$port" 2>>clients.log & clients="$clients $!"; }
for round in 1 2; do
    n=0
    for config in rss grappa auto mine sense '{"method":"wavelet","iterations":5}'; do send lines.h5 $((n += 1)).npy "$config"; done
    send spokes.h5 a.npy "$window}"
    send spokes.h5 b.npy "$window,\"late\":\"keep\"}"
    send spokes.h5 c.npy '{"method":"sense","spokes":26}'
    kill -HUP $server
    for k in 1 2 3; do
        kray serve --status --port "$port" >/dev/null
        exec 5<>/dev/tcp/127.0.0.1/$metrics && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&5 && cat <&5 >metrics.txt; exec 5>&-
        sleep 0.5
    done
    wait $clients || { echo "# a client failed"; cat clients.log; status=1; }
done
kill -TERM $server
code=0; wait $server || code=$?
server=
grep -q '^kray_images_total' metrics.txt && [ $code = 143 ] && ! grep -q ThreadSanitizer server.log clients.log && echo "ok - ten clients at once" || { echo "not ok - ten clients at once (exit $code)"; grep -h -A30 'WARNING: ThreadSanitizer' server.log clients.log | head -60; status=1; }
KR_SANITIZE=thread setarch -R python3 "$tests/storm.py" "$build/tools/kray" storm.bin 100 || status=1
exit $status
