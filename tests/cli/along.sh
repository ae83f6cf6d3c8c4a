# along.sh: what the command says of a scan along a trajectory: units, fields of view, shifts, sequences, gates, pictures.
. "$(dirname "$0")/lib.sh"
nrmse() { kray eval --json --target "$1" "${@:2}" | tr -d ' \n' | grep -o '"nrmse":[0-9.e-]*' | head -1 | cut -d: -f2; }
fitted() { nrmse "$1" "$2" --scale fit; }
kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 --traj radial:spokes=60 -o radial.h5 -q
kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 0 -o grid.h5 -q

# ---- Units and fields of view ----
works '{x=48 y=48}' kray recon radial.h5 -o plain.nii.gz -m adjoint
works '{x=48 y=48}' kray recon radial.h5 -o same.nii.gz -m adjoint --traj-units fov
near 'stated units change nothing where they are right' "$(nrmse plain.nii.gz same.nii.gz)" 0 1e-7
refuses 1 'which is not in cycles per sample' kray recon radial.h5 -o x.nii.gz --traj-units sample
refuses 2 'is one of auto|fov|sample' kray recon radial.h5 -o x.nii.gz --traj-units mm
refuses 2 'this scan is on a grid' kray recon grid.h5 -o x.nii.gz --traj-units fov
works '{x=72 y=60}' kray recon radial.h5 -o wide.nii.gz -m adjoint --fov 330,275
works '4.5833 x 4.5833' kray info wide.nii.gz
array bare.npy sample=96,view=60 blob
positions="--traj radial:spokes=60 -m adjoint"       # of a file that knows no field of view
works 'this is the one of 48 x 48 voxels' kray recon bare.npy@view,sample $positions -o stated.nii.gz --fov 96,144
works '2 x 3 x 1 mm' kray info stated.nii.gz
works '{x=96 y=72}' kray recon bare.npy@view,sample $positions -o wide.nii.gz --voxel 1.5,2,4 --fov 144,144
works '1.5 x 2 x 4 mm' kray info wide.nii.gz
array half.npy x=96,y=60,z=2 spokes scale=0.25
works 'reaches to 12 of the 24 cycles' kray recon bare.npy@view,sample --traj half.npy@chan,view,sample --matrix 48,48 -m adjoint -o x.nii.gz
works '' kray recon bare.npy@view,sample --traj half.npy@chan,view,sample --traj-units sample --matrix 48,48 -m adjoint -o x.nii.gz
check 'stated units are not doubted' [ "$(grep -c 'reaches to' "$err")" = 0 ]
refuses 1 'the file gives voxels of 4.5833 mm' kray recon radial.h5 -o x.nii.gz -m adjoint --voxel 2,2,5
refuses 2 'lengths in mm' kray recon radial.h5 -o x.nii.gz --fov 300
refuses 2 'this one is on a grid' kray recon grid.h5 -o x.nii.gz --fov 300,300
works '{x=48 y=48}' kray recon radial.h5 -o moved.nii.gz -m adjoint --fov-shift 9.16667,0
refuses 2 'do not move along z' kray recon radial.h5 -o x.nii.gz --fov-shift 0,0,5
refuses 2 'distances in mm' kray recon radial.h5 -o x.nii.gz --fov-shift far

# ---- What cannot be ----
kray simulate shepplogan --matrix 48 --slices 1 --coils 4 --snr 20 --traj radial:spokes=5,angle=golden -o few.h5 -q
works '% of the middle of k-space that coil maps are made from' kray recon few.h5 -o x.nii.gz
array zeros.npy x=96,y=60 flat scale=0
refuses 1 'is 0 everywhere' kray recon radial.h5 -o x.nii.gz --density zeros.npy
array far.npy sample=96,view=60,chan=2 blob scale=1e6
array some.npy sample=96,view=60 blob
refuses 1 'pixels a side (at most 8192)' kray recon some.npy@view,sample --traj far.npy@chan,view,sample -m adjoint -o x.nii.gz

# ---- Noise ----
kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 30 --traj radial:spokes=60 -o noisy.h5 -q
works 'sense, noise of a sample 1' kray snr noisy.h5 -o snr.nii.gz --noise sd.nii.gz --replicas 4
works '"acceleration": null' kray snr noisy.h5 -o snr32.nii.gz --replicas 2 --method adjoint --json
refuses 2 'the file says 48 along x' kray snr noisy.h5 -o x.nii.gz --matrix 32,32
refuses 2 'which one along a trajectory has none of' kray snr noisy.h5 --gfactor g.nii.gz --replicas 2

