#!/bin/bash
# hostile.sh: files made to break, to blow up, to hang or to mislead, and a command that is told to stop. Each costs a sentence and
# little else. Processor seconds are limited, far above what is needed, so that a hang fails here and not the whole suite.
. "$(dirname "$0")/lib.sh"
cases=$KR_SHARED/cases
# The command alone, so that it can be stopped and limited.
exe=$KR_BUILD/tools/kray
asan=$(grep -c __asan_init "$exe")
seconds() { local most=$1; shift; (ulimit -t "$most"; exec "$@"); }

printf 'NDims = 2\nDimSize = 4 4\nElementType = MET_FLOAT\nHeaderSize = 4e89\nElementDataFile = LOCAL\n' >header.mha
head -c 64 /dev/zero >>header.mha
refuses 1 'HeaderSize 4e89' kray convert header.mha -o x.npy
# ---- Weights that take more time or memory than their length allows ----
if [ -d "$cases" ]; then
    refuses 1 'there are no tensors' seconds 20 "$exe" weights info "$cases/memoize.pt"
    refuses 1 'more than a file of this length sensibly holds' seconds 20 "$exe" weights info "$cases/amplify.pt"
    works 'layer.59999.weight' seconds 40 "$exe" weights info "$cases/many_names.pt"
    refuses 1 'leave a hole or overlap' "$exe" weights info "$cases/overlap.safetensors"
    refuses 1 'a link to another file, external_target.h5' "$exe" recon "$cases/external_link.h5:kspace@slice,coil,y,x" -o x.npy
    for f in hdf5_attr_exists_overread hdf5_copy_divide_by_zero; do
        works 'is damaged' "$exe" info "$cases/$f.h5"
    done
else
    skip 'files made to break Kray' "$cases is absent"
fi

# ---- Pipes where files are wanted ----
mkfifo pipe.pt pipe.yaml pipe.hdr pipe.h5
cp "$here/../fuzz/corpus/weights/kray.safetensors" w.safetensors
refuses 1 'pipe.pt is not a plain file, but a pipe' timeout 60 "$exe" weights info pipe.pt
refuses 1 'pipe.yaml is not a plain file, but a pipe' timeout 60 "$exe" weights info w.safetensors --config pipe.yaml
refuses 1 'pipe.h5: is not a plain file, but a pipe' timeout 60 "$exe" info pipe.h5
refuses 1 'pipe' timeout 60 "$exe" info pipe
refuses 1 '/dev/stdin: is not a plain file, but a pipe' bash -c "echo hello | $exe info /dev/stdin"

# ---- More threads than any machine has ----
kray simulate shepplogan -q -o few.h5 -m 32,32 --slices 1 --coils 4
for c in 'recon few.h5 -o x.npy' 'coils few.h5 -o x.npy' 'snr few.h5 -o x.npy' 'ct phantom -o x.npy' 'serve --port 0' 'bench grappa -n 1'; do
    for n in 100000 -1; do refuses 2 "--threads $n: 1 to 256 are possible" "$exe" $c --threads $n; done
done

# ---- One file of several holds what is no number: which, how many, and where ----
mkdir several
for i in 1 2; do array several/$i.cfl x=16,y=12,coil=2 blob phase=1; done
printf '\0\0\300\177' | dd of=several/2.cfl bs=1 seek=$((8 * (16 * 12 + 16 * 5 + 3))) conv=notrunc 2>/dev/null
refuses 1 'several/2.cfl: the k-space data hold numbers that are not finite: 1 of 384, the first at x 3, y 5, coil 1' kray recon several -o done -m rss
check 'the other one is done' [ -s done/1.nii.gz ]
printf '# Dimensions\n-64 48 1 6\n' > minus.hdr
cp several/1.cfl minus.cfl
refuses 1 "make no sense: '-64 48 1 6'" kray info minus.cfl

# ---- Words of a mask or trajectory that are there twice: neither is dropped ----
refuses 2 'mask random:accel=4,accel=2: accel is given twice' kray mask random:accel=4,accel=2 --shape y=32
refuses 2 'lines is a number of at least 0' kray mask random:accel=4,lines=-1 --shape y=32
refuses 2 'spokes is given twice' kray simulate shepplogan --traj radial:spokes=4,spokes=5 -o twice.h5 -m 32,32
refuses 2 'steps is given twice' kray simulate shepplogan --motion steps=1,steps=2 -o twice.h5 -m 32,32
# ---- Masks and maps that are none ----
array weights.npy y=32 blob
printf '\0\0\200\277' | dd of=weights.npy bs=1 seek=$(($(stat -c %s weights.npy) - 4)) conv=notrunc 2>/dev/null      # -1
refuses 1 'the mask holds negative numbers, such as -1' kray recon few.h5 -o x.npy -u weights.npy@y -m rss
kray simulate shepplogan -q -o slices.h5 -m 32,32 --slices 2 --coils 4
kray coils few.h5 -o one.cfl -q
works 'the coil maps are of one slice, the scan has 2' kray recon slices.h5 -o x.npy -c one.cfl -m sense

