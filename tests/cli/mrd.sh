# mrd.sh: kray serve, send and stream: images come back as kray recon makes them, bit for bit; errors are told; nothing is lost.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
kray simulate shepplogan -q -o scan.h5 -m 32,32 --slices 3 --coils 3
mkdir recipes saved
echo '{"method": "sense", "options": {"lambda": 0.1}, "comment": "of the test"}' >recipes/mine.json
server=0

start()   # options of the server
{
    : >server.log
    "$KR_BUILD/tools/kray" serve --port 0 "$@" 2>server.log &
    server=$!
    for i in $(seq 300); do
        port=$(sed -n 's/.*listening at 127.0.0.1:\([0-9]*\).*/\1/p' server.log)
        [ -n "$port" ] && return
        sleep 0.1
    done
}
stop() { kill -TERM $server; wait $server; [ $? = 143 ]; }
send() { kray send "$@" --port "$port" -q; }
until_log() { for i in $(seq 100); do grep -q "$1" server.log && return; sleep 0.1; done; return 1; }

start --recipes recipes --save saved
check 'the server listens' [ -n "$port" ]

# ---- The same bits as kray recon ----
for method in rss sense; do
    kray recon scan.h5 -q -o recon.npy --method $method
    works '' send scan.h5 -o sent.npy -c $method
    check "$method: the same numbers, three slices" cmp sent.npy recon.npy
done
phantom=$KR_SHARED/data/mri/phantom_14ch_R3_acs_ismrmrd.h5
if [ -f "$phantom" ]; then
    for method in auto grappa; do
        kray recon "$phantom" -q -o recon.npy --method $method
        works '' send "$phantom" -o sent.npy -c $method
        check "$method: the same numbers, a scan of a scanner" cmp sent.npy recon.npy
    done
else
    skip 'a scan of a scanner' 'it is absent'
fi
works '' send scan.h5 -o sent.nii.gz -c rss
kray recon scan.h5 -q -o recon.nii.gz --method rss
check 'and the same places' [ "$(kray info sent.nii.gz --json | grep -A9 affine)" = "$(kray info recon.nii.gz --json | grep -A9 affine)" ]

# ---- Configurations ----
kray recon scan.h5 -q -o recon.npy --method sense --lambda 0.1
works '' send scan.h5 -o sent.npy -c mine
check 'a recipe is the method with its options' cmp sent.npy recon.npy
works '' send scan.h5 -o sent.npy -c '{"method":"sense","options":{"lambda":0.1}}'
check 'so is JSON' cmp sent.npy recon.npy
works '' send scan.h5 -o sent.npy -c '{"parameters":{"config":"sense","lambda":"0.1","customconfig":""}}'
check 'and FIRE says the same in its way' cmp sent.npy recon.npy
refuses 1 "there is no configuration 'nonsense'; known are auto, rss" send scan.h5 -o x.npy -c nonsense
refuses 1 'nearest to it here is' send scan.h5 -o x.npy -c Generic_Cartesian_Grappa.xml
refuses 1 "has no option 'lamda': did you mean 'lambda'" send scan.h5 -o x.npy -c '{"method":"sense","lamda":1}'
refuses 1 "there is no configuration '../recipes/mine'" send scan.h5 -o x.npy -c ../recipes/mine
refuses 1 'names without folders' send scan.h5 -o x.npy -c '{"method":"rim","weights":"/etc/passwd"}'
echo '{"method": "rss"}' >recipes/later.json
refuses 1 "no configuration 'later'" send scan.h5 -o x.npy -c later
kill -HUP $server
until_log '2 recipes'
works '' send scan.h5 -o sent.npy -c later
works '' send scan.h5 -o sent.h5 -c '{"method":"rss","pixels":"ushort"}'
check 'whole numbers of 12 bits' bash -c "\"$KR_BUILD/tools/kray\" convert sent.h5 -o whole.npy -q && [ -s whole.npy ]"

