# each.sh: a program sees every image of a stream and answers by a line of JSON; one that fails takes no image with it.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
track=$here/../../docs/track.py
kray simulate shepplogan -q -o scan.h5 -m 32,32 --slices 3 --coils 3
kray convert scan.h5 -q -o scan.bin
kray recon scan.h5 -q -o want.npy --method rss
stream() { kray stream -c rss "$@" <scan.bin >answer.bin; }
texts() { strings answer.bin | grep "$1"; }
whole() { kray convert answer.bin -q -o got.npy && cmp got.npy want.npy; }

stream --each "python3 '$track'" 2>log
check 'the program sees three images' [ "$(texts '^DBG each {"repetition": 0, "x_mm": ' | wc -l)" = 3 ]
check 'its lines are JSON, also on stderr' [ "$(grep -c '"y_mm"' log)" = 3 ]
check 'the images are as without it, CLOSE is last' bash -c "$(declare -f whole kray); KR_BUILD=$KR_BUILD; whole && [ \$(tail -c 2 answer.bin | od -An -tu2) = 4 ]"
check 'the place is right: a head is in the middle' awk -F'"x_mm": ' '/x_mm/ { x = $2 + 0; if (x < -10 || x > 10) exit 1; n++ } END { exit n != 3 }' log
failing() { refuses 1 "$1" stream "${@:2}"; stream "${@:2}" 2>/dev/null; check 'and the images are there' whole; }
failing 'has ended without a line' --each true
failing "answers 'hello', and a line of JSON is wanted" --each 'echo hello; cat >/dev/null'
failing 'does not answer an image within 0.3 s' --each 'sleep 100' --timeout 0.3
failing 'has ended without a line' --each ./there-is-no-such-program
check 'the client is told once for each image that nobody saw' [ "$(stream --each true 2>/dev/null; texts '^WRN --each' | wc -l)" = 1 ]
refuses() { local code=$1 words=$2; shift 2; "$@" >"$out" 2>"$err"; local s=$?; check "refused: $words" [ "$s" = "$code" -a "$(grep -cF -- "$words" "$err")" -ge 1 ]; }
refuses 2 '--each is empty' stream --each ''
refuses 2 '--timeout is for --each' stream --timeout 3

# ---- The server ----
"$KR_BUILD/tools/kray" serve --port 0 --each "python3 '$track'" 2>server.log &
server=$!
for i in $(seq 300); do port=$(sed -n 's/.*listening at 127.0.0.1:\([0-9]*\).*/\1/p' server.log); [ -n "$port" ] && break; sleep 0.1; done
check 'two clients' bash -c "\"$KR_BUILD/tools/kray\" send scan.h5 -o a.npy -c rss --port $port -q & \"$KR_BUILD/tools/kray\" send scan.h5 -o b.npy -c rss --port $port -q && wait && cmp a.npy want.npy && cmp b.npy want.npy"
check 'each with a program of its own, in the log' [ "$(grep -c 'session=[12] each={' server.log)" = 6 ]
kill -TERM $server; wait $server
check 'nothing is left running' bash -c "! pgrep -f '[p]ython3 $track' >/dev/null"
