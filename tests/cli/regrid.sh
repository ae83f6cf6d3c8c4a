# regrid.sh: kray convert --axes and --resample: axes in another order and back, other voxel sizes, refusals.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
array a.npy x=8,y=6,z=4 blob
refuses 1 'does not say how it lies' kray convert a.npy b.nii.gz --what image --axes RAS
refuses 1 'does not say how large its voxels are' kray convert a.npy b.nii.gz --what image --resample 1
refuses 2 'are for images' kray convert a.npy b.npy --what array --axes RAS
array labels.npy x=8,y=6,z=4 flat scale=3
kray convert labels.npy labels.nii.gz --what image -q
works 'taken as labels' kray convert labels.nii.gz fine.nii.gz --resample 0.5
check 'and written as whole numbers' sh -c 'gunzip -c fine.nii.gz | head -c 72 | tail -c 2 | od -An -tu1 | grep -q "2 *0"'
# whole numbers of 12 bits
array bright.npy x=12,y=10,z=4 blob scale=0.02
kray convert bright.npy bright.nii.gz --what image -q
works '' kray convert bright.nii.gz twelve.nii.gz --pixels ushort
check 'stored as short' sh -c 'gunzip -c twelve.nii.gz | head -c 72 | tail -c 2 | od -An -tu1 | grep -q "4 *0"'
check '4095 the largest' sh -c 'gunzip -c twelve.nii.gz | tail -c 960 | od -An -v -td2 | tr -s " " "\n" | sort -n | tail -1 | grep -qx 4095'
works '"ssim": 0.9999' kray eval --target bright.nii.gz --recon twelve.nii.gz --scale fit --json
check 'and the factor is kept' sh -c 'gunzip -c twelve.nii.gz | head -c 2000 | grep -a -q pixel_scale'
refuses 2 'are for images' kray convert a.npy b.npy --what array --pixels ushort
array below.npy x=8,y=6,z=4 flat scale=-1
refuses 1 'are made of magnitudes' kray convert below.npy b.nii.gz --what image --pixels ushort
refuses 2 'no variables' kray convert labels.nii.gz:seg fine.nii.gz
array nan.npy x=8,y=6,z=4 blob nan=1
kray convert nan.npy nan.nii.gz --what image -q
refuses 1 'is not finite, which resampling would spread' kray convert nan.nii.gz fine.nii.gz --resample 0.5
scan=$KR_SHARED/golden/nnunet_plain3d/imagesTs/case_0000.nii.gz
if [ -f "$scan" ]; then
    works '' kray convert "$scan" s.nii.gz --axes SPR
    works 'x=15' kray info s.nii.gz
    works '' kray convert s.nii.gz back.nii.gz --axes LPS
    works 'inf' kray eval --target "$scan" back.nii.gz                # equal: PSNR is infinite
    place() { kray info "$1" --json | sed -n '/affine_ras/,/\]/p' | grep -oE -- '-?[0-9]+\.[0-9]+' | awk '{ printf "%.4f\n", $1 }'; }
    place "$scan" > one; place back.nii.gz > two
    check 'and lies where it lay' cmp one two
    works '' kray convert "$scan" half.nii.gz --resample 1.8,2,7.2
    works '1.8 x 2 x' kray info half.nii.gz
    refuses 2 'three letters are wanted' kray convert "$scan" x.nii.gz --axes RRS
    refuses 2 'a voxel size in mm' kray convert "$scan" x.nii.gz --resample 1,2
    refuses 2 '0.001 to 1000' kray convert "$scan" x.nii.gz --resample 0
else
    skip 'axes and voxels' "$scan is absent"
fi