# ---- Clients that do not behave ----
vanish() { exec 5<>"/dev/tcp/127.0.0.1/$port"; head -c "$1" saved.bin >&5; exec 5>&-; }
answer() { exec 5<>"/dev/tcp/127.0.0.1/$port"; cat "$1" >&5; timeout 10 cat <&5 >answer.bin; exec 5>&-; }
works '' kray convert scan.h5 -o saved.bin -q
works '' send saved.bin -o echoed.bin -c echo
check 'echo sends every line back' [ "$(tail -c 20000 saved.bin | cksum)" = "$(tail -c 20000 echoed.bin | cksum)" ]
for n in 0 1 7 1000 5000; do vanish $n; done
printf 'GET / HTTP/1.0\r\n\r\n' >garbage
answer garbage
check 'garbage is answered with text and CLOSE' bash -c "strings answer.bin | grep -q '^ERR message 1' && [ \$(tail -c 2 answer.bin | od -An -tu2) = 4 ]"
for i in $(seq 100); do kray serve --status --port "$port" >status.txt && grep -q '"open": 1,' status.txt && break; sleep 0.1; done
check 'clients that vanished are gone; one asks' grep -q '"open": 1,' status.txt
works '' send scan.h5 -o sent.npy -c rss

# ---- Nothing is lost ----
check 'a graceful stop' stop
check 'the journals became files' bash -c '! ls saved/*.part 2>/dev/null && [ $(ls saved/*.h5 | wc -l) -ge 10 ]'
kray recon scan.h5 -q -o recon.npy --method rss
kray recon "$(ls saved/*.h5 | sort -t- -k5 -n | tail -1)" -q -o kept.npy --method rss
check 'and hold the scan' cmp kept.npy recon.npy
rm -f saved/*
start --save saved
exec 5<>"/dev/tcp/127.0.0.1/$port"
size=$(stat -c %s saved.bin)
head -c $((size * 9 / 10)) saved.bin >&5
for i in $(seq 100); do [ "$(cat saved/*.part 2>/dev/null | wc -c)" -gt $((size * 8 / 10)) ] && break; sleep 0.1; done
kill -9 $server
wait $server 2>/dev/null
exec 5>&-
check 'killed in the middle of a scan' bash -c 'ls saved/*.part'
start --save saved
check 'the next start makes a file of what there is' bash -c '! ls saved/*.part 2>/dev/null && ls saved/*.h5'
check 'up to the last whole line' bash -c "\"$KR_BUILD/tools/kray\" info saved/*.h5 | grep -q 'lines  *[5-8][0-9] imaging'"
# What runs is finished when the server is asked to stop: the first slice is on its way, and its image comes.
kray simulate shepplogan -q -o long.h5 -m 128,128 --slices 3 --coils 4
kray send long.h5 -o late.npy -c '{"method":"wavelet","iterations":400,"tolerance":0}' --port "$port" 2>send.log &
sender=$!
for i in $(seq 300); do [ "$(cat saved/*.part 2>/dev/null | wc -c)" -gt 2000000 ] && break; sleep 0.1; done
check 'a graceful stop while it works' stop
wait $sender
check 'the client is told, and has an image of what ran' bash -c 'grep -q "the server is stopping" send.log && [ -s late.npy ]'
start --save saved
refuses 1 'nobody answers' kray send scan.h5 -o x.npy --port 1 --wait 0
refuses 2 'a server takes no files' kray serve scan.h5
refuses 2 'where should the images go' kray send scan.h5
check 'stopped again' stop

# ---- As the systemd unit and the container start it ----
docs=$here/../../docs
unit=$(sed -n 's|^ExecStart=/usr/local/bin/kray serve||p' "$docs/kray-serve.service") container=$(sed -n 's/^CMD \["kray", "serve", //p' "$docs/Containerfile" | tr -d '",]')
for words in "$unit" "$container"; do
    words=$(echo "$words" | sed "s|/var/lib/kray|$work/state|g; s| /scans| $work/state/scans|; s| /weights| $work/state|; s/--port [0-9]*//; s/0\.0\.0\.0/127.0.0.1/")
    mkdir -p state
    start $words
    check "kray serve $words" [ -n "$port" ]
    works '' send scan.h5 -o sent.npy -c rss
    check 'stopped' stop
    check 'what came is kept' bash -c 'ls state/scans/*.h5'
    rm -r state
done

# ---- A stage of a pipe ----
kray recon scan.h5 -q -o recon.npy --method rss
check 'kray stream' bash -c "\"$KR_BUILD/tools/kray\" convert scan.h5 -o - --to mrdstream -q | \"$KR_BUILD/tools/kray\" stream -q -c rss >answer.bin"
kray convert answer.bin -q -o piped.npy
check 'gives the same numbers' cmp piped.npy recon.npy
refuses 2 'comes from standard input' kray stream scan.h5
