#!/bin/bash
# recon.sh: kray recon as a whole: pieces, plans, what is already there, and where the image cannot go.
. "$(dirname "$0")/lib.sh"
kray simulate brain -o scan.h5 --to fastmri --matrix 48,48 --slices 5 --coils 4 --snr 50 --quiet 2>"$err" || exit 99
mask=random:accel=2,center=0.2,seed=1

works 'method: sense' kray recon scan.h5 -o whole.npy -u $mask
works '' kray recon scan.h5 -o pieces.npy -u $mask --memory 1M
check 'pieces give the image of the whole, bit for bit' cmp whole.npy pieces.npy
works 'slices at a time' kray recon scan.h5 -o none.npy -u $mask --memory 1M --plan
check 'a plan runs nothing' [ ! -e none.npy ]
refuses 1 'for a single slice' kray recon scan.h5 -o none.npy -u $mask --memory 10k
works 'already there' kray recon scan.h5 -o whole.npy -u $mask --resume
touch plain
refuses 1 'plain is not a folder' kray recon scan.h5 -o plain/x.nii.gz
check 'which is said before any work' sh -c "! grep -q method: '$err'"
refuses 2 'cannot be written under that name' kray recon scan.h5 -o x.foo
refuses 2 "there is no method 'senso'" kray recon scan.h5 -o x.npy --method senso
works '' kray recon scan.h5 -o one.npy -u $mask --threads 1
check 'one thread gives the same bits' cmp whole.npy one.npy

# A file that does not say what was measured: the zeros do.
works '' kray convert scan.h5 full.cfl
works 'method: rss (fully sampled)' kray recon full.cfl -o full.npy
works '' kray simulate brain -o under.cfl --matrix 48,48 --slices 1 --coils 4 --undersample $mask
rm -f under.npy
works 'method: sense' kray recon under.cfl -o under.npy

works 'more than 4 coils can unfold' kray recon full.cfl -o folded.npy --method sense -u uniform:accel=6,lines=8
# ... also where the file says nothing of what was measured
works '' kray simulate brain -o six.cfl --matrix 48,48 --slices 1 --coils 4 --undersample uniform:accel=6,lines=8
works 'more than 4 coils can unfold' kray recon six.cfl -o folded.npy --method grappa

# Folders are made for whatever is written.
works '' kray recon scan.h5 -o new/deep/image.nii.gz -u $mask
works '' kray recon scan.h5 full.cfl -o new/both/images --method rss
works '' kray coils scan.h5 -o new/maps/maps.cfl --png new/png/maps.png
works '' kray mask $mask --like scan.h5 -o new/mask/mask.npy
works '' kray convert scan.h5 new/cfl/scan.cfl
works '' kray snr under.cfl -o new/snr/snr.npy -g new/g/g.npy --replicas 2
works '' kray eval --target full.npy full.npy --csv new/csv/scores.csv
works '' kray report --target full.npy a=full.npy -o new/page/report.html
check 'all of them are there' ls new/deep/image.nii.gz new/both/images/full.nii.gz new/maps/maps.hdr new/png/maps.png new/mask/mask.npy new/cfl/scan.cfl \
    new/snr/snr.npy new/g/g.npy new/csv/scores.csv new/page/report.html

# --resume: what was made otherwise, from something else, or is damaged, is made again; the rest is not touched.
mkdir raw images
for i in 1 2 3; do kray simulate brain -o raw/f$i.h5 --to fastmri --matrix 32,32 --slices 2 --coils 3 --seed $i -q; done
works '' kray recon raw -o images --method wavelet --iterations 3 -u $mask
touch -d '1 minute ago' raw/*.h5
touch -d '10 seconds ago' images/*; ls -l --time-style=full-iso images > before
works 'f2.nii.gz: already there' kray recon raw -o images --method wavelet --iterations 3 -u $mask --resume
check 'nothing was written' sh -c 'ls -l --time-style=full-iso images | cmp - before'
works 'f2.nii.gz: it was made with undersample=random:accel=2,center=0.2,seed=1, wanted is undersample=random:accel=4' \
    kray recon raw -o images --method wavelet --iterations 3 -u random:accel=4,center=0.2,seed=1 --resume
works 'it was made with method=wavelet, wanted is method=sense' kray recon raw -o images --method sense -u $mask --resume
works 'wanted is iterations=7' kray recon raw -o images --method sense --iterations 7 -u $mask --resume
works '' kray recon raw -o right --method sense --iterations 7 -u $mask
same() { kray convert $1 .a.npy && kray convert $2 .b.npy && cmp .a.npy .b.npy; }       # the numbers; provenance differs
check 'what was made again is right' same images/f2.nii.gz right/f2.nii.gz
: > images/f1.nii.gz
head -c 300 /dev/urandom > images/f2.nii.gz
head -c 900 right/f3.nii.gz > images/f3.nii.gz
works 'f1.nii.gz: it is damaged' kray recon raw -o images --method sense --iterations 7 -u $mask --resume
check 'damaged files are noticed' grep -c 'f[23].nii.gz: it is damaged' "$err"
check 'and made again' eval 'same images/f1.nii.gz right/f1.nii.gz && same images/f2.nii.gz right/f2.nii.gz && same images/f3.nii.gz right/f3.nii.gz'
kray simulate brain -o raw/f3.h5 --to fastmri --matrix 32,32 --slices 2 --coils 3 --seed 9 -q
works 'f3.nii.gz: its input has changed' kray recon raw -o images --method sense --iterations 7 -u $mask --resume
check 'the others were there' grep 'f1.nii.gz: already there' "$err"
kray mask $mask --like raw/f1.h5 -o m.npy -q >"$out"
works '' kray recon raw/f1.h5 -o m.nii.gz -u m.npy
kray mask random:accel=3,center=0.2,seed=1 --like raw/f1.h5 -o m.npy -q >"$out"
works 'm.nii.gz: it was made with undersample=m.npy' kray recon raw/f1.h5 -o m.nii.gz -u m.npy --resume

# No command writes over what it reads.
kray convert raw/f1.h5 pair.cfl -q
cp pair.cfl kept.cfl
for to in pair.cfl ./pair.cfl; do refuses 2 'input and output are the same file' kray recon pair -o $to; done
refuses 2 'input and output are the same file' kray recon pair.hdr -o pair.cfl
ln -s pair.cfl other.cfl
refuses 2 'input and output are the same file' kray recon pair.cfl -o other.cfl
refuses 2 'input and output are the same file' kray coils raw/f1.h5 -o raw/f1.h5
refuses 2 'input and output are the same file' kray mask $mask --like raw/f1.h5 -o raw/f1.h5
refuses 2 'input and output are the same file' kray recon raw/f1.h5 -o m.npy -u m.npy
refuses 2 'input and output are the same file' kray snr raw/f1.h5 -o x.npy -g raw/f1.h5
refuses 2 'input and output are the same file' kray convert pair pair.cfl
check 'the input is untouched' cmp pair.cfl kept.cfl

# One file or a folder: several inputs, a folder or a pattern go into a folder.
refuses 2 'is named like one file' kray recon raw/f1.h5 raw/f2.h5 -o a.nii.gz
check 'no such folder was made' [ ! -e a.nii.gz ]
works '' kray recon 'raw/f1*' -o single --method rss
check 'one match of a pattern, too' [ -s single/f1.nii.gz ]
mkdir bad; for i in 1 2; do echo nothing > bad/f$i.h5; done
refuses 1 'all 2 failed' kray recon bad -o badly
check 'each sentence comes once' [ "$(grep -c f1.h5 "$err")" = 1 ]
