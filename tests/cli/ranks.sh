# ranks.sh: a study under mpirun: the images of one machine, one log, one table; a rank that dies ends the run, and --resume does the rest.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
mkdir study
for k in 1 2 3 4 5 6 7; do kray simulate shepplogan -q -o study/s$k.h5 -m 32,32 --slices $((k % 3 + 1)) --coils 3; done
kray recon study/ -q -o one/ --to npy --method sense --iterations 8
OMPI_COMM_WORLD_SIZE=4 kray recon study/ -q -o x/ --to npy >plain.txt 2>&1
if grep -q 'built without MPI' plain.txt; then
    check 'without MPI it does not run four times the same' [ ! -e x ]
    skip 'ranks' 'this build has no MPI (-Dmpi=enabled)'
    exit
fi
if ! command -v mpirun >/dev/null; then skip 'ranks' 'there is no mpirun'; exit; fi
ranks() { timeout 120 mpirun -n 4 --oversubscribe --allow-run-as-root --bind-to none "$KR_BUILD/tools/kray" recon study/ --to npy --method sense --iterations 8 "$@"; }
works '7 files' ranks -o four/
check 'the same bits' bash -c 'for f in one/*.npy; do cmp $f four/${f#one/} || exit 1; done'
check 'one table' [ "$(grep -c ',done,sense,' four/kray-table.csv)" = 7 ]
check 'several ranks had a part in it' bash -c '[ $(cut -d, -f6 four/kray-table.csv | sort -u | wc -l) -ge 3 ]'
check 'one log' bash -c '[ $(grep -c "rank [0-3]: .*s[1-7].npy" four/kray-log.txt) = 7 ] && cut -c1-19 four/kray-log.txt | sort -c'
rm four/s3.npy four/s5.npy
works '' ranks -o four/ --resume
check 'resume does the rest alone' bash -c '[ $(grep -c ",done," four/kray-table.csv) = 2 ] && [ $(grep -c ",already there," four/kray-table.csv) = 5 ]'
head -c 3000 study/s2.h5 >broken; mv broken study/s2.h5
refuses 1 '1 of 7 failed; the others are done' ranks -o five/
check 'a bad file ends nothing' bash -c '[ $(ls five/*.npy | wc -l) = 6 ] && grep -q "s2.npy,failed" five/kray-table.csv'
refuses 2 '--shard is for runs' ranks -o six/ --shard 1/2

# ---- One file: its slices ----
kray simulate brain -q -o volume.h5 -m 48,48 --slices 7 --coils 4 -u random:accel=2,center=0.2,seed=1
kray simulate brain -q -o radial.h5 -m 32,32 --slices 5 --coils 4 --traj radial:spokes=24
together() { timeout 300 mpirun -n 4 --oversubscribe --allow-run-as-root --bind-to none "$KR_BUILD/tools/kray" recon "$@"; }
one() { kray recon "$@" -o alone.npy -q 2>/dev/null && together "$@" -o together.npy -q 2>together.log && cmp alone.npy together.npy; }
for method in auto wavelet sense grappa spirit nlinv tgv; do
    check "$method: the slices of one file on four ranks, the same bits" one volume.h5 --method $method
done
check 'along a trajectory' one radial.h5 --method wavelet
check 'two threads in each rank' env KR_THREADS=2 bash -c '"$@"' - "$KR_BUILD/tools/kray" recon volume.h5 --method sense -o alone.npy -q
check 'the same bits again' bash -c "KR_THREADS=2 timeout 300 mpirun -n 3 --oversubscribe --allow-run-as-root --bind-to none '$KR_BUILD/tools/kray' recon volume.h5 --method sense -o together.npy -q && cmp alone.npy together.npy"
together volume.h5 --method wavelet -o v.npy -v 2>ranks.log
check 'what slices say comes from all ranks, the rest once' bash -c '[ $(grep -o "rank [0-3]:" ranks.log | sort -u | wc -l) -ge 3 ] && [ $(grep -c "^kray: v.npy" ranks.log) = 1 ]'
together radial.h5 --method rss -o r.npy 2>ranks.log
check 'a method that is not dealt out says so' grep -q 'nothing to deal out' ranks.log
refuses 2 'slices of one file are dealt out, and a sweep' together volume.h5 -o x.npy --method wavelet --lambda 1e-3:1e-1:3
works 'already there' together volume.h5 --method wavelet -o v.npy --resume
together study/s2.h5 -o x.npy 2>ranks.log
check 'a file that cannot be read is told of once' [ $? = 1 -a "$(grep -c s2.h5 ranks.log)" = 1 ]
rm -f v.npy
together volume.h5 --method wavelet --iterations 100000 --tolerance 0 -o v.npy -q >/dev/null 2>dead.log &
run=$!
for i in $(seq 100); do worker=$(pgrep -P "$(pgrep -d, -P "$(pgrep -d, -P "$(pgrep -d, -P $run)")")" 2>/dev/null | tail -1); [ -n "$worker" ] && break; sleep 0.1; done
sleep 2
kill -9 $worker
wait $run
status=$?
check "a rank that dies ends the run with an error ($status), and there is no half image" [ $status = 1 -a ! -e v.npy ]
works '' together volume.h5 --method wavelet -o v.npy --resume
kray recon volume.h5 --method wavelet -o alone.npy -q
check 'resume makes it' cmp v.npy alone.npy

# ---- A rank that dies ----
# A rank is killed by what runs on its first image.
mkdir bits
ranks -o bits/ -q --then 'f={image}; case $f in *s4*) kill -9 $PPID;; esac' >/dev/null 2>dead.log
status=$?
check "a rank that dies ends the run with an error ($status)" [ $status = 1 ]
check 'which is told' grep -q 'a rank was ended by a signal: Killed' dead.log
check 'finished images are whole' bash -c 'n=0; for f in bits/*.npy; do cmp $f one/${f#bits/} || exit 1; n=$((n + 1)); done; [ $n -ge 1 ]'
ranks -o bits/ -q --resume 2>/dev/null
check 'resume does the rest' bash -c 'for k in 1 3 4 5 6 7; do cmp bits/s$k.npy one/s$k.npy || exit 1; done'
