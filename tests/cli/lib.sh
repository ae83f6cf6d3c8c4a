# lib.sh: what every command line test starts with (". lib.sh"): it runs kray in an empty folder of its own and prints TAP.
#
#   works   'words' kray eval ...        exit 0; stdout or stderr holds the words ('' for any)
#   refuses CODE 'words' kray eval ...   exit CODE, the words on stderr, no crash
#   check   'words' COMMAND...           COMMAND (any shell command, also [ ... ]) succeeds
#   near    'words' A B TOLERANCE        |A - B| <= TOLERANCE
#   skip    'words' 'why'                a test that cannot run here, visibly
#
# After works and refuses: $out and $err are files with what was printed. `array NAME.npy x=32,y=32,slice=2 blob ...`
# writes a picture (see array.c). Set by meson, with these defaults for running a script by hand.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${KR_BUILD:=$here/../../build}"
: "${KR_SHARED:=$here/../../../shared}"
export KR_SHARED
kray() { "$KR_BUILD/tools/kray" "$@"; }
array() { "$KR_BUILD/tests/kray-array" "$@"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/kray-cli-XXXXXX")
cd "$work" || exit 99
out=$work/.out err=$work/.err
count=0
finish() { echo "1..$count"; cd /; chmod -R u+w "$work"; rm -rf "$work"; }
trap finish EXIT

verdict()   # 0|1 words
{
    count=$((count + 1))
    local words=${2//#/No. }
    if [ "$1" = 0 ]; then echo "ok $count - $words"; else echo "not ok $count - $words"; fi
}
told() { sed 's/^/# /' "$out" "$err" | tail -40; }

works()
{
    local words=$1; shift
    "$@" >"$out" 2>"$err" </dev/null
    local status=$?
    if [ $status = 0 ] && { [ -z "$words" ] || cat "$out" "$err" | grep -qF -- "$words"; }; then verdict 0 "$*"; return 0; fi
    verdict 1 "$*"; echo "# exit $status, wanted 0 and '$words'"; told
    return 1
}

refuses()
{
    local code=$1 words=$2; shift 2
    "$@" >"$out" 2>"$err" </dev/null
    local status=$?
    if [ $status = "$code" ] && grep -qF -- "$words" "$err"; then verdict 0 "refused: $*"; return 0; fi
    verdict 1 "refused: $*"; echo "# exit $status, wanted $code and '$words'"; told
    return 1
}

check()
{
    local words=$1; shift
    if "$@" >"$work/.check" 2>&1; then verdict 0 "$words"; return 0; fi
    verdict 1 "$words"; echo "# failed: $*"; sed 's/^/# /' "$work/.check" | tail -20
    return 1
}

near()
{
    check "$1: $2 is $3 within $4" awk -v a="$2" -v b="$3" -v t="$4" \
        'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d <= t) }'
}

skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
