# orient.sh: an image in each of the 48 orders and directions of its axes segments to the same labels in patient space.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
gold=$KR_SHARED/golden/nnunet_plain2d_mask
if [ ! -f "$gold/plans.json" ]; then
    skip '48 orders of axes' "$gold is absent"
    exit 0
fi
# nnU-Net itself takes axes as they come, but where its reader puts them in order first.
cp -r "$gold" m; chmod -R u+w m
sed -i "s/SimpleITKIO/NibabelIOWithReorient/" m/plans.json
image=m/imagesTs/case_0000.nii.gz
codes=$(for a in R L; do for b in A P; do for c in S I; do for order in "$a$b$c" "$a$c$b" "$b$a$c" "$b$c$a" "$c$a$b" "$c$b$a"; do echo $order; done; done; done; done)
check 'there are 48' [ "$(echo "$codes" | sort -u | wc -l)" = 48 ]
same() # MODEL CODE...: labels of the image in that order, beside those of the image as it is
{
    local model=$1 code; shift
    kray segment $image -o as_is.nii.gz --model $model -q >/dev/null || return 1
    for code; do
        kray convert $image turned.nii.gz --axes $code -q && kray segment turned.nii.gz -o labels.nii.gz --model $model -q >/dev/null || return 1
        kray eval --labels --target as_is.nii.gz labels.nii.gz --csv - 2>/dev/null | awk -F, -v code=$code '$1 == "mean" && $4 == "" && NF { n++; if ($6 != 1) { print code, "Dice", $6; bad = 1 } } END { exit bad || n != 1 }' || return 1
    done
}
check 'nnU-Net: the same labels in all 48' same m $codes

# MeshNet resamples to a grid of its own, FreeSurfer's, whose middle is voxel n/2: it moves by one voxel of the image where an axis is reversed. The network: a voxel is 1 where the scaled image is above 0.5.
. "$here/meshnet.sh"
threshold_model > model.json
if [ "${KR_SANITIZE:-none}" = none ]; then
    check 'MeshNet: the same labels in every order of axes' same model.json LPS PSL SLP LSP PLS SPL
else
    skip 'MeshNet' 'run by the build without sanitizers'
fi
