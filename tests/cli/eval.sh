# eval.sh: kray eval on small pictures: pairs, protocols, tables, and every refusal.
. "$(dirname "$0")/lib.sh"

field() { awk -F, -v level="$1" -v volume="$2" -v column="$3" \
    'NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) c = i } $2 == level && $3 == volume && $4 == "" { print $c; exit }' scores.csv; }

array t.npy x=40,y=44,slice=3 blob
array r.npy x=40,y=44,slice=3 blob scale=1.1
array two.npy x=40,y=44,slice=3 point
works 'protocol fastmri' kray eval --target t.npy --recon r.npy --csv scores.csv
near 'NMSE of 1.1 t' "$(field volume r nmse)" 0.01 1e-7            # single precision pictures
near 'NRMSE of 1.1 t' "$(field volume r nrmse)" 0.1 1e-6
near 'HFEN of 1.1 t' "$(field volume r hfen)" 0.1 1e-6
check 'a row for each slice' [ "$(grep -c '^fastmri,slice,r,' scores.csv)" = 3 ]
works '  slice' kray eval --target t.npy r.npy --per-slice
works 'inf' kray eval --target t.npy --recon t.npy
works '"psnr": "inf"' kray eval --target t.npy --recon t.npy --json
works '"hfen": 0.0' kray eval --target t.npy --recon t.npy --json
works 'least-squares' kray eval --target t.npy --recon r.npy --scale fit --csv scores.csv
near 'NMSE after the fit' "$(field volume r nmse)" 0 1e-12
works '"scale": 0.909090' kray eval --target t.npy --recon r.npy --scale fit --json
works 'cmrxrecon2023' kray eval --protocol list
array loud.npy x=40,y=44,slice=3 blob scale=25
works 'loud.npy is 25 times its target, as if in other units; --scale fit' kray eval --target t.npy loud.npy
check 'and no such warning then' [ -z "$(kray eval --target t.npy loud.npy --scale fit 2>&1 | grep units)" ]
for p in $(kray eval --protocol list | sed -n 's/^\([a-z][a-z0-9]*\) .*/\1/p'); do
    target=t.npy
    [ $p != htc2022 ] || target=two.npy                              # of binary images
    works "protocol $p: " kray eval --target $target --recon r.npy --protocol "$p"
    works "\"protocol\": \"$p\"" kray eval --target $target --recon r.npy --protocol "$p" --json
done

# a fully sampled scan is its own target, made ready as kray recon does it: whitened by its noise scan
kray simulate shepplogan -o full.mrd -m 48,48 -s 2 -c 4 -q
kray recon full.mrd --method rss -o full.npy -q
works '"psnr": "inf"' kray eval --target full.mrd --recon full.npy --json

# complex images count by their magnitude
array c.npy x=40,y=44,slice=3 blob scale=1.1 phase=2
works '' kray eval --target t.npy --recon c.npy --csv scores.csv
near 'NMSE of a complex image' "$(field volume c nmse)" 0.01 1e-7

# one empty slice of a volume ends nothing
array full3.npy x=40,y=44,slice=3 blob
head -c $(($(stat -c %s full3.npy) - 40 * 44 * 4)) full3.npy >gap.npy && head -c $((40 * 44 * 4)) /dev/zero >>gap.npy
for p in calgary lodopab cmrxrecon2023 cmrxrecon2024; do
    works '1 of 3 slices have no score' kray eval --target gap.npy --recon full3.npy --protocol $p
done

# region of interest: an error outside it does not count
array flat.npy x=40,y=44 flat
array point.npy x=40,y=44 point
array hit.npy x=40,y=44 point scale=0.5 offset=1
works '' kray eval --target flat.npy --recon hit.npy --mask point.npy --csv scores.csv
near 'NMSE at the point alone' "$(field volume hit nmse)" 0.25 1e-9
array half.npy x=20,y=44 flat
refuses 1 'the region is {x=20 y=44}' kray eval --target flat.npy --recon hit.npy --mask half.npy

# folders by name, suffixes and depth included; a set
mkdir -p gt/deep out/deep
for i in 1 2 3 4; do
    array gt/v$i.npy x=24,y=20,slice=2 blob
    array out/v$i.npy x=24,y=20,slice=2 blob noise=0.0$i seed=$i
