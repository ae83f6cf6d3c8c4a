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
refuses 1 'there is no folder none' kray recon scan.h5 -o none/x.nii.gz
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
