# regular.sh: regularised reconstruction from the command line.
. "$(dirname "$0")/lib.sh"

kray simulate brain --matrix 80,72 --slices 2 --coils 6 --snr 40 -o full.h5 --reference truth.npy -q
kray simulate brain --matrix 80,72 --slices 2 --coils 6 --snr 40 -o scan.h5 -q --undersample random:accel=4,center=0.15,seed=3
score() { kray eval --target "${2:-truth.npy}" --recon "$1" --protocol bart --scale fit --json | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2; }
for m in adjoint wavelet tv tgv cs nlinv wcrr; do
    works "$m" kray recon scan.h5 -o $m.npy --method $m
done
for m in wavelet tv tgv cs wcrr; do
    check "$m is nearer to the truth than zero-filling: $(score $m.npy), $(score adjoint.npy)" awk "BEGIN { exit !($(score $m.npy) < 0.85 * $(score adjoint.npy)) }"
done
check "nlinv, which knows no maps, too: $(score nlinv.npy)" awk "BEGIN { exit !($(score nlinv.npy) < 0.95 * $(score adjoint.npy)) }"
# How many steps: as many as fit more than noise. Of a noisy scan fewer than ten, which were taken of every scan before.
kray simulate brain --matrix 64,64 --slices 1 --coils 12 --snr 10 -o noisy.h5 --reference clean.npy -q --undersample uniform:accel=3,lines=12
error() { kray eval --target clean.npy --recon "$1" --protocol bart --scale fit --json | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2; }
works 'nlinv: 6 steps' kray recon noisy.h5 -v -o chosen.npy --method nlinv
works '' kray recon noisy.h5 -o ten.npy --method nlinv --steps 10
check "fewer steps are nearer to the truth: $(error chosen.npy), ten $(error ten.npy)" awk "BEGIN { exit !($(error chosen.npy) < 0.8 * $(error ten.npy)) }"
works 'two.npy: {x=80' kray recon scan.h5 -o two.npy --method nlinv --sets 2 --steps 8
works 'one.npy: {x=80' kray recon scan.h5 -o one.npy --method nlinv --towards one --tolerance 0.2
KR_THREADS=3 kray recon scan.h5 -o again.npy --method cs -q
check 'threads change nothing' cmp cs.npy again.npy
works 'admm' kray recon scan.h5 -o x.npy --method cs --reg wavelet:1e-3+tv:1e-3 --solver admm -v
works 'the best of 3 by NRMSE' kray recon scan.h5 -o best.npy --method tv --lambda 3e-4:3e-2:3 --reference truth.npy
check 'the table has a row a lambda' [ "$(wc -l <"$out")" = 4 ]
works 'cross-validation' kray recon scan.h5 -o best.npy --method wavelet -l 1e-3:1e-1:3
check 'it takes the middle one, as the reference does, and prints a third column' awk 'NR == 1 { if ($3 != "held") exit 1 } NR > 1 { g[NR] = $3 } END { exit !(NR == 4 && g[3] < g[2] && g[3] < g[4]) }' "$out"
# Samples held out choose what the reference would, or a neighbour of it on a grid of factors of three.
for m in sense wavelet; do
    works 'cross-validation' kray recon scan.h5 -o held.npy --method $m --lambda 3e-4:3e-2:5
    works 'by NRMSE' kray recon scan.h5 -o known.npy --method $m --lambda 3e-4:3e-2:5 --reference truth.npy
    check "$m: within 0.5 dB of the best of the sweep: $(score held.npy), $(score known.npy)" awk "BEGIN { exit !($(score held.npy) < 1.06 * $(score known.npy)) }"