done
array gt/deep/v.npy x=24,y=20 blob
array out/deep/v.npy x=24,y=20 blob noise=0.1
works 'mean over 5 volumes' kray eval --target gt --recon out/ --csv scores.csv
check 'pairs by the path inside the folder' grep -q '^fastmri,volume,deep/v,' scores.csv
cp scores.csv first.csv
kray eval --target gt --recon out --csv scores.csv >/dev/null
check 'the same input gives the same output, interval included' cmp first.csv scores.csv
KR_THREADS=1 kray eval --target gt --recon out --csv scores.csv >/dev/null
check 'also on one thread' cmp first.csv scores.csv
mean=$(awk -F, '$2 == "volume" { s += $7; n++ } END { printf "%.9g", s / n }' scores.csv)
near 'mean NMSE' "$(field mean '' nmse)" "$mean" 1e-9
works 'mean over 4 volumes' kray eval --target 'gt/*.npy' --recon 'out/v?.npy'
works 'v4' kray eval --target gt/v1.npy --recon 'out/v*.npy'
check 'no mean over different reconstructions of one target' [ -z "$(grep '^mean' "$out")" ]

# names that the shell wrote out: pairs are named by what follows the folders they share
mkdir other && cp out/v2.npy other/v1.npy
works 'v2' kray eval --target gt/v1.npy out/v1.npy out/v2.npy
works 'v2' kray eval --target gt/v1.npy --recon out/v1.npy out/v2.npy
works 'other/v1' kray eval --target gt/v1.npy out/v1.npy other/v1.npy

# a batch goes on past what is missing or bad, and says so
rm out/v2.npy gt/v3.npy
array out/v4.npy x=24,y=18,slice=2 blob
refuses 1 '3 of 5 volumes could not be scored' kray eval --target gt --recon out --csv scores.csv
check 'what could be scored is there' grep -q '^fastmri,volume,v1,' scores.csv
check 'the missing reconstruction is named' grep -q 'v2: has no reconstruction' "$err"
check 'the missing target is named' grep -q 'v3: has no target' "$err"
check 'the bad pair is named' grep -q 'v4.npy: an image of .* cannot be cropped' "$err"
cp "$here/../fuzz/corpus/ismrmrd/image" gt/v1b.h5
chmod u+w gt/v1b.h5
printf '\002' | dd of=gt/v1b.h5 bs=1 seek=4032 conv=notrunc 2>/dev/null      # a file that wants the name of a data set, as damaged.sh has it
cp gt/v1b.h5 out/v1b.h5
refuses 1 '4 of 6 volumes could not be scored' kray eval --target gt --recon out
check 'a file that wants the name of a data set ends nothing' grep -q 'gt/v1b.h5: ' "$err"
rm gt/v1b.h5 out/v1b.h5

# a study: several named sets in one table
mkdir -p study/gt/p1 study/sense/p1 study/tv/p1
for i in 1 2 3; do
    array study/gt/p1/v$i.npy x=24,y=20,slice=2 blob
    array study/sense/p1/v$i.npy x=24,y=20,slice=2 blob noise=0.0$i seed=$i
    array study/tv/p1/v$i.npy x=24,y=20,slice=2 blob noise=0.00$i seed=$i
