# thermometry.sh: kray thermometry: from k-space to temperatures, by one file or a file for each frame; what is not known is asked for.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
array k.npy x=48,y=40,coil=1,time=4 blob kspace=1 heat=1.2 phase=3         # 1.2 rad at 1.5 T and 15 ms: 19.94 K
works '' kray recon k.npy -o series.npy --complex --voxel 2,2,4
hottest() { kray info "$1" --json | grep -o '"max": [0-9.]*' | head -1 | cut -c 8-; }
works '16.61 K per radian' kray thermometry series.npy -o heat.nii.gz --field 1.5 --te 15 --phase-sign -
works 'unit         K' kray info heat.nii.gz
works '"max": 19.93' kray thermometry series.npy -o heat.nii.gz --field 1.5 --te 15 --phase-sign - --json
works '"kelvin_per_radian": -8.3' kray thermometry series.npy -o heat.nii.gz --field 3 --te 15 --json
check 'the other sign is warned of' grep -q 'phase-sign -' "$err"
works '' kray thermometry series.npy -o heat.npy --field 1.5 --te 15 --phase-sign - --drift linear --start 37
works '' kray info heat.npy
check 'degrees Celsius' grep -q 'from 0 to 56.[89]' "$out"
# A file for each frame gives the same bits as the series; a complex NIfTI does, too.
kray convert series.npy series.nii.gz -q
works '' kray thermometry series.nii.gz -o other.npy --field 1.5 --te 15 --phase-sign - --drift linear --start 37
check 'through NIfTI' cmp heat.npy other.npy
KR_THREADS=2 works '' kray thermometry series.npy -o other.npy --field 1.5 --te 15 --phase-sign - --drift linear --start 37
check 'on two threads' cmp heat.npy other.npy
for t in 0 1 2; do array "k$t.npy" x=48,y=40,coil=1 blob kspace=1 phase=3 seed=$t; kray recon "k$t.npy" -o "f$t.npy" --complex --method adjoint -q; done
works '3 frames' kray thermometry f0.npy f1.npy f2.npy -o cold.npy --field 1.5 --te 15
array where.npy x=48,y=40 flat
works '"reference_sd"' kray thermometry series.npy -o heat.nii.gz --field 1.5 --te 15 --drift constant --unheated where.npy --json
refuses 1 'tell the field strength: state it by --field' kray thermometry series.npy -o x.nii.gz
refuses 1 'tell the echo time: state it by --te' kray thermometry series.npy -o x.nii.gz --field 1.5
array real.npy x=48,y=40,time=3 blob
refuses 1 'complex ones are wanted' kray thermometry real.npy -o x.nii.gz --field 1.5 --te 15
array small.npy x=8,y=40 flat
refuses 1 'the reference is' kray thermometry series.npy -o x.nii.gz --field 1.5 --te 15 --drift linear --unheated small.npy
refuses 1 'the frames of a series are alike' kray thermometry f0.npy real.npy -o x.nii.gz --field 1.5 --te 15
refuses 1 'one frame' kray thermometry f0.npy -o x.nii.gz --field 1.5 --te 15
refuses 2 '--te -3' kray thermometry series.npy -o x.nii.gz --field 1.5 --te -3
refuses 2 'is where --drift is found' kray thermometry series.npy -o x.nii.gz --field 1.5 --te 15 --unheated where.npy
refuses 1 'there is no frame 9' kray thermometry series.npy -o x.nii.gz --field 1.5 --te 15 --baseline 9
check 'nothing was written' [ ! -e x.nii.gz ]