# ---- Little room for addresses: OpenBLAS waits without end for its buffers ----
kray simulate shepplogan -q -o scan.h5 -m 32,32 --slices 1 --coils 4
if [ "$asan" != 0 ]; then
    skip 'a limited address space' 'the sanitizer needs more'
else
    check 'info ends where the address space is limited' bash -c "(ulimit -v 250000 -t 30; $exe info scan.h5) >limited.txt 2>&1 || grep -q 'no memory' limited.txt"
    check 'so does recon' bash -c "(ulimit -v 700000 -t 60; $exe recon scan.h5 -q -o limited.npy) >limited.txt 2>&1 || grep -q 'no memory' limited.txt"
    for m in grappa spirit 'spirit --l1 0'; do       # what has no room is not called undecided; where there is too little to begin, the loader says so
        check "$m names the memory" bash -c "(ulimit -v 150000 -t 60; $exe recon scan.h5 -q -u equispaced:accel=2,lines=16 -o limited.npy --method $m) >limited.txt 2>&1 || grep -qE 'no memory|allocate memory|map segment' limited.txt"
    done
fi

# ---- Told to stop: at once, or within some seconds; nothing half done is left under the name of the output ----
stops()   # SIGNAL CODE command...
{
    local signal=$1 code=$2 status pid from; shift 2
    "$@" >"$out" 2>"$err" </dev/null &
    pid=$!
    sleep 1
    kill -"$signal" $pid
    from=$SECONDS
    wait $pid
    status=$?
    [ $status = 0 ] || [ $status = "$code" ]
    verdict $? "$signal ends $* with $code ($status)"
    [ $((SECONDS - from)) -le 20 ]           # 2 s and what a busy machine adds
    verdict $? "it does not go on for long"
}
stops TERM 143 "$exe" simulate shepplogan -q -o large.h5 -m 160,160,128 --coils 8
check 'nothing stands under its name' [ ! -e large.h5 ]

# ---- Killed while writing: what is left is known by its name, and the next job clears it; others' folders stay ----
host=$(uname -n | tr '/-' '__')
dead=$(bash -c 'echo $$')                        # a process that is no more
mkdir -p place/".kray-$host-$dead-AbCdEf" place/".kray-$host-$$-AbCdEf" place/".kray-elsewhere-$dead-AbCdEf"
echo half >place/".kray-$host-$dead-AbCdEf/image.npy"
works '' kray recon scan.h5 -q -o place/image.npy --method rss
check 'the folder of the dead is gone' [ ! -e place/".kray-$host-$dead-AbCdEf" ]
check 'that of a living process stays' [ -d place/".kray-$host-$$-AbCdEf" ]
check 'that of another machine stays' [ -d place/".kray-elsewhere-$dead-AbCdEf" ]
check 'nothing else is left' [ "$(ls -A place | wc -l)" = 4 ]
mkdir -p planted victim planted/".kray-$host-$dead-ZyXwVu/deep" && echo precious >victim/a.txt
ln -s ../victim planted/".kray-$host-$dead-LiNkEd"               # a link under such a name, and one in such a folder, lead nowhere
ln -s ../../victim/a.txt planted/".kray-$host-$dead-ZyXwVu/deep/a.txt"
works '' kray recon scan.h5 -q -o planted/image.npy --method rss
check 'what planted links lead to stays' [ "$(cat victim/a.txt)" = precious ]
check 'a folder of the dead goes with all that is in it' [ ! -e planted/".kray-$host-$dead-ZyXwVu" ]
for n in 1 2 3 4 5 6 7 8; do
    "$exe" simulate shepplogan -q -o place/scan.h5 -m 96,96 --slices 2 --coils 4 2>/dev/null &
    pid=$!
    sleep 0.0$((n * 11 % 10))$n
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -e place/scan.h5 ]; then kray info place/scan.h5 >/dev/null 2>&1 || echo broken >killed.txt; fi
done
check 'what stands under the name after kill -9 is whole' [ ! -e killed.txt ]
works '' kray simulate shepplogan -q -o place/scan.h5 -m 32,32 --slices 1 --coils 2
check 'nothing of the killed is left' [ "$(ls -A place | wc -l)" = 5 ]

# ---- Control characters of a file stay off the terminal ----
if [ -d "$cases" ]; then
    works 'AX\x1b[31m' kray info "$cases/terminal_escape.h5"
    check 'no control character is printed' bash -c "! cat '$out' '$err' | LC_ALL=C grep -q '[[:cntrl:]]'"
    kray info "$cases/terminal_escape.h5" --json >escape.json
    check 'nor in JSON' bash -c "! LC_ALL=C grep -q '[[:cntrl:]]' escape.json"
fi
esc=$(printf 'a\033[31mb.h5')
refuses 1 'a\x1b[31mb.h5: there is no such file' kray info "$esc"
check 'nor from the command line' bash -c "! LC_ALL=C grep -q '[[:cntrl:]]' '$err'"