done
works ' ± ' kray eval --target study/gt sense=study/sense tv=study/tv --csv all.csv
works 'inf  ' kray eval --target study/gt same=study/gt tv=study/tv
check 'equal images have no deviation' bash -c "! grep -q nan '$out'"
kray eval --target study/gt sense=study/sense tv=study/tv --csv all.csv >/dev/null
check 'the columns of a study' grep -q ',name,method,acceleration,mask,parameters$' all.csv
check 'a row for each volume of each set' [ "$(grep -c '^fastmri,volume,p1/v[123],.*,\(sense\|tv\),' all.csv)" = 6 ]
check 'a mean for each set' [ "$(grep -c '^fastmri,mean,' all.csv)" = 2 ]
kray eval --target study/gt study/tv --csv one.csv >/dev/null
check 'the mean of a set is that of the set alone' [ "$(grep '^fastmri,mean,.*,tv,' all.csv | cut -d, -f5-9)" = "$(grep '^fastmri,mean,' one.csv | cut -d, -f5-9)" ]
kray eval --target study/gt --recon study/sense study/tv --csv folders.csv >/dev/null
check 'folders side by side are sets, named by their words' [ "$(sed 's/,study\/\(sense\|tv\),/,\1,/' folders.csv)" = "$(cat all.csv)" ]
rm study/tv/p1/v2.npy
refuses 1 '1 of 6 volumes could not be scored' kray eval --target study/gt sense=study/sense tv=study/tv --csv all.csv
check 'the set that lacks it is named' grep -q 'tv: p1/v2: has no reconstruction' "$err"
works 'other  ' kray eval --target t.npy loud=loud.npy other=r.npy
refuses 2 'some reconstructions have a name' kray eval --target t.npy a=r.npy r.npy
refuses 2 'two sets of reconstructions are called a' kray eval --target t.npy a=r.npy a=t.npy
refuses 2 'both be written to stdout' kray eval --target t.npy r.npy --csv - --json
array ./=r.npy x=40,y=44,slice=3 blob
works '' kray eval --target t.npy ./=r.npy --csv all.csv
check 'a cell that a spreadsheet would compute begins with an apostrophe' grep -q "\"'=r\"" all.csv
kray simulate -q -m 32,32 -s 2 -c 4 -o scan.h5 -r truth.nii.gz
kray recon -q scan.h5 -o r4.nii.gz --method sense -u equispaced:accel=2,center=0.2
works '' kray eval --target truth.nii.gz sense=r4.nii.gz --csv all.csv --scale fit
check 'method, acceleration, mask and parameters come from the image' grep -Eq ',sense,sense,1[.][0-9]+,"equispaced:accel=2,center=0.2",.*lambda=' all.csv

# crops
array square.npy x=32,y=32,slice=3 blob
array tall.npy x=64,y=36,slice=3 blob
works 'cropped to 32 x 32' kray eval --target square.npy --recon tall.npy
refuses 1 'the target is' kray eval --target square.npy --recon tall.npy --crop never
works 'cropped to 40 x 40' kray eval --target t.npy --recon r.npy --crop always
refuses 1 'cannot be cropped' kray eval --target t.npy --recon square.npy
array cine.npy x=36,y=20,slice=3,time=5 blob
works 'cropped to 12 x 10' kray eval --target cine.npy@time,slice,y,x --recon cine.npy@time,slice,y,x --protocol cmrxrecon2023 --crop always
array skip.npy x=24,y=20,slice=6 blob
works '     2 ' kray eval --target skip.npy --recon skip.npy --skip 2
refuses 2 'cannot be left out' kray eval --target skip.npy --recon skip.npy --skip 3

# refusals
refuses 2 'what is the target' kray eval --recon r.npy
refuses 2 'what is to be scored' kray eval --target t.npy
refuses 2 "there is no protocol 'fastmr'" kray eval --target t.npy --recon r.npy --protocol fastmr
refuses 1 'there is no such file' kray eval --target none.npy --recon r.npy
refuses 1 'nothing fits this pattern' kray eval --target 'none*' --recon r.npy
refuses 2 'a folder or pattern of reconstructions is wanted' kray eval --target gt --recon r.npy
mkdir empty
refuses 1 'no files in it' kray eval --target empty --recon out
array nan.npy x=40,y=44,slice=3 blob nan=1
refuses 1 'not finite' kray eval --target t.npy --recon nan.npy
array zero.npy x=40,y=44,slice=3 blob scale=0
refuses 1 'the target is all zero' kray eval --target zero.npy --recon t.npy
array small.npy x=6,y=44 blob
refuses 1 'smaller than the window' kray eval --target small.npy --recon small.npy
array turned.npy x=44,y=40,slice=3 blob
refuses 1 'rows and columns look exchanged' kray eval --target t.npy --recon turned.npy --crop never
head -c 300 t.npy > cut.npy
refuses 1 'cut.npy' kray eval --target t.npy --recon cut.npy
refuses 1 'is not a folder' kray eval --target t.npy --recon r.npy --csv t.npy/scores.csv

refuses 2 'scan.h5: is a file of scans or images' kray eval --target t.npy r.npy --csv scan.h5
works 'ISMRMRD' kray info scan.h5