# ---- Pictures ----
works 'positions' kray info radial.h5 --plot plot.png
check 'there is a picture' [ -s plot.png ]
refuses 2 'there are none' kray info grid.h5 --plot x.png
refuses 2 'several' kray info radial.h5 grid.h5 --plot x.png

# ---- A Pulseq sequence: two spokes, the second turned round by a refocusing pulse ----
seq=$here/../fuzz/corpus/pulseq/v1.5
cp "$seq" scan.seq
works '10 samples' kray info scan.seq --plot seq.png
works '"format": "pulseq"' kray info --json scan.seq
works '' kray convert scan.seq k.npy --what array
array two.npy x=10,y=2 blob
works 'Pulseq 1.5.0, 2 readouts of 10 samples' kray recon two.npy@view,sample --traj scan.seq --matrix 32,32 -m adjoint -o two.nii.gz
refuses 2 'are per metre' kray recon two.npy@view,sample --traj scan.seq --traj-units fov -m adjoint -o x.nii.gz
refuses 1 'the data 96 of 60' kray recon radial.h5 --traj scan.seq -m adjoint -o x.nii.gz

# ---- A raw file by the sequence that was played ----
# readouts, one a line: steps from sample to sample along x and y, and the first sample's position, per metre -> a sequence
played() # SAMPLES
{
    awk -v n="$1" 'BEGIN { print "[VERSION]\nmajor 1\nminor 4\nrevision 0\n[DEFINITIONS]\nFOV 0.22 0.22 0.005\nGradientRasterTime 1e-05\nBlockDurationRaster 1e-05\n" }
        { v++; for (d = 1; d <= 2; d++) { step[d, v] = $d; from[d, v] = $(d + 2) } }
        END { print "[BLOCKS]"
              for (i = 1; i <= v; i++) { print ++b, 20, 1, 0, 0, 0, 0, 0; print ++b, 30, 0, 4 * i - 3, 4 * i - 1, 0, 0, 0; print ++b, n + 20, 0, 4 * i - 2, 4 * i, 0, 1, 0 }
              print "[RF]\n1 250 1 0 0 100 0 0\n[TRAP]"
              for (i = 1; i <= v; i++) for (d = 1; d <= 2; d++) { g = step[d, i] / 1e-5
                  printf "%d %.10g 100 100 100 0\n%d %.10g 100 %d 100 0\n", 4 * i - 5 + 2 * d, (from[d, i] - g * 55e-6) / 200e-6, 4 * i - 4 + 2 * d, g, n * 10 }
              print "[ADC]\n1", n, 10000, 100, 0, 0, "\n[SHAPES]\nshape_id 1\nnum_samples 100\n1\n0\n0\n97" }'
}
numbers() { awk -v OFMT=%.10g -v CONVFMT=%.10g "$@"; }
numbers 'BEGIN { for (j = 0; j < 60; j++) { a = 3.14159265358979 * j / 60; x = sin(a) / .22; y = cos(a) / .22; print .5 * x, .5 * y, -24 * x, -24 * y } }' </dev/null | played 96 >radial.seq
numbers 'BEGIN { for (j = 0; j < 48; j++) print .5 / .22, 0, -24 / .22, (j - 24) / .22 }' </dev/null | played 96 >grid.seq
works 'along their path' kray recon radial.h5 --seq radial.seq -v -o played.nii.gz -m adjoint
near 'positions of the sequence are those of the file' "$(nrmse plain.nii.gz played.nii.gz)" 0 1e-4
works '' kray recon grid.h5 -o grid.nii.gz -m sense
works 'on a grid' kray recon grid.h5 --seq grid.seq -v -o played_grid.nii.gz -m sense
near 'straight lines at whole steps lie on a grid' "$(nrmse grid.nii.gz played_grid.nii.gz)" 0 1e-6
works 'memory' kray recon grid.h5 --seq grid.seq -m sense --plan -o x.nii.gz
refuses 1 'the sequence plays 48 readouts, the file has 60 lines' kray recon radial.h5 --seq grid.seq -o x.nii.gz
refuses 1 'do not keep their lines apart' kray recon two.npy@view,sample --seq scan.seq -o x.nii.gz
refuses 2 'and so does --traj' kray recon radial.h5 --seq radial.seq --traj radial.seq -o x.nii.gz
refuses 2 'are per metre' kray recon radial.h5 --seq radial.seq --traj-units fov -o x.nii.gz
refuses 1 'cannot be opened' kray recon radial.h5 --seq none.seq -o x.nii.gz

