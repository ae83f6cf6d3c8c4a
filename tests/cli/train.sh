# train.sh: kray train from a configuration, interrupted, resumed, used; its refusals.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1

for contrast in t1 t2 pd; do
    kray simulate brain --contrast $contrast --matrix 72,72 --slices 13 --coils 2 -o scan.npy --no-oversampling --no-noise-scan -r $contrast.nii.gz -q
done
cat > small.yaml <<X
# three persons, a small network
size: cascades=1,channels=4,pools=1
folder: .
images: [t1.nii.gz, t2.nii.gz, pd.nii.gz, missing.nii.gz]
hold_back: 0.3
slices: 2
first: 2
strip: 16
batch: 1
steps: 4
validate: 2
validation: 1
save: 2
X

refuses 2 'where to?' kray train small.yaml
echo 'step: 4' > wrong.yaml
refuses 2 "there is no key 'step'; did you mean 'steps'" kray train wrong.yaml -o x
refuses 2 'one configuration' kray train small.txt -o x
refuses 2 'two numbers' kray train small.yaml -o x --prepare 3
refuses 2 'strip is 16 or more' kray train small.yaml -o x --strip 8
refuses 1 'nobody is left' kray train small.yaml -o x --hold-back 0.9
works '1 volumes of 1 persons' kray train small.yaml -o one --images t1.nii.gz --steps 1
works 'missing.nii.gz is skipped' kray train small.yaml -o whole
works 'done' kray train small.yaml -o parts --cache whole/slices --steps 3 --json
works 'done' kray train small.yaml -o parts --cache whole/slices --resume --json
digest() { kray weights info "$1" --json | jq -r '.[0].digest'; }
check 'the same bits after an interruption' [ "$(digest whole/checkpoint.safetensors)" = "$(digest parts/checkpoint.safetensors)" ]
check 'there is a digest' [ -n "$(digest whole/best.safetensors)" ]
check 'and the same tables but for the seconds' cmp <(cut -d, -f1,3- whole/steps.csv) <(cut -d, -f1,3- parts/steps.csv)
refuses 1 'is there already' kray train small.yaml -o parts
refuses 1 'no checkpoint' kray train small.yaml -o none --resume
works 'out of time' kray train small.yaml -o parts --resume --cache whole/slices --steps 100000 --max-time 0.01
"$KR_BUILD/tools/kray" train small.yaml -o parts --resume --cache whole/slices --steps 100000 -q 2>"$err" &
for i in $(seq 300); do [ "$(wc -l < parts/steps.csv)" -gt 8 ] && break; sleep 0.2; done
kill -TERM $!; wait $!
check 'SIGTERM ends it with 143' [ $? = 143 ]
check 'and leaves a checkpoint of the last step' [ "$(kray weights info parts/checkpoint.safetensors --json | jq -r '.[0].meta.step')" = "$(tail -1 parts/steps.csv | cut -d, -f1)" ]
works '"step_seconds"' kray train small.yaml -o plan --cache whole/slices --plan --json

sed 's/pools=1/pools=1,digits=6/' small.yaml > exact.yaml    # conjugate gradients to 4 digits, as usual, are further from double than float is
sed 's/^steps: 4/steps: 4\ndouble: true/' exact.yaml > double.yaml
works 'done' kray train exact.yaml -o float --cache whole/slices --json
works 'done' kray train double.yaml -o double --cache whole/slices --json
works 'done' kray train exact.yaml --double -o interrupted --cache whole/slices --steps 3 --json
works 'done' kray train exact.yaml --double -o interrupted --cache whole/slices --resume --json
check 'in double, too, the same bits after an interruption' [ "$(digest double/checkpoint.safetensors)" = "$(digest interrupted/checkpoint.safetensors)" ]
check 'losses in double are those in float to 1e-4' awk -F, 'NR > 1 && NR == FNR { l[$1] = $3 } NR > FNR && FNR > 1 { n++; d = $3 / l[$1] - 1; bad += d > 1e-4 || d < -1e-4 } END { exit bad || n != 4 }' float/steps.csv double/steps.csv
check 'what is left are weights of float32, as large as without' [ "$(kray weights info double/best.safetensors --json | jq -r '.[0].parameters')" = "$(kray weights info whole/best.safetensors --json | jq -r '.[0].parameters')" ]
works '"step_seconds"' kray train double.yaml -o plan --cache whole/slices --plan --json
refuses 1 'was trained in double' kray train exact.yaml -o double --cache whole/slices --resume
refuses 1 'was not trained in double' kray train double.yaml -o float --cache whole/slices --resume
refuses 2 'single precision' kray train double.yaml -o x --network wcrr --size filters=4
refuses 2 'self-supervised' kray train double.yaml -o x --self-supervised 0.4
works '"person"' cat whole/run.json
works '<svg' cat whole/training.html
works 'data:image/png' cat whole/training.html
check 'which is not loaded again once all is done' sh -c '! grep -q http-equiv=.refresh whole/training.html'

