# example.sh: the example program of the library, compiled as C and as C++.
. "$(dirname "$0")/lib.sh"

check 'the example has less than 30 lines' [ "$(wc -l <"$here/../../docs/example.c")" -lt 30 ]
kray simulate -m 96 -s 3 -c 6 --snr 60 --undersample uniform:accel=2,lines=24 -o scan.h5 --reference truth.nii.gz -q
for program in example example-cpp; do
    [ -x "$KR_BUILD/tests/$program" ] || { skip "$program" 'no C++ compiler'; continue; }
    works 'image {x=96 y=96 slice=3}' "$KR_BUILD/tests/$program" scan.h5 $program.nii.gz
    kray eval --target truth.nii.gz --recon $program.nii.gz --scale fit --csv scores.csv -q >"$out"
    check 'its image is the object' awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "nmse") at = i }
        $0 ~ /volume/ { good = $at > 0 && $at < 0.005 } END { exit !good }' scores.csv
    refuses 1 'there is no such file' "$KR_BUILD/tests/$program" none.h5 none.nii.gz
    refuses 2 'usage' "$KR_BUILD/tests/$program"
done
