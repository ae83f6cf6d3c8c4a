#!/bin/sh
# make demo: simulates a multi-coil scan of a brain, undersamples it, reconstructs it several ways, and leaves a table of
# scores and times, a picture and a report in demo/.
set -eu
kray=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/.."
mkdir -p demo
cd demo
mask=equispaced:accel=4,center=0.12,seed=1

seconds() { date +%s.%N; }
echo "Simulating a brain, 8 slices of 256 x 256, 12 coils, with noise ..."
"$kray" simulate brain -o scan.h5 --matrix 256,256 --slices 8 --coils 12 --snr 60 --seed 1 --reference target.nii.gz --quiet

table=""
# Not whitened: the target is in the units of the scan, whitened data are in units of the noise.
run()   # NAME METHOD [options]
{
    name=$1 method=$2; shift 2
    echo "Reconstructing: $name ..."
    before=$(seconds)
    "$kray" recon scan.h5 -o "$name.nii.gz" --method "$method" --undersample "$mask" --no-whiten --quiet "$@"
    table="$table$name $(echo "$before $(seconds)" | awk '{ printf "%.2f", $2 - $1 }')
"
}
run zero-filled rss
run adjoint adjoint
run sense sense
run sense-walsh sense --coils walsh
run wavelet wavelet --lambda 0.005
# A regulariser trained by kray train, whose weights come with Kray.
run learned wcrr

echo "Reconstructing: an X-ray CT phantom from 60 noisy views, filtered back-projection and TV ..."
"$kray" ct phantom -o ct_fbp.png --geometry parallel:pixel=1,angles=0:180:60 --photons 1e5 --quiet
"$kray" ct phantom -o ct_tv.png --geometry parallel:pixel=1,angles=0:180:60 --photons 1e5 --method tv --nonneg -i 60 --quiet

"$kray" report --target target.nii.gz zero-filled=zero-filled.nii.gz sense=sense.nii.gz wavelet=wavelet.nii.gz learned=learned.nii.gz -o report.html --quiet
"$kray" mask "$mask" --shape 256,256 -o mask.png --quiet >/dev/null
"$kray" convert wavelet.nii.gz wavelet.png --quiet

echo
echo "Every fourth line and a fully sampled centre, against the noiseless fully sampled image ($mask):"
echo
printf '%-14s %8s %8s %9s %9s\n' method SSIM PSNR/dB NMSE seconds
printf '%s' "$table" | while read -r name time; do
    "$kray" eval --target target.nii.gz --recon "$name.nii.gz" --protocol fastmri --csv "$name.csv" --quiet >/dev/null
    awk -F, -v name="$name" -v time="$time" '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
        $column["level"] == "volume" { printf "%-14s %8.4f %8.2f %9.5f %9s\n", name, $column["ssim"], $column["psnr"], $column["nmse"], time }' "$name.csv"
done
echo
echo "Report: demo/report.html   picture: demo/wavelet.png   mask: demo/mask.png"