# a table replaces no device, no link and nothing that it is made of
refuses 1 'is not a plain file' kray eval --target t.npy --recon r.npy --csv /dev/null
refuses 2 'input and output are the same file' kray eval --target t.npy --recon r.npy --csv r.npy
refuses 2 'input and output are the same file' kray eval --target t.npy --recon r.npy --csv ./t.npy
ln -s real.csv link.csv
touch real.csv
works '' kray eval --target t.npy --recon r.npy --csv link.csv
check 'a link stays, and what it names is written' sh -c '[ -L link.csv ] && grep -q ^fastmri real.csv'

# NIfTI by an independent writer: an asymmetric volume stored with axes exchanged and reversed, each with the affine that is right
if command -v perl >/dev/null; then
    nii()   # NAME order flips shift: order "xyz": which of the patient's axes are the file's; flips "101"; shift of the affine in mm
    {
        perl -e 'my ($name, $order, $flips, $shift) = @ARGV; my %n = (x => 24, y => 20, z => 10); my @a = split //, $order; my @f = split //, $flips;
            my $h = "\0" x 352; substr($h, 0, 4) = pack("l", 348); my @n = map { $n{$_} } @a; substr($h, 40, 16) = pack("s8", 3, @n, 1, 1, 1, 1);
            substr($h, 70, 4) = pack("s2", 16, 32); substr($h, 76, 32) = pack("f8", 1, 2, 2, 2, 0, 0, 0, 0); substr($h, 108, 4) = pack("f", 352);
            substr($h, 123, 1) = "\2"; substr($h, 254, 2) = pack("s", 1); substr($h, 344, 4) = "n+1\0";
            my %row = (x => 0, y => 1, z => 2); my @m = map { [0, 0, 0, $_ == 0 ? $shift : 0] } 0 .. 2;
            for my $j (0 .. 2) { my $r = $row{$a[$j]}; $m[$r][$j] = $f[$j] ? -2 : 2; $m[$r][3] += $f[$j] ? 2 * ($n[$j] - 1) : 0; }
            substr($h, 280, 48) = pack("f12", map { @$_ } @m); open my $o, ">", $name or die; binmode $o; print $o $h;
            for my $k (0 .. $n[2] - 1) { for my $j (0 .. $n[1] - 1) { for my $i (0 .. $n[0] - 1) {
                my %at; my @ix = ($i, $j, $k); $at{$a[$_]} = $f[$_] ? $n[$_] - 1 - $ix[$_] : $ix[$_] for 0 .. 2;
                print $o pack("f", 1 + sin(0.3 * $at{x}) * cos(0.2 * $at{y}) + 0.05 * $at{x} + 0.02 * $at{z} * $at{y}); } } }' "$@"
    }
    nii straight.nii xyz 000 0
    for how in 'xyz 100' 'xyz 111' 'yxz 000' 'yxz 010' 'zyx 001' 'yzx 110'; do
        nii other.nii $how 0
        works 'compared in patient space' kray eval --target straight.nii --recon other.nii --csv scores.csv
        near "equal when turned ($how)" "$(field volume other nmse)" 0 0
        kray report -q -o turned.html --target straight.nii other=other.nii
        check 'the report says it, too' grep -q 'turned into the patient' turned.html
    done
    works 'multiplied' kray eval --target straight.nii straight.nii --scale fit
    check 'nothing is said of images that lie alike' sh -c '! grep -q patient "$1"' - "$err"
    nii other.nii xyz 000 200
    works 'lies 200 mm away from its target' kray eval --target straight.nii --recon other.nii
    nii other.nii xyz 000 0.5
    check 'half a millimetre is less than half a voxel' sh -c '! "$1" eval --target straight.nii other.nii 2>&1 | grep -q away' - "$KR_BUILD/tools/kray"
    perl -e 'open my $f, "+<", "other.nii"; binmode $f; seek $f, 280, 0; my ($c, $s) = (2 * cos(0.2), 2 * sin(0.2)); print $f pack("f8", $c, -$s, 0, 0, $s, $c, 0, 0)'
    works 'its axes are 11.5 degrees off' kray eval --target straight.nii --recon other.nii
else
    skip 'images that lie otherwise in the patient' 'perl is absent'
fi

