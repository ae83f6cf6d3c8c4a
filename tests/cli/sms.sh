# Slices measured together: simulated, described, taken apart; from files that say so and from files that do not.
. "$(dirname "$0")/lib.sh"

score() { kray eval -t truth.nii.gz -r "$1" --scale fit --csv - 2>/dev/null | awk -F, '$2 == "volume" { print $8 }'; }
below() { awk -v a="$(score "$1")" -v b="$2" 'BEGIN { exit !(a != "" && a < b) }' || { echo "NRMSE of $1: $(score "$1"), wanted below $2"; return 1; }; }

small="-m 80,80 -c 12 --snr 60 --thickness 4 --gap 12"
works '' kray simulate $small --slices 6 --multiband 3 -o sms.h5 -r truth.nii.gz
works 'multiband    3 slices at a time, 6 in all, neighbours FOV/3 apart along y, 32 mm apart' kray info sms.h5
works '"factor": 3' kray info --json sms.h5
works 'method: wavelet (slices measured together)' kray recon sms.h5 -o auto.nii.gz
check 'slices of 3 at a time' below auto.nii.gz 0.1
works '{x=80 y=80 slice=6}' kray recon sms.h5 -o sg.nii.gz -m slice-grappa
check 'by slice-GRAPPA' below sg.nii.gz 0.1
works '' kray coils sms.h5 -o maps.npy
works '' kray recon sms.h5 -o given.nii.gz -m slice-grappa -c maps.npy
check 'combined by maps' below given.nii.gz 0.1
works '' kray recon sms.h5 -o given.nii.gz -m sense -c maps.npy
check 'SENSE with given maps' below given.nii.gz 0.1
works '' kray recon sms.h5 -o wavelet.nii.gz -m wavelet -i 20
check 'l1-wavelet' below wavelet.nii.gz 0.1
works '' kray convert sms.h5 again.h5
works 'neighbours FOV/3 apart along y, 32 mm apart' kray info again.h5
works '' kray recon again.h5 -o again.nii.gz
check 'the same image from a written file' cmp <(gzip -dc auto.nii.gz | tail -c 100000) <(gzip -dc again.nii.gz | tail -c 100000)
check 'and the same positions' [ "$(kray info sms.h5 | grep position)" = "$(kray info again.h5 | grep position)" ]

# every other line, shifts by a sixth: as far apart as in half the field of view
works '' kray simulate $small --slices 4 --multiband 2 -u equispaced:accel=2,center=0 -o half.h5 -r truth.nii.gz
works 'neighbours FOV/4 apart' kray info half.h5
works '' kray recon half.h5 -o half.nii.gz -m slice-grappa
check 'with every other line, by slice-GRAPPA' below half.nii.gz 0.15
works '' kray recon half.h5 -o half.nii.gz
check 'with every other line, by l1-wavelet' below half.nii.gz 0.15
works 'R = 2.00' kray snr half.h5 -N 4 -m slice-grappa -g g.nii.gz
works 'R = 2.00' kray snr half.h5 -N 4 -g g.nii.gz

# files that say nothing
works '' kray simulate $small --slices 4 --no-noise-scan --no-oversampling -o full.cfl -r truth.nii.gz
works '' kray convert full.cfl flat.cfl --multiband 2
works '' kray recon flat.cfl --multiband 2 --caipi 2 --single-band full.cfl -m slice-grappa -o told.nii.gz
check 'factor, shift and reference by options' below told.nii.gz 0.1
works '' kray recon flat.cfl --multiband 2 --caipi 2 --single-band full.cfl -o told.nii.gz
check 'and by l1-wavelet' below told.nii.gz 0.1
works '' kray convert full.cfl made.h5 --multiband 2 --single-band 24
works '2 slices at a time, 4 in all, neighbours FOV/2 apart' kray info made.h5

refuses 1 'no single-band reference' kray recon flat.cfl --multiband 2 --caipi 2 -o x.nii.gz
refuses 1 'slice-grappa needs a single-band reference' kray recon flat.cfl --multiband 2 --caipi 2 -m slice-grappa -o x.nii.gz
refuses 1 '2 bands of 3 slices want 6' kray recon flat.cfl --multiband 3 --single-band full.cfl -o x.nii.gz
refuses 1 'the file says that 3 slices' kray recon sms.h5 --multiband 2 -o x.nii.gz
refuses 2 '--caipi is for slices measured together' kray recon full.cfl --caipi 2 -o x.nii.gz
refuses 1 'which grappa cannot tell apart' kray recon sms.h5 -m grappa -o x.nii.gz
refuses 1 'the file does not say that these were' kray recon full.cfl -m slice-grappa -o x.nii.gz
refuses 1 'FOV / 100' kray recon flat.cfl --multiband 2 --caipi 100 --single-band full.cfl -o x.nii.gz
refuses 1 'a multiple of it' kray simulate $small -s 5 --multiband 2 -o x.h5
refuses 1 'multiple of it' kray simulate -m 32,32,8 --multiband 2 -o x.h5
refuses 1 '4 slices cannot be measured 3 at a time' kray convert full.cfl x.h5 --multiband 3
refuses 1 'measured together already' kray convert made.h5 x.h5 --multiband 2
works '' kray simulate $small -s 4 -c 8 --no-noise-scan --no-oversampling -o eight.cfl
refuses 1 'single-band reference has 8 coils, the data have 12' kray recon flat.cfl --multiband 2 --single-band eight.cfl -o x.nii.gz
works '' kray simulate -m 64,80 -s 4 -c 12 --no-noise-scan --no-oversampling -o narrow.cfl
refuses 1 'wants the same readout' kray recon flat.cfl --multiband 2 --single-band narrow.cfl -o x.nii.gz
