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