# the published scorer's own numbers, through files: fastMRI's evaluate.py on case a (40 x 36, not cropped)
golden=$KR_SHARED/golden/metrics_golden.h5
if [ -f "$golden" ]; then
    works '' kray eval --target "$golden:a/target@slice,y,x" --recon "$golden:a/prediction@slice,y,x" --csv scores.csv
    near 'SSIM' "$(field volume prediction ssim)" 0.23778761340952914 1e-9
    near 'PSNR' "$(field volume prediction psnr)" 12.42718070727067 1e-6     # six digits: the scorer sums in single precision
    near 'NMSE' "$(field volume prediction nmse)" 0.44640533501916435 2e-7
else
    skip 'the published numbers through files' 'the golden data are absent'
fi

# raw data as targets: the challenges' own files
samples=$KR_SHARED/samples
if [ -d "$samples" ]; then
    cine=$samples/cmrxrecon/2023/MultiCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat
    works 'cropped to 16 x 16' kray eval --target "$cine" --recon "$samples/cmrxrecon/expected_ranking_from_2023_cine_sax.mat" --protocol cmrxrecon2023 --csv scores.csv
    near 'RSS and ranking crop are the expected ones' "$(field volume expected_ranking_from_2023_cine_sax nrmse)" 0 1e-6   # single precision
    works '' kray eval --target "$samples/fastmri/multicoil_train_file1000001.h5" --recon "$samples/fastmri/multicoil_train_file1000001.h5"
    refuses 1 'holds no reference image, and only 30.0 % of its k-space' kray eval --target "$samples/fastmri/multicoil_test_file1000003_v2.h5" \
        --recon "$samples/fastmri/submission_file1000003_v2.h5"
else
    skip 'raw data as targets' 'the samples are absent'
fi

# ---- A place in the header that is none ----
array placed.nii x=20,y=20 blob
cp placed.nii nowhere.nii
printf '\0\0\300\177' | dd of=nowhere.nii bs=1 seek=280 conv=notrunc 2>/dev/null          # NaN in the sform
printf '\1\0' | dd of=nowhere.nii bs=1 seek=254 conv=notrunc 2>/dev/null
works 'nowhere.nii: the sform of its NIfTI header has entries that are not finite: where it lies in the patient is unknown' kray eval --target placed.nii nowhere.nii
works 'unknown: the sform of its NIfTI header has entries' kray info nowhere.nii
works 'where it lies in the patient is unknown' kray convert nowhere.nii somewhere.nii.gz

# ---- What is not there is told as that ----
mkdir -p many
cp t.npy many/a.npy; cp t.npy many/b.npy
refuses 1 'there is no folder nothere/' kray eval --target many --recon nothere/
refuses 1 'nothere: there is no such file or folder' kray eval --target many --recon nothere

# ---- Without a reference ----
refuses 2 '--target is for scores against a target' kray eval --no-reference --target t.npy r.npy
refuses 2 '--mask is for scores against a target' kray eval --no-reference --mask t.npy r.npy
refuses 2 'what is to be judged' kray eval --no-reference
refuses 2 '--weights are those of the network' kray eval --target t.npy r.npy --weights x.safetensors
works 'SSIM guess' kray eval --no-reference t.npy
works '"unlike"' kray eval --no-reference t.npy --json
check 'a table' sh -c '"$KR_BUILD/tools/kray" eval --no-reference t.npy r.npy --csv - | head -1 | grep -qx level,volume,slice,ssim_guess,unlike'
refuses 2 'leaves nothing' kray eval --no-reference t.npy --skip 2
array small.npy x=20,y=20 blob
refuses 1 'too small' kray eval --no-reference small.npy
# A head that moves: the more, the less is guessed, and without motion the most.
guess() { kray eval --no-reference $1 --json -q | jq '.[0].ssim_guess'; }
for m in 0.1 2 8; do
    kray simulate brain --slices 1 --matrix 192,192 --coils 4 --snr 60 --motion steps=4,rotate=$m,shift=$m,seed=3 -o moved.h5 --no-noise-scan -q
    kray recon moved.h5 -o moved$m.nii.gz --method rss -q
done
check "guesses of 0.1, 2 and 8 mm and degrees: $(guess moved0.1.nii.gz) $(guess moved2.nii.gz) $(guess moved8.nii.gz)" \
    awk -v a="$(guess moved0.1.nii.gz)" -v b="$(guess moved2.nii.gz)" -v c="$(guess moved8.nii.gz)" 'BEGIN { exit !(a > b + 0.02 && b > c + 0.02) }'
