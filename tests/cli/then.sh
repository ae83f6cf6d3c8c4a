# then.sh: kray recon --then: other programs as a stage, their failures told, their labels checked.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
kray simulate brain -o scan.h5 --matrix 32,32 --slices 2 -q >/dev/null 2>&1
recon() { kray recon scan.h5 -o "$1" --method rss -q --then "$2" "${@:3}"; }
works '' recon 'an image.nii.gz' 'echo {image} > said.txt'
check 'the name of the image is one word' grep -qxF 'an image.nii.gz' said.txt
works '"status": 0' recon im.nii.gz 'echo fine' --json
check 'what it said is in the JSON' grep -qF '"said": "fine' "$out"
refuses 1 'ended with status 3; it said last: no licence' recon im.nii.gz 'echo no licence; exit 3'
refuses 1 'was stopped after 0.3 s; it said last: start' recon im.nii.gz 'echo start; sleep 60' --timeout 0.3
refuses 1 'ended by signal 9' recon im.nii.gz 'kill -9 $$'
refuses 1 'ended well, but wrote no im_labels.nii.gz' recon im.nii.gz 'true {labels}'
refuses 1 'a label is a whole number' recon im.nii.gz 'cp {image} {labels}'
refuses 2 '--then: {label} stands for nothing; {image}, {labels} do' kray recon none.h5 -o im.nii.gz --then 'cat {label}'
refuses 2 '{input} stands for nothing; {image}, {labels} do' recon im.nii.gz 'cat {input}'
array other.npy x=8,y=8,z=2 flat
kray convert other.npy other.nii.gz --voxel 1,1,1 >/dev/null 2>&1 || kray convert other.npy other.nii.gz >/dev/null 2>&1
refuses 1 'the same grid is wanted' recon im.nii.gz 'cp other.nii.gz {labels}'
refuses 2 'runs on a file' kray recon scan.h5 -o - --to npy --method rss --then true
refuses 2 'is empty: a command is wanted' kray recon scan.h5 -o im.nii.gz --method rss --then ' '
refuses 2 'is for --then, which is not given' kray recon scan.h5 -o im.nii.gz --method rss --timeout 5