done
# Along two axes by chance: the calibration area, where all neighbours are there, chose 1.4 dB worse. The readout's gaps are found in lines of ISMRMRD.
kray simulate -q -o poisson.h5 --matrix 80,80 --slices 1 --coils 6 --snr 40 --no-oversampling -u poisson:accel=4,calib=20,axes=xy,seed=1 --reference clean.npy
works '4237 of 5836 samples of its lines are 0 in all channels' kray recon poisson.h5 -o held.npy --method sense --lambda 1e-3:0.243:6
check 'by cross-validation' grep -q 'by cross-validation' "$err"
works 'by NRMSE' kray recon poisson.h5 -o known.npy --method sense --lambda 1e-3:0.243:6 --reference clean.npy
check "poisson: within 0.5 dB of the best of the sweep: $(score held.npy clean.npy), $(score known.npy clean.npy)" awk "BEGIN { exit !($(score held.npy clean.npy) < 1.06 * $(score known.npy clean.npy)) }"
kray convert poisson.h5 poisson.cfl -q
kray recon poisson.h5 -o lines.npy --method sense --no-whiten -q
kray recon poisson.cfl -o plain.npy --method sense -q
near 'the same as of samples without lines' "$(kray eval --target plain.npy --recon lines.npy --protocol bart --json | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2)" 0 1e-5
works 'generalised cross-validation' kray recon full.h5 -o best.npy --method wavelet -l 1e-3:1e-1:2
works 'the discrepancy principle' kray recon scan.h5 -o best.npy --method wavelet --maps 2 --iterations 10 -l 1e-3:1e-1:2
works 'NRMSE' kray recon scan.h5 -o best.npy --method sense --lambda=1e-4:1e-2:2 --reference truth.npy
refuses 1 'does not report its residual' kray recon full.h5 -o x.npy --method sense --lambda 1e-4:1e-2:2
refuses 2 'a sweep looks like 1e-4:1e-1:7' kray recon scan.h5 -o x.npy --method tv --lambda 1e-4:1e-2
refuses 2 'there is none' kray recon scan.h5 -o x.npy --method tv --reference truth.npy
refuses 2 'did you mean wavelet' kray recon scan.h5 -o x.npy --method cs --reg wavelets:0.1
refuses 2 'looks like wavelet:0.01+tv:0.002' kray recon scan.h5 -o x.npy --method cs --reg wavelet
refuses 1 'tgv cannot be summed' kray recon scan.h5 -o x.npy --method cs --reg tgv:0.1+tv:0.1
# The learned regulariser, by the weights that come with Kray.
KR_THREADS=3 kray recon scan.h5 -o again.npy --method wcrr -q
check 'threads change nothing of it' cmp wcrr.npy again.npy
works '' kray recon scan.h5 -o once.npy --method wcrr --rounds 1
check "its masks are worth 1.5 % of the error at least: $(score wcrr.npy), without them $(score once.npy)" awk "BEGIN { exit !($(score wcrr.npy) < 0.985 * $(score once.npy)) }"
works 'lbfgs' kray recon scan.h5 -o x.npy --method wcrr -v
works 'fista' kray recon scan.h5 -o x.npy --method cs --reg wcrr:0.008+wavelet:0.0005 -v --iterations 20
works '"kray_weights_digest"' kray info wcrr.npy --json
refuses 1 'one term of a sum' kray recon scan.h5 -o x.npy --method cs --reg wcrr:0.008+wcrr:0.001
refuses 1 'admm cannot solve' kray recon scan.h5 -o x.npy --method wcrr --solver admm
# Where all is measured, samples put back leave nothing of it; where some are, it is neither image.
kray coils full.h5 -o everywhere.npy --crop 0 -q
works '' kray recon full.h5 -o back.npy --coils everywhere.npy --method wcrr --lambda 0.03 --iterations 5 --put-back
works '' kray recon full.h5 -o plain.npy --coils everywhere.npy --method adjoint
apart() { kray eval --target "$1" --recon "$2" --protocol bart --json | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2; }
check "all samples put back: $(apart plain.npy back.npy)" awk "BEGIN { exit !($(apart plain.npy back.npy) < 1e-4) }"
works '"kray_put_back"' kray info back.npy --json
works '' kray recon scan.h5 -o back.npy --method wcrr --put-back
check "some put back: $(apart wcrr.npy back.npy)" awk "BEGIN { e = $(apart wcrr.npy back.npy); exit !(e > 1e-3 && e < 0.5) }"
# How far it is to be believed.
works 'off those measured' kray recon scan.h5 -o beside.npy --method wcrr --residual residual.npy --uncertainty spread.npy
check 'the image is that without them' cmp beside.npy wcrr.npy
works '"kray_residual"' kray info beside.npy --json
check 'both are as large as the image' [ "$(kray info residual.npy spread.npy beside.npy --json | jq -c '[.[].shape] | unique | length')" = 1 ]
kray simulate brain --matrix 48,48 --coils 4 --traj radial:spokes=40 -o spokes.h5 -q
refuses 1 'scans of MRI on a grid' kray recon spokes.h5 -o x.npy --method wcrr --uncertainty spread.npy
refuses 1 'one set of coil maps' kray recon scan.h5 -o x.npy --method wcrr --maps 2 --residual residual.npy
refuses 1 'residual wants all slices at once' kray recon scan.h5 -o x.npy --method wcrr --residual residual.npy --memory 34M
refuses 1 'put-back is for samples on a grid' kray recon spokes.h5 -o x.npy --method wcrr --put-back
refuses 1 'no solver takes a smooth term' kray recon scan.h5 -o x.npy --method cs --reg wcrr:0.008+tv:0.001
refuses 1 'level' kray recon scan.h5 -o x.npy --method wcrr --level -1
other='{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
printf "\\$(printf %o ${#other})\\0\\0\\0\\0\\0\\0\\0%s\\0\\0\\0\\0" "$other" > other.safetensors
refuses 1 'have a tensor filters.0.weight' kray recon scan.h5 -o x.npy --method wcrr --weights other.safetensors
refuses 1 'wants a series of frames' kray recon scan.h5 -o x.npy --method llr
refuses 1 'fista cannot solve' kray recon scan.h5 -o x.npy --method tv --solver fista
refuses 1 'orders 1 to 10' kray recon scan.h5 -o x.npy --method wavelet --order 11
refuses 1 '0 < fall <= 1' kray recon scan.h5 -o x.npy --method nlinv --fall 2
refuses 1 '1 to 8 sets' kray recon scan.h5 -o x.npy --method nlinv --sets 0
refuses 2 'nlinv takes no coil maps' kray recon scan.h5 -o x.npy --method nlinv --maps 2
refuses 1 'iterations' kray recon scan.h5 -o x.npy --method wavelet --iterations 0

# readout oversampling is removed for these methods too: maps made of the scan fit
kray simulate -m 32,32 -s 1 -c 4 -o wide.h5 -q
works '' kray coils wide.h5 -o maps.npy
works '{x=32 y=32}' kray recon wide.h5 -o x.npy --method wavelet --coils maps.npy
works '{x=32 y=32}' kray recon wide.h5 -o x.npy --method tv --coils maps.npy

cine=$KR_SHARED/samples/cmrxrecon/2023/MultiCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat
if [ -e "$cine" ]; then
    for m in llr ttv lowrank-sparse kt-sense; do
        works '{x=48 y=32 slice=3 time=4}' kray recon "$cine" -o cine.npy --method $m --coils lowres
    done
else
    skip 'cine in one command' 'the samples are absent'
fi
