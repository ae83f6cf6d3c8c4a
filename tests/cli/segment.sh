# segment.sh: kray segment with a MeshNet made here, whose labels are known, and its refusals.
. "$(dirname "$0")/lib.sh"

# One voxel of a kernel is 1: class 1 wins where the scaled image is above 0.5. Two layers, the first 3x3x3 and dilated.
floats() { for v in "$@"; do case $v in 0) printf '\0\0\0\0' ;; 1) printf '\0\0\200\077' ;; -1) printf '\0\0\200\277' ;; half) printf '\0\0\0\277' ;; esac; done; }
{ floats 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0; floats half; floats -1 1; floats 0 0; } > weights.bin
model() # ACTIVATION KIND
{
    cat <<X
{"modelTopology": {"model_config": {"class_name": "Functional", "config": {"layers": [
 {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [null, 256, 256, 256, 1]}, "inbound_nodes": []},
 {"class_name": "Conv3D", "config": {"name": "a", "filters": 1, "kernel_size": [3,3,3], "strides": [1,1,1], "dilation_rate": [2,2,2], "padding": "same",
  "data_format": "channels_last", "activation": "linear", "use_bias": true}, "inbound_nodes": [[["in", 0, 0, {}]]]},
 {"class_name": "$2", "config": {"name": "act", "activation": "$1"}, "inbound_nodes": [[["a", 0, 0, {}]]]},
 {"class_name": "Conv3D", "config": {"name": "b", "filters": 2, "kernel_size": [1,1,1], "strides": [1,1,1], "dilation_rate": [1,1,1], "padding": "same",
  "data_format": "channels_last", "activation": "linear", "use_bias": true}, "inbound_nodes": [[["act", 0, 0, {}]]]}]}}},
 "weightsManifest": [{"paths": ["weights.bin"], "weights": [{"name": "a/kernel", "shape": [3,3,3,1,1], "dtype": "float32"}, {"name": "a/bias", "shape": [1], "dtype": "float32"},
  {"name": "b/kernel", "shape": [1,1,1,1,2], "dtype": "float32"}, {"name": "b/bias", "shape": [2], "dtype": "float32"}]}]}
X
}
model linear Activation > model.json
model swish Activation > swish.json
model linear Concatenate > branch.json

array a.npy x=24,y=20,z=22 blob
kray convert a.npy a.nii.gz >/dev/null 2>&1
refuses 1 'does not say where its voxels lie' kray segment a.npy -o l.nii.gz --model model.json
refuses 1 "the activation 'swish' is not built" kray segment a.npy -o l.nii.gz --model swish.json
refuses 1 'of class Concatenate' kray segment a.npy -o l.nii.gz --model branch.json
refuses 2 'a picture cannot hold labels' kray segment a.npy -o l.png --model model.json
refuses 2 'which model' kray segment a.npy -o l.nii.gz
refuses 2 'above 0 and up to 1' kray segment a.npy -o l.nii.gz --model model.json --step 0
refuses 2 'wants 1 image' kray segment a.npy a.npy -o l.nii.gz --model model.json
refuses 1 'is no model that Kray segments with' kray segment a.npy -o l.nii.gz --model a.npy
refuses 2 '.ctbl' kray segment a.npy -o l.nii.gz --model model.json --table t.csv
refuses 2 "nnU-Net's" kray segment a.npy -o l.nii.gz --model model.json --folds 0
head -c 100 weights.bin > short.bin; sed 's/weights.bin/short.bin/' model.json > short.json
refuses 1 "end before 'a/kernel'" kray segment a.npy -o l.nii.gz --model short.json

