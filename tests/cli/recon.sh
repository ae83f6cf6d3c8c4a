#!/bin/bash
# recon.sh: kray recon as a whole: pieces, plans, what is already there, and where the image cannot go.
. "$(dirname "$0")/lib.sh"
kray simulate brain -o scan.h5 --to fastmri --matrix 48,48 --slices 5 --coils 4 --snr 50 --quiet 2>"$err" || exit 99
mask=random:accel=2,center=0.2,seed=1

works '' kray recon scan.h5 -o whole.npy -u $mask -m sense
works '' kray recon scan.h5 -o pieces.npy -u $mask -m sense --memory 29.5M
check 'pieces give the image of the whole, bit for bit' cmp whole.npy pieces.npy
works 'slice at a time' kray recon scan.h5 -o none.npy -u $mask -m sense --memory 29.5M --plan
check 'a plan runs nothing' [ ! -e none.npy ]
refuses 1 'for a single slice' kray recon scan.h5 -o none.npy -u $mask -m sense --memory 10k
works 'already there' kray recon scan.h5 -o whole.npy -u $mask -m sense --resume
touch plain
refuses 1 'plain is not a folder' kray recon scan.h5 -o plain/x.nii.gz
check 'which is said before any work' sh -c "! grep -q method: '$err'"
refuses 2 'cannot be written under that name' kray recon scan.h5 -o x.foo
refuses 2 "there is no method 'senso'" kray recon scan.h5 -o x.npy --method senso
works '' kray recon scan.h5 -o one.npy -u $mask -m sense --threads 1
check 'one thread gives the same bits' cmp whole.npy one.npy

works 'compression to 9 coils asked for, of 4: all are kept' kray recon scan.h5 -o one.npy -u $mask -m sense --compress 9
check 'and all are' cmp whole.npy one.npy

# A file that does not say what was measured: the zeros do.
works '' kray simulate brain -o two.h5 --to fastmri --matrix 48,48 --slices 2 --coils 4 --snr 50
works '' kray convert two.h5 full.cfl
works 'method: rss (fully sampled)' kray recon full.cfl -o full.npy
works '' kray simulate brain -o under.cfl --matrix 48,48 --slices 1 --coils 4 --undersample $mask
rm -f under.npy
works 'method: wcrr (undersampled, several coils' kray recon under.cfl -o under.npy

# What auto takes, by what there is to calibrate with.
works 'method: nlinv (undersampled, few calibration lines' kray recon full.cfl -o few.npy -u uniform:accel=3,lines=4
works 'method: spirit' kray recon full.cfl -o few.npy -u uniform:accel=3,lines=6
# Networks whose weights come with Kray.
psnr() { kray eval "$1" --target full.npy --json | jq '.[0].volumes[0].psnr'; }
works '' kray recon full.cfl -o zero.npy --method rss -u random:accel=3,lines=12,seed=1
for m in rim rvn; do
    works ", $m" kray recon full.cfl -o few.npy --method $m -u random:accel=3,lines=12,seed=1
    check "$m: $(psnr few.npy) dB, zero-filled $(psnr zero.npy)" awk -v a="$(psnr few.npy)" -v b="$(psnr zero.npy)" 'BEGIN { exit !(a > b + 3) }'
done
works 'method: wcrr (undersampled, several coils whose maps hold: a learned regulariser)' kray recon full.cfl -o few.npy -u random:accel=3,lines=10,seed=1
works '' kray coils full.cfl -o full_maps.cfl
# SENSE of a full scan is dimmed by 1 / (1 + lambda), and lit again.
for how in '--lambda 0' '--lambda 0.2' '--lambda 0.2 --no-rescale'; do
    works '' kray recon full.cfl -o "dim${how//[^a-z0-9]/}.npy" -m sense --coils full_maps.cfl $how
done
nmse() { kray eval --target dimlambda0.npy "$1" --csv - | awk -F, '$2 == "slice" { sum += $7; n++ } END { print sum / n }'; }
near 'lambda does not dim' "$(nmse dimlambda02.npy)" 0 1e-9
near 'without --rescale it does' "$(nmse dimlambda02norescale.npy)" "$(awk 'BEGIN { print (0.2 / 1.2) ^ 2 }')" 1e-5
works 'method: wcrr (undersampled, several coils, coil maps given' kray recon full.cfl -o few.npy -u uniform:accel=3,lines=6 --coils full_maps.cfl
works 'method: wavelet (undersampled, several coils, coil maps given)' kray recon full.cfl -o few.npy -u uniform:accel=2,lines=6 --coils full_maps.cfl
works '' kray simulate brain -o wide.cfl --matrix 128,128 --slices 1 --coils 8 --no-oversampling --undersample $mask
works 'l1-SPIRiT (--method spirit) would need' kray recon wide.cfl -o few.npy --memory 32M
works 'method   wavelet' kray recon wide.cfl --plan --memory 37M
works 'with phase' kray recon full.cfl -o phase.cfl --complex
works 'method: wavelet (the method that --lambda belongs to)' kray recon full.cfl -o few.npy -u uniform:accel=3,lines=6 --lambda 0.01
works '' kray simulate brain -o single.cfl --matrix 48,48 --slices 1 --coils 1 --undersample random:accel=2,center=0.2,seed=1
works 'method: wavelet (undersampled, one coil)' kray recon single.cfl -o single.npy


