# labels.sh: kray eval --labels on masks whose scores are known in closed form, its rules for missing labels, and its refusals.
. "$(dirname "$0")/lib.sh"

field() { awk -F, -v level="$1" -v name="$2" -v column="$3" \
    'NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) c = i } $1 == level && $3 == name { print $c; exit }' s.csv; }

array point.npy x=9,y=9,z=9 point
array all.npy x=9,y=9,z=9 flat
array none.npy x=9,y=9,z=9 flat scale=0
array three.npy x=9,y=9,z=9 point scale=3
array half.npy x=9,y=9,z=9 flat scale=0.5
works 'border' kray eval --help
works 'voxels (as MONAI)' kray eval --labels --target point.npy all.npy --voxel 1,2,3 --csv s.csv
near 'Dice of a line of 9 and a box of 729' "$(field label all dice)" 0.0243902439 1e-9                 # 18 / 738
near 'IoU' "$(field label all iou)" 0.0123456790 1e-9
near 'HD: from the line to an edge' "$(field label all hd_mm)" 8.94427191 1e-6              # sqrt(4^2 + 8^2)
near 'volume in ml' "$(field label all volume_ml)" 4.374 1e-9
refuses 1 'does not say how large its voxels are' kray eval --labels --target point.npy all.npy
refuses 2 'a size in mm' kray eval --labels --target point.npy all.npy --voxel 1,2
refuses 1 'a label is a whole number' kray eval --labels --target point.npy half.npy --voxel 1
refuses 2 'not for --labels' kray eval --labels --target point.npy all.npy --voxel 1 --protocol bart
refuses 2 'wants --labels' kray eval --target point.npy all.npy --empty brats
refuses 2 'there are strict, monai' kray eval --labels --target point.npy all.npy --voxel 1 --empty mine
works '--only 7: no file holds that label' kray eval --labels --target three.npy three.npy --voxel 1 --only 3,7
array wide.npy x=10,y=9,z=9 flat
refuses 1 'same grid' kray eval --labels --target point.npy wide.npy --voxel 1

# a missed structure never makes a mean better
mkdir ref seg
cp point.npy ref/a.npy; cp point.npy.json ref/a.npy.json 2>/dev/null; cp point.npy seg/a.npy
cp point.npy ref/b.npy; cp none.npy seg/b.npy
for rule in strict monai monai-all surface-distance brats; do
    kray eval --labels --target ref seg --voxel 1 --empty $rule --csv s.csv >"$out" 2>"$err"
    near "$rule: mean Dice with one missed" "$(field mean '' dice)" 0.5 1e-9
    check "$rule: mean HD95 with one missed is infinite, or the penalty's" [ "$(field mean '' hd95_mm | sed 's/186.5.*/inf/')" = inf ]
    check "$rule: one is counted as missed" [ "$(field mean '' missed)" = 1 ]
done
works '1 missed' kray eval --labels --target ref seg --voxel 1
works '"hd95_mm": "inf"' kray eval --labels --target ref seg --voxel 1 --json
works '1 empty in both' kray eval --labels --target three.npy three.npy --voxel 1 --only 1,3
works '1.00000' kray eval --labels --target three.npy three.npy --voxel 1 --surface surface-distance
cp point.npy ref/c.npy
refuses 1 'c: has no segmentation' kray eval --labels --target ref seg --voxel 1