head=$KR_SHARED/golden/nnunet_plain3d/imagesTs/case_0000.nii.gz
if [ -f "$head" ]; then
    works 'memory' kray segment "$head" --model model.json --plan --json
    if [ -z "$KR_SANITIZE" ] || [ "$KR_SANITIZE" = none ]; then
        works 'label 1' kray segment "$head" -o l.nii.gz --model model.json --table t.txt
        works '"ml"' kray segment "$head" -o l2.nii.gz --model model.json --json --largest --fill-holes
        check 'the table is as ITK-SNAP reads it' grep -q '^ *1 .*"label 1"' t.txt
        works '36' kray info l.nii.gz
        works '' kray convert l.nii.gz turned.nii.gz --axes SPR
        works '' kray convert turned.nii.gz fine.nii.gz --resample 1.5
        check 'turned and resampled labels stay whole numbers with names' sh -c 'gunzip -c fine.nii.gz | head -c 72 | tail -c 2 | od -An -tu1 | grep -q "2 *0" && gunzip -c fine.nii.gz | head -c 4096 | grep -aq "label_1: label 1"'
        works 'all labels' kray eval --labels --target l.nii.gz l2.nii.gz
        kray convert l.nii.gz l.npy --what image -q
        works 'in the order of their files' kray eval --labels --target l.nii.gz l.npy
        works 'label 2' kray segment "$head" -o j.nii.gz --model model.json,model.json      # labels without names are others
        mkdir cases; cp "$head" cases/one.nii.gz; cp "$head" cases/two_0000.nii.gz; echo > cases/notes.txt
        works 'labels/two.nii.gz' kray segment cases -o labels --model model.json --table cases.txt
        check 'a file for each case' [ "$(ls labels)" = "$(printf 'one.nii.gz\ntwo.nii.gz')" ]
        refuses 2 'named like one file' kray segment cases -o labels.nii.gz --model model.json
        echo broken > cases/bad.nii.gz
        refuses 1 '1 of 3 cases failed' kray segment cases -o labels --model model.json
        mkdir empty
        refuses 1 'holds no cases' kray segment empty -o labels --model model.json
    fi
else
    skip 'labels of a volume' "$head is absent"
fi

