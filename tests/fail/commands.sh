# commands.sh: the n-th allocation of a command fails (KR_FAIL_ALLOC=n): exit 1, a sentence about memory, no crash, and no
# output. test_memory.c does it for every n and every job of the library; this is the way through the commands.
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh"

survives()   # OUTPUT|- command...
{
    local output=$1 n status done=0 bad=""
    shift
    for n in 1 2 3 4 5 7 10 14 20 28 40 56 80 112 160 226 320 452 640 905 1280 1810 2560; do
        [ "$output" = - ] || rm -f "$output"
        KR_FAIL_ALLOC=$n "$@" >"$out" 2>"$err" </dev/null
        status=$?
        if [ $status = 0 ]; then                            # fewer allocations than n: so for all larger n
            done=$((done + 1))
            [ $done -ge 2 ] && break
            continue
        fi
        if [ $done -gt 0 ]; then bad="n=$n fails, a smaller one did not"
        elif [ $status != 1 ]; then bad="n=$n: exit $status"
        elif ! grep -q '^kray: .*no memory' "$err"; then bad="n=$n: no sentence about memory"
        elif [ "$output" != - ] && [ -e "$output" ]; then bad="n=$n: $output is there"
        elif [ -n "$(find . -name '.kray-*')" ]; then bad="n=$n: $(find . -name '.kray-*') is left behind"
        fi
        [ -n "$bad" ] && break
    done
    [ -z "$bad" ] && [ $done -gt 0 ]
    verdict $? "survives $*"
    [ -z "$bad" ] || { echo "# $bad"; told; }
}

kray simulate shepplogan -q -o scan.h5 --matrix 16,16 --slices 2 --coils 3
kray recon -q scan.h5 -o image.npy --method rss
cp image.npy other.npy
cp image.npy.json other.npy.json
kray mask -q random:accel=2 --shape 24,24 -o mask.npy >/dev/null

survives - kray --help
survives - kray help recon
survives - kray mask --help
survives poisson.npy kray mask poisson:accel=2,calib=4 --shape 24,24 -o poisson.npy
survives out.nii kray recon scan.h5 -o out.nii -u uniform:accel=2,lines=16
survives out.png kray recon scan.h5 -o out.png --method rss
survives scan.cfl kray convert scan.h5 scan.cfl
survives maps.npy kray coils scan.h5 -o maps.npy
survives new.h5 kray simulate shepplogan -o new.h5 --matrix 8,8 --slices 1 --coils 2
survives report.html kray report --target image.npy one=other.npy -o report.html
survives - kray info scan.h5
survives - kray mask --show mask.npy
survives - kray eval --target image.npy --recon other.npy
