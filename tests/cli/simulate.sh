# simulate.sh: scans of phantoms from the command line.
. "$(dirname "$0")/lib.sh"

works 'brain' kray simulate --help
works 'shepplogan' kray simulate --help
small='--matrix 48,40 --slices 2 --coils 3'
works '{x=96 y=40 coil=3 slice=2}' kray simulate brain $small -o a.cfl --reference truth.nii.gz
works '{x=96 y=40 coil=3 slice=2}' kray simulate $small -o b.cfl
check 'the brain is what is scanned by default, noise and all the same' cmp a.cfl b.cfl
kray simulate $small -o c.cfl --seed 1 -q
check 'another seed is other noise' [ "$(cmp a.cfl c.cfl | wc -l)" = 1 ]
KR_THREADS=3 kray simulate $small -o d.cfl -q
check 'threads change nothing' cmp a.cfl d.cfl
works '' kray simulate $small -o m.npy --maps maps.cfl -q
check 'maps are on the grid of the image' grep -q '48 40 1 3' maps.hdr
works '{x=48 y=40 z=16 coil=2}' kray simulate shepplogan --matrix 48,40,16 --coils 2 --no-oversampling -o e.cfl
works '{x=96 y=40 coil=3}' kray simulate truth.nii.gz --matrix 48,40 --slices 1 --coils 3 -o f.cfl
works '' kray simulate $small --undersample uniform:accel=4,lines=12 -o g.npy --snr 0 --quiet
works '' kray simulate $small --contrast flair --snr 10 --correlation 0 --no-noise-scan --no-phase -o h.npy -q
check 'nothing stays beside the files' [ -z "$(ls -A | grep '^\.kray')" ]

# Along trajectories: written with the positions, read with no option, and the same samples with the positions in words.
works '{sample=96 view=60 coil=3}' kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 --traj radial:spokes=60 -o radial.h5 --reference radial.nii.gz
works 'samples along a trajectory' kray recon radial.h5 -o radial_x.nii.gz
works 'method: wavelet (the method that --lambda belongs to)' kray recon radial.h5 -o radial_w.nii.gz --lambda 0.01 --iterations 3
works '' kray simulate shepplogan --matrix 48 --slices 1 --coils 1 --snr 0 --traj radial:spokes=30 -o radial_one.h5
works 'method: wavelet (samples along a trajectory)' kray recon radial_one.h5 -o radial_w.nii.gz
nrmse() { kray eval --json --target "$1" "$2" | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2; }
near 'the image is the object' "$(nrmse radial.nii.gz radial_x.nii.gz)" 0 .12
works 'k-space positions are not in' kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 --traj radial:spokes=60 -o radial.cfl
works 'method: wavelet' kray recon radial.cfl@-,sample,view,coil --traj radial --matrix 48,48 -o radial_y.nii.gz
near 'and so it is from words' "$(nrmse radial_x.nii.gz radial_y.nii.gz)" 0 .001
works '' kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 --traj spiral:interleaves=6 -o spiral.npy --positions spiral_k.npy
works '60 spokes through the centre of 96 samples, k up to 24' kray info radial.h5
works '"spokes": "through the centre"' kray info --json radial.h5
works '' kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 --traj radial:spokes=50,angle=golden -o golden.h5
works '4 frames of 12 readouts; the last 2' kray recon golden.h5 --spokes 12 --method ttv --iterations 60 -o series.nii.gz
works 'time=4' kray info series.nii.gz
refuses 2 'readouts of the scan are wanted' kray recon golden.h5 --spokes 51 --method ttv -o x.nii.gz

# Delays: data measured where gradients lag, found again; weights of every kind give the object.
works 'gradient delays: x ' kray recon radial.h5 --delay auto --method adjoint -o radial_d.nii.gz
works '' kray recon radial.h5 --density voronoi -o radial_v.nii.gz
works '' kray recon radial.h5 --density ramp --delay 0.01,0 -o radial_r.nii.gz
near 'weights change little of a least-squares image' "$(nrmse radial_x.nii.gz radial_r.nii.gz)" 0 .05
refuses 2 'is for scans with a trajectory' kray recon e.cfl --delay auto -o x.nii.gz
refuses 2 'numbers of samples' kray recon radial.h5 --delay 0.1 -o x.nii.gz
refuses 1 'there is no such file' kray recon radial.h5 --density vorono -o x.nii.gz
refuses 2 'a kind of trajectory is wanted' kray simulate --traj loops -o x.h5
refuses 2 "there is no 'spoke'" kray simulate --traj radial:spoke=4 -o x.h5
refuses 2 '0 spokes are not possible' kray simulate --traj radial:spokes=0 -o x.h5
refuses 2 'is for scans on a grid' kray simulate --traj radial -u random:accel=4 -o x.h5
refuses 2 'and there is none' kray simulate --positions x.npy -o x.h5

refuses 2 'where to?' kray simulate brain
refuses 2 "there is no phantom 'brian'" kray simulate brian -o x.npy
refuses 1 'there is no such file' kray simulate none.nii.gz -o x.npy
refuses 2 'one phantom is wanted' kray simulate brain shepplogan -o x.npy
refuses 2 'wants up to 3 numbers' kray simulate --matrix 64,x -o x.npy
refuses 2 'wants up to 3 numbers' kray simulate --matrix 64,64,64,64 -o x.npy
refuses 2 'wants whole numbers' kray simulate --matrix 64.5 -o x.npy
refuses 2 'is one of t1|t2|pd|flair' kray simulate --contrast t9 -o x.npy
refuses 2 '--thickness says how thick' kray simulate --fov 240,240,80 -o x.npy
refuses 1 '8 to 4096' kray simulate --matrix 4,4 -o x.npy
refuses 1 '1 to 256' kray simulate --coils 0 -o x.npy
refuses 1 'field of view' kray simulate --fov 5000 -o x.npy
refuses 2 'cannot be written under that name' kray simulate $small -o x.xyz
touch plain
refuses 1 'is not a folder' kray simulate $small -o plain/x.npy
check 'refused scans leave no file' [ ! -e x.npy ]