# nnU-Net: its own labels but for a few voxels; plans of before 2.5; what is refused by name
gold=$KR_SHARED/golden/nnunet_plain2d_mask
if [ -f "$gold/plans.json" ]; then
    cp -r "$gold" m; chmod -R u+w m
    one=m/imagesTs/case_0000.nii.gz
    works 'organ' kray segment $one -o n.nii.gz --model m
    kray eval --labels --target m/labelsPred/case.nii.gz n.nii.gz --csv n.csv >/dev/null 2>&1
    check 'Dice with the labels of nnU-Net itself is above 0.999' awk -F, '$1 == "mean" && $4 == "" { exit !($6 > 0.999) }' n.csv
    tr -d ' \n' < "$gold/plans.json" | sed 's/"architecture":{.*},"batch_dice"/"UNet_class_name":"PlainConvUNet","UNet_base_num_features":32,"n_conv_per_stage_encoder":[2,2,2],"n_conv_per_stage_decoder":[2,2],"num_pool_per_axis":[2,2],"pool_op_kernel_sizes":[[1,1],[2,2],[2,2]],"conv_kernel_sizes":[[3,3],[3,3],[3,3]],"unet_max_num_features":512,"batch_dice"/' > m/plans.json
    check 'the plans are of the old form' [ "$(grep -c architecture m/plans.json)" = 0 ]
    works 'organ' kray segment $one -o twice.nii.gz --model m,m
    kray eval --labels --target n.nii.gz twice.nii.gz --csv t.csv >/dev/null 2>&1
    check 'parts that name the same labels share their numbers' awk -F, '$1 == "mean" && $4 == "" { exit !($6 == 1) }' t.csv
    works 'organ' kray segment $one -o old.nii.gz --model m/fold_0/checkpoint_final.pth --json
    mkdir m/crossval_results_folds_0; echo > m/crossval_results_folds_0/postprocessing.pkl
    # rules of postprocessing: those of these folds, applied, or refused by name
    refuses 1 'postprocessing.pkl alone' kray segment $one -o x.nii.gz --model m
    rules() { echo "{\"postprocessing_fns\": [\"$1\", \"$1\"], \"postprocessing_kwargs\": [{\"labels_or_regions\": $2}, {\"labels_or_regions\": 1}]}" > m/crossval_results_folds_0/postprocessing.json; }
    rules remove_all_but_largest_component_from_segmentation '[[2]]'
    works 'organ' kray segment $one -o clean.nii.gz --model m
    rules fill_it 1
    refuses 1 "the rule 'fill_it' is not built" kray segment $one -o x.nii.gz --model m
    rules remove_all_but_largest_component_from_segmentation '["organ"]'
    refuses 1 'holds what is no label' kray segment $one -o x.nii.gz --model m
    works 'organ' kray segment $one -o old.nii.gz --model m --no-postprocessing
    parts() { python3 - "$@" <<'P' 2>/dev/null || echo absent
import sys, gzip, struct, numpy
from scipy import ndimage
def read(path):
    b = gzip.open(path).read()
    n, kind, at = struct.unpack('<8h', b[40:56])[1:4], struct.unpack('<h', b[70:72])[0], int(struct.unpack('<f', b[108:112])[0])
    return numpy.frombuffer(b[at:], {2: 'u1', 4: '<i2', 8: '<i4', 16: '<f4', 256: 'i1', 512: '<u2'}[kind])[:n[0] * n[1] * n[2]].reshape(n[::-1])
raw, clean = read(sys.argv[1]), read(sys.argv[2])
want = raw.copy()
for label in 2, 1:
    part, count = ndimage.label(want == label, numpy.ones((3, 3, 3)))
    size = numpy.bincount(part.ravel())
    size[0] = 0
    want[(part > 0) & (size[part] < size.max())] = 0
print((want == clean).all() and (raw != clean).any())
P
    }
    same=$(parts n.nii.gz clean.nii.gz)
    if [ "$same" = absent ]; then skip 'the largest piece, as SciPy finds it' 'python3 has no scipy'; else check 'the largest piece of each label, as SciPy finds it' [ "$same" = True ]; fi
    cp -r m/crossval_results_folds_0 m/crossval_results_folds_0_1; cp -r m/crossval_results_folds_0 m/crossval_results_folds_all; mv m/crossval_results_folds_0 m/crossval_results_folds_2
    refuses 1 'several cross-validations' kray segment $one -o x.nii.gz --model m
    rm -r m/crossval_results_folds_*
    kray eval --labels --target n.nii.gz old.nii.gz --csv o.csv >/dev/null 2>&1
    check 'old plans give the same labels' awk -F, '$1 == "mean" && $4 == "" { exit !($6 == 1) }' o.csv
    works ' s here' kray segment $one --model m --plan
    works '"seconds": ' kray segment $one --model m --plan --json
    # what the model was not made for
    kray ct phantom -o hu.nii.gz --geometry parallel:angles=0:180:30 --matrix 48 --water 0.02 -q
    refuses 1 'is CT in Hounsfield units; the model takes T2' kray segment hu.nii.gz -o x.nii.gz --model m
    kray convert $one las.nii.gz --axes LAS -q; kray convert $one ras.nii.gz --axes RAS -q
    ct=$KR_SHARED/golden/nnunet_resenc3d_regions
    kray simulate brain -o scan.h5 --matrix 24,24 --slices 1 -q; kray recon scan.h5 -o slice.nii.gz --method rss -q
    refuses 1 'the image is one slice (24 x 24 x 1 voxels)' kray segment slice.nii.gz -o x.nii.gz --model "$ct"
    refuses 1 'the image is one slice' kray segment slice.nii.gz --model "$ct" --plan
    works 'Hounsfield units, which the model takes, are about -1000 in air' kray segment $one -o x.nii.gz --model "$ct"
    works 'are left-handed, and this model takes them as they are stored' kray segment las.nii.gz -o left.nii.gz --model m
    check 'a right-handed image is not told of' sh -c '! kray segment ras.nii.gz -o right.nii.gz --model m 2>&1 | grep left-handed'
    refuses 2 'wants 1 image (T2)' kray segment $one $one -o x.nii.gz --model m
    refuses 1 'has no checkpoint_final.pth or checkpoint_best.pth' kray segment $one -o x.nii.gz --model m --folds 3
    refuses 2 "has no configuration '3d_lowres'" kray segment $one -o x.nii.gz --model m --configuration 3d_lowres
    refuses 2 "MeshNet's" kray segment $one -o x.nii.gz --model m --normalise minmax
    sed 's/"ZScoreNormalization"/"OtherNormalization"/' "$gold/plans.json" > m/plans.json
    refuses 1 "the normalisation 'OtherNormalization' is not built" kray segment $one -o x.nii.gz --model m
    sed 's/PlainConvUNet/UMambaBot/' "$gold/plans.json" > m/plans.json
    refuses 1 'the network UMambaBot is not built' kray segment $one -o x.nii.gz --model m
    sed 's/"batch_size"/"previous_stage": "3d_lowres", "batch_size"/' "$gold/plans.json" > m/plans.json
    refuses 1 'second stage of a cascade' kray segment $one -o x.nii.gz --model m
    sed 's/\[ *3, *3 *\]/[5,5]/; s/"resample_data_or_seg_to_shape"/"resample_torch_fornnunet"/' "$gold/plans.json" > m/plans.json
    refuses 1 'resample_torch_fornnunet' kray segment $one -o x.nii.gz --model m
else
    skip 'nnU-Net' "$gold is absent"
fi
