# study.sh: kray study: volumes measured anew, reconstructed, segmented and scored; scans that were measured; refusals.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
. "$here/meshnet.sh"
threshold_model > model.json
kray simulate brain -o scan.h5 -r t1.nii.gz --matrix 40,40 --slices 8 --coils 4 --snr 0 -q
works 'R4' kray study t1.nii.gz -o study --methods rss,sense --accelerations 2,4 --snr 20 --coils 4 -u 'equispaced:accel={R},center=0.2,seed=1'
cell() { awk -F, -v s="$1" -v c="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i } $1 == s { print $k }' study/study.csv; }
check 'four settings' [ "$(wc -l < study/study.csv)" = 5 ]
check 'zero-filling too' awk -v a="$(cell rss-R2-snr20 nmse)" -v b="$(cell rss-R4-snr20 nmse)" 'BEGIN { exit !(a < b && a > 0) }'
check 'and a smaller acceleration above a larger' awk -v a="$(cell sense-R2-snr20 ssim)" -v b="$(cell sense-R4-snr20 ssim)" 'BEGIN { exit !(a > b) }'
check 'all is there to go on with' [ -s study/scans/t1-snr20.h5 -a -s study/truth/t1.nii.gz -a -s study/images/sense-R4-snr20/t1.nii.gz -a -s study/images.csv ]
check 'the page has plots' grep -q '<svg viewBox' study/study.html
check 'and the report pictures' grep -q 'data:image' study/report.html
# What is there and made from the same is kept; what was changed is made again; a method more makes that alone.
stamp() { stat -c %y study/images/rss-R2-snr20/t1.nii.gz; }
before=$(stamp)
works '' kray study t1.nii.gz -o study --methods rss,sense,wavelet --accelerations 2 --snr 20 --coils 4 -u 'equispaced:accel={R},center=0.2,seed=1'
check 'images are kept' [ "$before" = "$(stamp)" ]
check 'and the new method is there' [ -n "$(cell wavelet-R2-snr20 ssim)" ]
echo broken > study/images/rss-R2-snr20/t1.nii.gz
works '' kray study t1.nii.gz -o study --methods rss --accelerations 2 --snr 20 --coils 4 -u 'equispaced:accel={R},center=0.2,seed=1'
check 'what is not what was written is made again' eval '[ "$before" != "$(stamp)" ] && gzip -t study/images/rss-R2-snr20/t1.nii.gz'
# A case that fails is told and counted, the others are scored.
mkdir mixed; cp t1.nii.gz mixed/good.nii.gz; head -c 600 t1.nii.gz > mixed/cut.nii.gz
refuses 1 '1 of 2 cases failed' kray study mixed -o mixed-out --methods rss --accelerations 2 --snr 20 --coils 4
check 'the other is there' awk -F, 'NR == 2 { exit !($5 == 1 && $6 > 0) }' mixed-out/study.csv
mkdir val; kray simulate brain -o val/one.h5 --matrix 32,32 --slices 2 --coils 4 -q; kray simulate brain --contrast t2 -o val/two.h5 --matrix 32,32 --slices 2 --coils 4 -q
works '"cases": 2' kray study val -o scans --methods rss --accelerations 2 --json
refuses 1 'and 2 images of the others; the tables have what is there' kray study val -o none --methods rss,grappa --accelerations 3 -u 'equispaced:accel={R},lines=2'
check 'a setting of which nothing could be made has no scores, the others have theirs' awk -F, '$1 == "rss-R3" && $5 == 2 { good++ } $1 == "grappa-R3" && $5 == 0 && $6 == "" { good++ } END { exit good != 2 }' none/study.csv
if [ "${KR_SANITIZE:-none}" = none ]; then
    works 'Dice' kray study t1.nii.gz -o seg --methods rss --accelerations 2 --snr 50 --coils 2 --model model.json
    check 'the score of labels' awk -F, 'NR == 2 { exit !($9 > 0.5 && $9 <= 1) }' seg/study.csv
else
    skip 'labels' 'run by the build without sanitizers'
fi
refuses 2 '{R} has to stand' kray study t1.nii.gz -o x -u random:accel=2
refuses 2 'are two studies' kray study t1.nii.gz val -o x
refuses 2 'scans have their own noise' kray study val -o x --snr 20
refuses 2 'numbers above 0' kray study t1.nii.gz -o x --accelerations 2,none
refuses 2 "there is no method 'best'" kray study t1.nii.gz -o x --methods best
refuses 2 'would share the name' kray study t1.nii.gz ./t1.nii.gz -o x