# A plan names the method that the run then takes, also where only the data tell what was measured.
works 'method   wcrr' kray recon under.cfl --plan
works 'method   rss' kray recon full.cfl --plan
works 'method   adjoint' kray recon full.cfl --plan --maps 2

# Maps of few lines are told of; neighbours of the calibration lines that were kept at random are none of them.
works 'coil maps come from 8 calibration lines, too few for ESPIRiT (10), and are of low resolution' kray recon full.cfl -o few.npy --method sense -u uniform:accel=2,lines=8
for method in sense wavelet; do                              # ESPIRiT's of so few lines leave out most of the object: errors of 20 dB more
    works '' kray recon full.cfl -o few.npy --method $method -u uniform:accel=2,lines=8
    works '' kray recon full.cfl -o low.npy --method $method -u uniform:accel=2,lines=8 --coils lowres
    check "$method of 8 lines takes maps of low resolution" cmp few.npy low.npy
done
works 'calibration area of {x=24 y=12 coil=4 slice=2}' kray recon full.cfl -o few.npy -v --method sense -u random:accel=1.3,lines=12,seed=2

works 'exceeds the 4 coils' kray recon full.cfl -o folded.npy --method sense -u uniform:accel=6,lines=8
# ... also where the file says nothing of what was measured
works '' kray simulate brain -o six.cfl --matrix 48,48 --slices 1 --coils 4 --undersample uniform:accel=6,lines=8
works 'exceeds the 4 coils' kray recon six.cfl -o folded.npy --method grappa

# Folders are made for whatever is written.
works '' kray recon scan.h5 -o new/deep/image.nii.gz -u $mask
works '' kray recon scan.h5 full.cfl -o new/both/images --method rss
works '' kray coils scan.h5 -o new/maps/maps.cfl --png new/png/maps.png
works '' kray mask $mask --like scan.h5 -o new/mask/mask.npy
works '' kray convert scan.h5 new/cfl/scan.cfl
works 'new/snr/snr.npy, new/g/g.npy: ' kray snr under.cfl -o new/snr/snr.npy -g new/g/g.npy --replicas 2
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

# Options of recon that the method does not look at are refused; auto takes a method that does.
refuses 2 'rss takes no coil maps, so that --calib means nothing to it' kray recon raw/f1.h5 -o x.npy --method rss --calib 8
refuses 2 'rss takes no coil maps, so that --coils means nothing to it' kray recon raw/f1.h5 -o x.npy --method rss --coils walsh
works 'method: adjoint' kray recon raw/f1.h5 -o x.npy --calib 8
kray coils raw/f1.h5 -o maps.npy -q
refuses 2 'so that --calib means nothing' kray recon raw/f1.h5 -o x.npy --method sense --coils maps.npy --calib 8
refuses 2 'so that --maps means nothing' kray recon raw/f1.h5 -o x.npy --method sense --coils maps.npy --maps 2
refuses 2 '--compress N gives the number' kray recon raw/f1.h5 -o x.npy --compression geometric
refuses 2 '--no-whiten leaves it out' kray recon raw/f1.h5 -o x.npy --covariance maps.npy --no-whiten

