# realtime.sh: frames by a sliding window: as many as were asked for, each that of its readouts; a new scene takes over; what comes too fast is dropped and counted.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
samples=128 coils=4 line=$((342 + 8 * 128 + 8 * 128 * 4))
scan() { kray simulate "$1" -q -o "$2".h5 --matrix 64,64 --slices 1 --coils $coils --snr 0 --traj "radial:spokes=$3,angle=golden,start=$4"; kray convert "$2".h5 -o "$2".bin -q; }
stream() { kray stream -q -c "$1" <"$2" >answer.bin 2>stream.log && kray convert answer.bin -q -o "$3"; }
frames() { kray info "$1" --json | sed -n 's/.*"time": \([0-9]*\).*/\1/p'; }
last() { kray stream -q -c "$1" <"$2" >answer.bin; tail -c $((2 + 64 * 64 * 4)) answer.bin | head -c $((64 * 64 * 4)) >"$3"; }
nrmse() { od -An -v -tf4 -w4 "$1" >one.txt; od -An -v -tf4 -w4 "$2" >two.txt; paste one.txt two.txt | awk '{ d += ($1 - $2) ^ 2; s += $2 ^ 2 } END { print sqrt(d / s) }'; }
follow='{"method":"wavelet","spokes":13,"window":65'

# ---- A window along a trajectory ----
scan shepplogan a 156 0
works '' stream "$follow}" a.bin a.npy
check '156 readouts are a window of 65 and 7 frames of 13' [ "$(frames a.npy)" = 8 ]
scan shepplogan end 65 $(awk 'BEGIN { print (91 * 111.2461179749811) % 360 }')
last "$follow}" a.bin followed.raw
last '{"method":"wavelet"}' end.bin alone.raw
near 'the last frame is the image of its own readouts, which was begun at nothing' 0 "$(nrmse followed.raw alone.raw)" 0.05
last "$follow,\"iterations\":20}" a.bin longer.raw
near 'and nearer to it with more iterations' 0 "$(nrmse longer.raw alone.raw)" 0.03
scan brain b 156 0
size=$(stat -c %s a.bin)
{ head -c $((size - 2 - 78 * line)) a.bin; tail -c $((2 + 78 * line)) b.bin; } >changed.bin
last "$follow}" changed.bin changed.raw
last "$follow}" b.bin b.raw
near 'another object takes over' 0 "$(nrmse changed.raw b.raw)" 0.1
check 'which is not the first' awk -v x="$(nrmse followed.raw b.raw)" 'BEGIN { exit !(x > 0.5) }'
KR_THREADS=2 last "$follow}" a.bin two.raw
check 'the same bits on two threads' cmp followed.raw two.raw
works '' stream '{"method":"sense","spokes":13,"iterations":10}' a.bin s.npy
check 'a method that begins anew for every frame; a window of five frames' [ "$(frames s.npy)" = 8 ]
head -c $((size - 2 - 100 * line)) a.bin >short.bin
works '' stream "$follow}" short.bin short.npy
check 'fewer readouts than a window are one frame' [ "$(kray info short.npy --json | grep -c '"time"')" = 0 ]
{ head -c $((size - 2 - 8 * line)) a.bin; tail -c 2 a.bin; } >over.bin
works '' stream "$follow}" over.bin over.npy
check 'what is left over is told' bash -c "strings answer.bin | grep -q '5 readouts at the end make no whole frame'"

# ---- Cartesian lines: the last of each counts ----
kray simulate shepplogan -q -o c.h5 -m 32,32 --slices 2 --coils 3
kray convert c.h5 -o c.bin -q
row=$((342 + 8 * 64 * 3)) all=$(stat -c %s c.bin)
{ head -c $((all - 2)) c.bin; tail -c $((2 + 64 * row)) c.bin | head -c $((64 * row)); tail -c $((2 + 64 * row)) c.bin; } >twice.bin
works '' stream '{"method":"rss","spokes":8,"window":32}' twice.bin twice.npy
kray recon c.h5 -q -o once.npy --method rss
check 'nine frames of two slices' bash -c "strings answer.bin | grep -c '\"ImageType' >/dev/null; [ \$(\"$KR_BUILD/tools/kray\" info twice.npy --json | tr -d ' \n' | grep -c '\"slice\":2,\"time\":9') = 1 ]"
check 'frames of a still object are those of the scan, bit for bit' bash -c "for k in 1 5 9; do tail -c \$((k * 2 * 32 * 32 * 4)) twice.npy | head -c \$((2 * 32 * 32 * 4)) | cmp - <(tail -c \$((2 * 32 * 32 * 4)) once.npy) || exit 1; done"

# ---- Too fast ----
"$KR_BUILD/tools/kray" serve --port 0 --threads 1 2>server.log &
server=$!
for i in $(seq 300); do port=$(sed -n 's/.*listening at 127.0.0.1:\([0-9]*\).*/\1/p' server.log); [ -n "$port" ] && break; sleep 0.1; done
scan shepplogan long 650 0
kray send long.h5 -o fast.npy -c "$follow,\"iterations\":40}" --port "$port" 2>send.log
check 'frames that come too fast are dropped, and the client is told' bash -c 'grep -q "frames come faster than images are made" send.log && grep -q "[0-9]* of 46 frames were dropped" send.log'
dropped=$(sed -n 's/.* \([0-9]*\) of 46 frames were dropped.*/\1/p' send.log)
check 'each is an image or counted' bash -c "grep -q 'images_out=$((46 - dropped)) failed=0 dropped=$dropped ' server.log"
check 'also in the figures of the server' bash -c "\"$KR_BUILD/tools/kray\" serve --status --port $port | grep -q '\"dropped\": $dropped,'"
kray send long.h5 -o kept.npy -q -c "$follow,\"iterations\":1,\"late\":\"keep\"}" --port "$port"
check '"late": "keep" makes them all' [ "$(frames kept.npy)" = 46 ]
kill -TERM $server; wait $server

# ---- Refused ----
tell() { kray stream -q -c "$1" <a.bin >/dev/null; }
said() { refuses 1 "$1" tell "$2"; }
refuses() { local code=$1 words=$2; shift 2; "$@" >"$out" 2>"$err"; local s=$?; check "refused: $words" [ "$s" = "$code" -a "$(grep -cF -- "$words" "$err")" -ge 1 ]; }
said 'is shorter than a frame ("spokes": 13)' '{"method":"wavelet","spokes":13,"window":12}'
said '"window" (12 readouts) is for frames' '{"method":"wavelet","window":12}'
said 'llr works on a whole series' '{"method":"llr","spokes":13}'
said 'is a number of readouts, 1 to 65535' '{"method":"wavelet","spokes":0}'
said '"late" is drop, keep' '{"method":"wavelet","spokes":13,"late":"maybe"}'
said 'no part "optons": did you mean "options"?' '{"method":"wavelet","optons":{"lambda":0.1}}'
said 'did you mean "method" by "metod"?' '{"metod":"wavelet"}'