# ---- Gates ----
kray simulate shepplogan --matrix 48 --slices 1 --coils 3 --snr 20 --traj radial:spokes=60 -o noisy.h5 -q
works 'state' kray recon noisy.h5 --breathing 3 -m adjoint -o breath.nii.gz
works 'time=3' kray info breath.nii.gz
refuses 1 'this scan has neither' kray recon radial.h5 --phases 4 -m adjoint -o x.nii.gz
refuses 2 'is for scans with a trajectory' kray recon grid.h5 --phases 4 -o x.nii.gz
refuses 2 'only one of these' kray recon radial.h5 --breathing 3 --spokes 10 -m adjoint -o x.nii.gz
refuses 1 'for ttv and llr' kray recon noisy.h5 --breathing 3 -m lowrank-sparse --frames all -o x.nii.gz
works 'time=3' kray recon noisy.h5 --breathing 3 -m ttv --frames all --iterations 20 -o series.nii.gz

# ---- Image and coil maps together ----
works '{x=48 y=48}' kray recon noisy.h5 -m nlinv -o joint.nii.gz
check 'from the samples, not from a grid' [ "$(grep -c gridded "$err")" = 0 ]
kray simulate shepplogan --matrix 72 --slices 1 --coils 6 --snr 40 --traj radial:spokes=120 -o large.npy --no-noise-scan -q       # does not fit into 48 x 48
works 'the image is the middle of them' kray recon large.npy@coil,view,sample --traj radial:spokes=120 --matrix 48,48 -m nlinv -o middle.nii.gz
check 'which explains the data' [ "$(grep -c unexplained "$err")" = 0 ]
works '{x=72 y=72}' kray recon large.npy@coil,view,sample --traj radial:spokes=120 --matrix 72,72 -m nlinv -o all.nii.gz
near 'as if the image had been as large' "$(fitted middle.nii.gz all.nii.gz)" 0 1e-3

# ---- Field maps ----
refuses 1 'nlinv takes no field map' kray recon radial.h5 --field-map plain.nii.gz -m nlinv -o x.nii.gz
works 'off-resonance from' kray recon radial.h5 --field-map plain.nii.gz --field-zero=-2400 -m sense -o field.nii.gz
check 'which changes the image' [ "$(cmp -s field.nii.gz plain.nii.gz; echo $?)" = 1 ]
refuses 1 'the file says 5 us' kray recon radial.h5 --field-map plain.nii.gz --dwell 10 -m sense -o x.nii.gz
refuses 2 'which are not given' kray recon radial.h5 --dwell 10 -m sense -o x.nii.gz
refuses 2 'is for scans with a trajectory' kray recon grid.h5 --field-map plain.nii.gz -o x.nii.gz
refuses 1 'there is no such file' kray recon radial.h5 --field-map none.nii.gz -m sense -o x.nii.gz

# ---- Gradient impulse responses ----
array flat.npy x=2,y=2 flat scale=0
refuses 1 'begins with no frequency above' kray recon radial.h5 --girf flat.npy -m adjoint -o x.nii.gz
refuses 1 'rows along y of 2 or 4 numbers' kray recon radial.h5 --girf two.npy -m adjoint -o x.nii.gz
refuses 2 'is for scans with a trajectory' kray recon grid.h5 --girf flat.npy -o x.nii.gz
refuses 1 'no such file' kray recon radial.h5 --girf none.npy -m adjoint -o x.nii.gz

# ---- Without --method ----
kray simulate brain --matrix 64 --slices 1 --coils 6 --snr 30 --traj radial:spokes=24,angle=golden -o golden.h5 -r golden_truth.nii.gz --no-noise-scan -q
works 'method: wavelet (samples along a trajectory)' kray recon golden.h5 -o golden.nii.gz
works '' kray recon golden.h5 -o golden_sense.nii.gz -m sense
check 'nearer to the truth than SENSE' awk -v own="$(fitted golden_truth.nii.gz golden.nii.gz)" -v sense="$(fitted golden_truth.nii.gz golden_sense.nii.gz)" 'BEGIN { print own, sense; exit !(own > 0 && own < 0.95 * sense) }'

# ---- Series: accelerated gradients come down where primal-dual steps do, in a fifth of them ----
objective() { kray recon golden.h5 --spokes 8 -m ttv --solver "$1" --iterations "$2" --tolerance 0 -v -o series.npy 2>&1 | sed -n 's/.*objective \([0-9.e+]*\),.*/\1/p'; }
check 'total variation in time' awk -v a="$(objective auto 200)" -v b="$(objective pdhg 1000)" 'BEGIN { print a, b; exit !(a > 0 && b > 0 && a < b) }'