check 'its curves go up and down' [ "$(grep -o ' d="M[0-9. ]*L[^"]*"' whole/training.html | head -1 | grep -oE '[ML][0-9.]+ [0-9.]+' | cut -d' ' -f2 | sort -u | wc -l)" -gt 1 ]

kray simulate brain --matrix 72,72 --slices 1 --coils 4 -o u.h5 --undersample equispaced:accel=3,center=0.2,seed=1 -q
works '' kray recon u.h5 -o r.nii.gz --method refine --weights whole/best.safetensors
refuses 2 'a network needs its weights' kray recon u.h5 -o r.nii.gz --method refine
refuses 2 'a network needs its weights' kray recon nowhere.h5 -o r.nii.gz --method varnet    # asked before the scan is looked at
mkdir weights && cp whole/best.safetensors weights/refine.safetensors
works '' env KR_WEIGHTS="$work/weights" "$KR_BUILD/tools/kray" recon u.h5 -o bare.npy --method refine
works '' kray weights info whole/best.safetensors
works '' kray train small.yaml -o tuned --cache whole/slices --init "$work/whole/best.safetensors" --steps 1
check 'weights name no place on this machine, nor how their first weights were trained' sh -c "! kray weights info tuned/best.safetensors | grep -F '$work'"
works 'began_with: sha256' kray weights info tuned/best.safetensors
works 'trained.coils: 4 to 12' kray weights info tuned/best.safetensors
kray simulate brain --matrix 72,72 --slices 1 --coils 16 -o many.h5 --undersample equispaced:accel=3,center=0.2,seed=1 -q
works 'trained on coils from 4 to 12, this scan has 16' kray recon many.h5 -o r.nii.gz --method refine --weights whole/best.safetensors

# A published network: from nothing, with the published names, taken by recon; more steps from its own weights; sizes that it has not.
works 'done' kray train small.yaml --network modl --size channels=4,residual_blocks=1,unrolled_iterations=2,conjugate_gradient_dc=true -o modl
works 'dc_block.mu' kray weights info modl/best.safetensors
works 'modl' kray recon u.h5 -o m.npy --method modl --weights modl/best.safetensors
works 'done' kray train small.yaml --network modl --size channels=4 --init modl/best.safetensors -o modl2 --cache modl/slices --steps 1
works 'began_with' kray weights info modl2/best.safetensors
refuses 1 'channels is 5, the weights have 4' kray train small.yaml --network modl --size channels=5 --init modl/best.safetensors -o x
refuses 1 'channel (4) is no key' kray train small.yaml --network modl --size channel=4 -o x
refuses 2 'a loss of complex images' kray train small.yaml --network reconresnet --size starting_nfeatures=2,updown_blocks=1,res_blocks=1 -o x --cache modl/slices

# A network that begins with the image of another method: before a step it is that image, which recon makes, too; weights and start have to agree.
works 'done' kray train small.yaml --network cirim --size recurrent_layer=GRU,num_cascades=1,conv_filters=4\ 4\ 2 --start wavelet -o begun --steps 1 --rate 1e-9
works 'first_image' kray weights info begun/best.safetensors
works 'rim' kray recon u.h5 -o begun.npy --method rim --weights begun/best.safetensors
refuses 2 "begin with the image of 'wavelet'; start is 'none'" kray train small.yaml --network cirim --size conv_filters=4\ 4\ 2 --init begun/best.safetensors -o x
refuses 2 'start is for networks of ATOMMIC' kray train small.yaml --network refine --start wavelet -o x
mkdir broken && head -c 3000 begun/best.safetensors >broken/wcrr.safetensors
KR_WEIGHTS=$PWD/broken refuses 1 'broken/wcrr.safetensors' kray train small.yaml --network cirim --size recurrent_layer=GRU,num_cascades=1,conv_filters=4\ 4\ 2 --start wcrr -o unread
works 'trained on coils from 4 to 12, this scan has 16' kray recon many.h5 -o r.npy --method rim --weights begun/best.safetensors

# Raw scans, undersampled alone: trained by samples held back, which are told better after it, and so is the truth that training never saw; adapted to one of them, better still.
for i in 1 2 3; do
    contrast=$(echo t1 t2 pd | cut -d' ' -f$i)
    kray simulate brain --contrast $contrast --matrix 64,64 --slices 2 --coils 4 -o full$i.h5 --no-noise-scan -q
    kray simulate brain --contrast $contrast --matrix 64,64 --slices 2 --coils 4 -o under$i.h5 --no-noise-scan -q --undersample random:accel=2,lines=16,seed=$i
done
cat > ssdu.yaml <<X
scans: [under1.h5, under2.h5, under3.h5, missing.h5]
hold_back: 0.3
self_supervised: 0.4
network: vn
size: num_cascades=2,channels=4,pooling_layers=2
slices: 3
first: 3
batch: 1
warmup: 2
rate: 5e-3
steps: 40
validate: 20
validation: 2
average: 0.9
X
works 'missing.h5 is skipped' kray train ssdu.yaml -o ssdu
works 'done' kray train ssdu.yaml -o begin --cache ssdu/slices --steps 1 --rate 1e-9
held() { tail -1 $1/validation.csv | cut -d, -f2; }
psnr() { kray eval $1 --target full3.h5 --json | jq '.[0].volumes[0].psnr'; }
more() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { exit !(a > b + by) }'; }
for w in begin ssdu; do kray recon under3.h5 -o $w.npy --method vn --weights $w/best.safetensors -q; done
check "samples held back: $(held begin) dB, then $(held ssdu)" more "$(held ssdu)" "$(held begin)" 1
check "the truth: $(psnr begin.npy) dB, then $(psnr ssdu.npy)" more "$(psnr ssdu.npy)" "$(psnr begin.npy)" 1
works 'after (step' kray recon under3.h5 -o adapted.npy --method vn --weights ssdu/best.safetensors --adapt 10
check "adapted: $(psnr adapted.npy) dB" more "$(psnr adapted.npy)" "$(psnr ssdu.npy)" 0
works '"kray_adapted": "10 steps on this scan' kray info adapted.npy --json
KR_THREADS=2 kray recon under3.h5 -o adapted2.npy --method vn --weights ssdu/best.safetensors --adapt 10 -q
check 'the same bits with other threads' cmp adapted.npy adapted2.npy
works 'loss over samples held back' kray recon under3.h5 -o worse.npy --method refine --weights whole/best.safetensors --adapt 1
works 'off those measured' kray recon under3.h5 -o beside.npy --method vn --weights ssdu/best.safetensors --residual residual.npy --uncertainty spread.npy
check 'the image is that without them' cmp beside.npy ssdu.npy
works '"kray_residual"' kray info beside.npy --json
check 'both are as large as the image' [ "$(kray info residual.npy spread.npy --json | jq -c '[.[].shape] | unique | length')" = 1 ]
works 'off those measured' kray recon under3.h5 -o r.npy --method refine --weights whole/best.safetensors --residual residual.npy
refuses 2 'several images are made' kray recon under2.h5 under3.h5 -o many --method vn --weights ssdu/best.safetensors --residual residual.npy
refuses 1 'there are none' kray recon full3.h5 -o r.npy --method vn --weights ssdu/best.safetensors --uncertainty spread.npy
refuses 2 'not fully sampled' kray train ssdu.yaml -o x --self-supervised 0
refuses 2 'loss of its own' kray train ssdu.yaml -o x --loss nmse
refuses 1 'magnitudes' kray train ssdu.yaml -o y --network reconresnet --size starting_nfeatures=2,updown_blocks=1,res_blocks=1
works 'done' kray train ssdu.yaml -o full --scans full1.h5,full2.h5 --self-supervised 0 --steps 2 --validate 2
check 'full scans have a truth to validate by' sh -c '! grep -q nan full/validation.csv'

# The regulariser wcrr: from nothing, by images with noise and by scans; interrupted, resumed, used.
ridge="--network wcrr --size filters=4,kernel=3,last=3,intervals=8 --optimiser adam --rate 1e-2 --clean --denoise 0.5 --levels 0.01,0.05"
works 'done' kray train small.yaml $ridge -o ridge
works 'done' kray train small.yaml $ridge -o ridge2 --cache ridge/slices --steps 3
works 'done' kray train small.yaml $ridge -o ridge2 --cache ridge/slices --resume
check 'the same bits after an interruption' [ "$(digest ridge/checkpoint.safetensors)" = "$(digest ridge2/checkpoint.safetensors)" ]
works 'regulariser wcrr' kray weights info ridge/best.safetensors
works 'wcrr' kray recon u.h5 -o r.npy --method wcrr --weights ridge/best.safetensors
# A network of masks for it, trained alone: the filters stay as they were, and with them the first of two solutions.
masks="--network wcrr --init ridge/best.safetensors --size mask=2 --optimiser adam --rate 1e-2 --clean --denoise 0.5 --levels 0.01,0.05 --cache ridge/slices"
works 'done' kray train small.yaml $masks -o masks
works 'done' kray train small.yaml $masks -o masks2 --steps 3
works 'done' kray train small.yaml $masks -o masks2 --resume
check 'the same bits after an interruption' [ "$(digest masks/checkpoint.safetensors)" = "$(digest masks2/checkpoint.safetensors)" ]
works 'mask.last.weight' kray weights info masks/best.safetensors
works '' kray recon u.h5 -o one.npy --method wcrr --weights masks/last.safetensors --rounds 1
check 'one solution is that without masks' cmp one.npy r.npy
works '' kray recon u.h5 -o two.npy --method wcrr --weights masks/last.safetensors
check 'the second is another one' sh -c '! cmp -s one.npy two.npy'
KR_THREADS=3 kray recon u.h5 -o three.npy --method wcrr --weights masks/last.safetensors --rounds 2 -q
check 'which the weights ask for, the same for any number of threads' cmp two.npy three.npy
refuses 1 'no network of masks' kray recon u.h5 -o x.npy --method wcrr --weights ridge/best.safetensors --rounds 2
refuses 1 'rounds are 0 to 20' kray recon u.h5 -o x.npy --method wcrr --rounds 30
refuses 2 'the size says mask=3' kray train small.yaml $masks --init masks/last.safetensors --size mask=3 -o x
refuses 2 'the size says filters=5' kray train small.yaml $masks --size filters=5 -o x
refuses 2 'size of wcrr is' kray train small.yaml --network wcrr --size cascades=3 -o x
refuses 2 'levels are two numbers' kray train small.yaml $ridge --levels 0,1 -o x
refuses 2 'denoise is 0 to 1' kray train small.yaml $ridge --denoise 2 -o x
refuses 2 "strength is above 0" kray train small.yaml $ridge --strength 0 -o x
refuses 2 'a loss of its own' kray train small.yaml $ridge --loss l1 -o x
refuses 2 'denoise is for wcrr' kray train small.yaml --denoise 0.5 -o x

# The network ssim: images of moved objects, no scans; interrupted, resumed, used by eval, which tells what it was not trained on.
sed '/^strip/d' small.yaml > judge.yaml
judge="--network ssim --size chans=2,num_pool_layers=1 --loss l2 --slices 6 --first 6"
works 'SSIM guessed to' kray train judge.yaml $judge -o judge
works 'done' kray train judge.yaml $judge -o judge2 --steps 3
works 'done' kray train judge.yaml $judge -o judge2 --resume
check 'the same bits after an interruption' [ "$(digest judge/checkpoint.safetensors)" = "$(digest judge2/checkpoint.safetensors)" ]
check 'and the same ranges' cmp <(kray weights info judge/last.safetensors --json | jq '.[0].meta | with_entries(select(.key | startswith("trained.")))') \
    <(kray weights info judge2/last.safetensors --json | jq '.[0].meta | with_entries(select(.key | startswith("trained.")))')
works 'trained.motion: 0.3 to 10' kray weights info judge/best.safetensors
works 'SSIM 1 everywhere' cat judge/training.html
works 'volume' kray eval --no-reference --weights judge/best.safetensors t1.nii.gz --csv guess.csv
check 'a row for each slice and the volume' [ "$(grep -cE '^(slice|volume),t1,' guess.csv)" = 14 ]
works '"ssim_guess"' kray eval --no-reference --weights judge/best.safetensors t1.nii.gz t2.nii.gz --json
refuses 1 'another network' kray eval --no-reference --weights whole/best.safetensors t1.nii.gz
refuses 2 'strip is for networks that reconstruct' kray train small.yaml $judge -o x
refuses 2 'coils is for networks that reconstruct' kray train judge.yaml $judge -o x --coils 4
refuses 2 'motion is for ssim' kray train small.yaml -o x --motion 1,2
refuses 2 'motion is two numbers' kray train judge.yaml $judge -o z --motion 2,1
refuses 2 'scans is for networks that reconstruct' kray train judge.yaml $judge -o x --scans full1.h5

refuses 2 'leave one of them out' kray train small.yaml -o x --growing --other-outputs 0.5
works 'done' kray train small.yaml --size cascades=3,channels=4,pools=1 -o growing --cache whole/slices --growing --steps 1
works 'done' kray train small.yaml --size cascades=3,channels=4,pools=1 -o even --cache whole/slices --steps 1
check 'outputs that grow weigh otherwise' sh -c '[ "$(cut -d, -f3 growing/steps.csv)" != "$(cut -d, -f3 even/steps.csv)" ]'

# Lesions are put into planes, and change nothing but these.
refuses 2 'lesions is 0 to 1' kray train small.yaml -o x --lesions 2
works 'done' kray train small.yaml -o sick --lesions 1 --steps 1 --network denoiser --size channels=2,pools=1 --loss complex_l1
works 'done' kray train small.yaml -o well --steps 1 --network denoiser --size channels=2,pools=1 --loss complex_l1
check 'slices with lesions are others' sh -c '! cmp -s sick/slices/made000000.safetensors well/slices/made000000.safetensors'
works 'trained.masks' kray weights info well/best.safetensors
works 'trained.norm' kray weights info well/best.safetensors