# --to nifti writes packed files into folders, as without --to.
works '' kray convert 'images/*.nii.gz' -o volumes --to nifti
works '' kray recon raw -o again --to nifti --method rss
check 'both are packed' eval 'gzip -t volumes/f1.nii.gz && gzip -t again/f1.nii.gz && [ ! -e again/f1.nii ]'
# Images in a folder are converted, too; without --to each keeps its format, and raw data become ISMRMRD.
mkdir -p mixed/below
kray simulate -q --matrix 16,16 --slices 2 --coils 2 -o mixed/e.h5
kray recon mixed/e.h5 -o mixed/a.nii.gz -q
cp mixed/a.nii.gz mixed/below/b.nii.gz
kray convert mixed/a.nii.gz mixed/c.npy -q
kray convert mixed/a.nii.gz mixed/d.dcm -q
echo text >mixed/readme.txt
works '' kray convert mixed -o kept
check 'names' [ "$(ls kept | tr '\n' ' ')" = 'a.nii.gz c.npy c.npy.json d.dcm e.h5 ' ]
check 'the images are the same' eval 'kray convert kept/a.nii.gz one.npy -q && cmp one.npy mixed/c.npy && kray convert kept/d.dcm two.nii.gz -q'
works '' kray convert mixed/a.nii.gz kept2/
check 'a folder for one image' [ "$(ls kept2)" = a.nii.gz ]
rm mixed/e.h5
works '' kray convert mixed -o flat --to npy --recursive
check 'names' [ "$(cd flat && find . -name '*.npy' | sort | tr '\n' ' ')" = './a.npy ./below/b.npy ./c.npy ./d.npy ' ]
mkdir notes && echo text >notes/readme.txt
refuses 1 'notes: the folder holds no raw data (.mrd, .h5, .cfl' kray recon notes -o x.npy
refuses 1 'notes: the folder holds no raw data and no images (.mrd' kray convert notes -o x
refuses 1 'there is no folder nothere/' kray recon nothere/ -o x.npy

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

# An option that only some methods have decides what auto takes; none is dropped.
works 'method: rss (fully sampled)' kray recon raw/f1.h5 -o x.npy
works 'method: wavelet (the method that --lambda belongs to)' kray recon raw/f1.h5 -o x.npy --lambda 0.5
check 'it is the image of that method' sh -c "'$KR_BUILD/tools/kray' recon raw/f1.h5 -o y.npy --method wavelet --lambda 0.5 -q && cmp x.npy y.npy"
works '--tolerance belongs to' kray recon raw/f1.h5 -o x.npy --tolerance=1e-3
refuses 1 'lambda' kray recon raw/f1.h5 -o x.npy --lambda -1
refuses 1 'iterations' kray recon raw/f1.h5 -o x.npy --iterations 0
works '' kray coils raw/f1.h5 -o maps.cfl
works 'method: adjoint (fully sampled, combined by the coil maps asked for)' kray recon raw/f1.h5 --coils maps.cfl -o x.npy
check 'by these maps' sh -c "'$KR_BUILD/tools/kray' recon raw/f1.h5 -o y.npy --method adjoint --coils maps.cfl -q && cmp x.npy y.npy"
refuses 2 'rss takes no coil maps' kray recon raw/f1.h5 -o x.npy --method rss --coils maps.cfl

# A tree of folders goes out as a tree; masks beside the k-space are passed over.
tree=$KR_SHARED/samples/cmrxrecon/2023/MultiCoil/Cine/TrainingSet
if [ -d "$tree" ]; then
    mkdir -p tree/AccFactor04/P002
    cp -r "$tree/AccFactor04/P001" tree/AccFactor04/
    cp tree/AccFactor04/P001/* tree/AccFactor04/P002/
    refuses 1 '--recursive searches the folders in it' kray recon tree -o flat
    works '' kray recon tree -o tree/out --recursive --method rss
    check 'as a tree' sh -c '[ -s tree/out/AccFactor04/P001/cine_sax.nii.gz ] && [ -s tree/out/AccFactor04/P002/cine_sax.nii.gz ] && [ "$(find tree/out -type f | wc -l)" = 2 ]'
    works '' kray recon tree -o tree/out --recursive --method rss --resume
    check 'the output is not searched' [ "$(grep -c 'already there' "$err")" = 2 ]
    works '' kray recon 'tree/*/*/cine_sax.mat' -o globbed --recursive --method rss
    check 'a pattern keeps the tree from its first folder on' [ -s globbed/AccFactor04/P002/cine_sax.nii.gz ]
    refuses 2 '--recursive keeps the folders' kray recon 'tree/*/*/cine_sax.mat' -o flat --method rss
    works '' kray recon tree/AccFactor04/P001 -o one --method rss
    # The file holds the shape that is printed; the ranking subset only where it is asked for.
    works 'cine.mat: {x=48 y=32 slice=3 time=4}' kray recon tree/AccFactor04/P001/cine_sax.mat -o cine.mat --method rss
    works '{x=48 y=32 slice=3 time=4}' kray info cine.mat
    works 'cine_sax.mat: {x=16 y=16 slice=2 time=3}, the subset that the challenge ranks' kray recon tree -o Submission --recursive --to cmrxrecon --method rss
    works '{x=16 y=16 slice=2 time=3}' kray info Submission/AccFactor04/P001/cine_sax.mat
else
    skip 'trees of folders' 'there are no samples beside the project'
fi
