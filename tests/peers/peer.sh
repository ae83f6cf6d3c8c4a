# peer.sh: what the scripts here share that measure Kray beside others; they source it. Environment: KRAY=build/tools/kray
# OMP_NUM_THREADS=2 WORK=/dev/shm, ALONE=CMD, a command that runs another one while nothing else disturbs, if there is one, and CLOCK=processor, time of all
# cores (to 10 ms) instead of the clock's, for a machine that others use, too.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
skipped() { echo "skipped: $*"; exit 77; }
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac; }
# program NAME PATH: where it is, absolute
program() {
    found=$(command -v "$2") || { echo "skipped: there is no $1 at $2" >&2; return 1; }
    absolute "$found"
}
KRAY=$(program kray "${KRAY:-build/tools/kray}") || exit 77
need() { command -v "$1" >/dev/null 2>&1 || skipped "there is no $1 here"; }

# scratch: an empty folder to work in, removed at the end
scratch() {
    work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/kray-peer.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
    cd "$work"
    cat >once.sh <<'ONCE'
name=$1
shift
start=$(date +%s%N)
/usr/bin/time -f '%M %U %S' -o rss "$@" >/dev/null 2>"$name.log" || { echo "failed: $*"; cat "$name.log"; exit 1; }
end=$(date +%s%N)
tail -n 1 rss | awk -v us=$(((end - start) / 1000)) -v clock="${CLOCK:-}" '{ printf "%d %d\n", clock == "processor" ? 1e6 * ($2 + $3) : us, $1 }' >>"$name.runs"
ONCE
}
quiet() { "$@" >/dev/null 2>log || { echo "failed: $*"; cat log; exit 1; }; }

# once NAME COMMAND...: microseconds and KiB of one run, a line in NAME.runs; what it said in NAME.log
once() { ${ALONE:-} sh ./once.sh "$@"; }
# median NAME: milliseconds, and the most MiB
median() { sort -n "$1.runs" | awk '{ t[NR] = $1; if ($2 > m) m = $2 }
    END { printf "%.1f %.0f", (NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2) / 1000, m / 1024 }'; }
# timed: what once wants; and the line above a table
timed() { [ -x /usr/bin/time ] || skipped 'there is no /usr/bin/time (GNU time) here'; }
heading() { printf '%s\n' "$("$KRAY" --version), BART $(bart version), $OMP_NUM_THREADS threads, median of $RUNS${CLOCK:+, time of the $CLOCK}, $(date +%F)"; }
