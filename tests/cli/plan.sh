#!/bin/bash
# plan.sh: what --plan says a job needs, beside the most memory that the same job then held: within 1.3 times either way. Images are large enough
# that the program itself is the smaller part.
. "$(dirname "$0")/lib.sh"
if [ "${KR_SANITIZE:-none}" != none ]; then skip 'memory' 'the sanitizers keep what was freed'; exit; fi
peak() { "$KR_BUILD/tests/kray-peak" "$KR_BUILD/tools/kray" "$@" 2>"$err"; }
planned() { kray "$@" --plan --json 2>"$err" | tr -d ' \n' | grep -o '"memory_bytes":[0-9.e+]*' | cut -d: -f2; }
held()      # SCAN METHOD [options]
{
    local scan=$1 method=$2 p r; shift 2
    local few='--iterations 2'
    case $method in rss|adjoint|grappa) few= ;; esac
    p=$(planned recon "$scan" -o image.npy --method "$method" --threads 1 $few "$@")
    r=$(peak recon "$scan" -o image.npy --method "$method" --threads 1 -q $few "$@") || r='nothing, it failed,'
    check "$method $* of $scan: $p planned, $r held" awk -v p="$p" -v r="$r" 'BEGIN { exit !(p > r / 1.3 && p < r * 1.3) }'
}

kray simulate brain -o wide.npy --matrix 384,384 --slices 1 --coils 4 --snr 0 -q --undersample random:accel=3,center=0.1,seed=1 --no-oversampling || exit 99
kray simulate brain -o many.npy --matrix 192,192 --slices 2 --coils 24 --snr 0 -q --undersample uniform:accel=3,lines=24 --no-oversampling || exit 99
kray simulate brain -o volume.npy --matrix 96,96,64 --coils 4 --snr 0 -q --undersample poisson:accel=3,calib=16 --no-oversampling || exit 99
kray simulate brain -o cine.npy --matrix 128,128 --slices 24 --thickness 2 --gap 1 --coils 4 --snr 0 -q --undersample random:accel=3,center=0.15,seed=1 --no-oversampling || exit 99
for m in adjoint sense wavelet tv tgv spirit; do held wide.npy@coil,y,x $m; done
for m in rss wavelet spirit grappa; do held many.npy@slice,coil,y,x $m; done
held many.npy@slice,coil,y,x spirit --compress 8
held many.npy@slice,coil,y,x wavelet --maps 2
for m in adjoint sense wavelet tv nlinv; do held volume.npy@coil,z,y,x $m; done
for m in sense ttv llr lowrank-sparse kt-sense; do held cine.npy@time,coil,y,x $m; done
held cine.npy@time,coil,y,x cs --reg ttv:0.01+wavelet:0.01

kray simulate brain -o radial.h5 --matrix 300,300 --slices 1 --coils 8 --traj radial:spokes=120,angle=golden -q || exit 99
for m in rss adjoint wavelet; do held radial.h5 $m; done
kray simulate shepplogan -o frames.h5 --matrix 160,160 --slices 1 --coils 8 --traj radial:spokes=400,angle=golden -q || exit 99
for m in sense nlinv; do held frames.h5 $m; done
for m in ttv llr; do held frames.h5 $m --spokes 20; done
kray simulate shepplogan -o slices.h5 --matrix 128,128 --slices 10 --coils 6 --traj radial:spokes=100 -q || exit 99
held slices.h5 wavelet
kray simulate shepplogan -o koosh.h5 --matrix 48,48,48 --coils 4 --traj koosh:spokes=2000 -q || exit 99
held koosh.h5 sense

# Half the steps in k-space, an object twice as large: the plane that is solved for is 1.5 times as wide, which the data tell
kray simulate brain -o round.h5 --matrix 160,160 --slices 1 --coils 8 --traj radial:spokes=250 -q || exit 99
array half.npy x=320,y=250,z=2 spokes scale=40
works '240 x 240 voxels are solved for' kray recon round.h5 -o image.npy -m sense --traj half.npy@chan,view,sample
held round.h5 sense --traj half.npy@chan,view,sample
wide=$(planned recon round.h5 -o image.npy -m sense --traj half.npy@chan,view,sample) image=$(planned recon round.h5 -o image.npy -m sense)
check "$wide planned where the plane is wider, $image else" [ "${wide%.*}" -gt "${image%.*}" ]
refuses 1 'needs' kray recon round.h5 -o image.npy -m sense --traj half.npy@chan,view,sample --memory "${image%.*}"

# X-ray projections, as they lie in the file.
kray simulate head --geometry cone:sod=500,sdd=1000,pixel=1.5,angles=0:360:60 --detector 192,160 -o cone.npy -q
kray simulate thorax --geometry parallel:pixel=1,angles=0:180:400 --detector 400 -o sino.npy -q
for m in 'cone fbp' 'cone sirt -i 2' 'parallel fbp' 'parallel tv -i 2'; do
    set -- $m
    case $1 in cone) scan=(cone.npy --geometry cone:sod=500,sdd=1000,pixel=1.5,angles=0:360:60) ;; *) scan=(sino.npy --geometry parallel:pixel=1,angles=0:180:400) ;; esac
    p=$(planned ct "${scan[@]}" --method "${@:2}" --threads 1)
    r=$(peak ct "${scan[@]}" -o image.npy --threads 1 -q --method "${@:2}") || r='nothing, it failed,'
    check "$m: $p planned, $r held" awk -v p="$p" -v r="$r" 'BEGIN { exit !(p > r / 1.3 && p < r * 1.3) }'
done
works 'image' kray ct sino.npy --geometry parallel:pixel=1,angles=0:180:400 --plan -o never.npy
check 'and nothing is written' [ ! -e never.npy ]
