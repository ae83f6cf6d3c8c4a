# report.sh: kray report writes one file that needs nothing else, holds what it should, and refuses what makes no sense.
. "$(dirname "$0")/lib.sh"

array t.npy x=48,y=40,slice=6 blob
array a.npy x=48,y=40,slice=6 blob noise=0.05
array b.npy x=48,y=40,slice=6 blob noise=0.01 seed=2
works '' kray report -o r.html --target t.npy 'coarse=a.npy' 'fine=b.npy'
count_of() { grep -o -- "$1" r.html | wc -l; }
check 'three slices of a target, two reconstructions and two error maps' [ "$(count_of '<img')" = 15 ]
check 'every picture is inside' [ "$(count_of 'src="data:image/png;base64,iVBOR')" = 15 ]
check 'nothing is fetched, no script runs' sh -c '! grep -Eiq "https?://|<script|<link|@import" r.html'
works '' kray report -o v.html --target t.npy 'coarse=a.npy' 'fine=b.npy' --view
check 'a viewer for each reconstruction, within the page' [ "$(grep -o '<iframe [^>]*srcdoc="&lt;!DOCTYPE html' v.html | wc -l)" = 2 ]
refuses 2 'name a file' kray report -o - --target t.npy a.npy --view
check 'three plots' [ "$(count_of 'class="t"')" = 3 ]
check 'the better one is named first' grep -q '<strong>fine</strong> comes nearest to the target by SSIM, PSNR, NRMSE and HFEN' r.html
check 'the protocol is named' grep -q 'Protocol <strong>fastmri</strong>' r.html
check 'it ends as a page does' sh -c 'tail -1 r.html | grep -q "</html>"'
ssim=$(kray eval --target t.npy --recon b.npy --csv - | awk -F, '$2 == "volume" { printf "%.4f", $5 }')
check 'the table has what kray eval says' grep -q "<b>$ssim</b>" r.html
if command -v xmllint >/dev/null; then
    # xmllint's HTML 4 does not know the tags of SVG and <main>; every other complaint counts
    check 'the markup is sound' sh -c 'xmllint --html --noout r.html 2>&1 | grep "parser error" | grep -v "Tag .* invalid" | grep . && exit 1; true'
else
    skip 'the markup is sound' 'xmllint is not installed'
fi
cp r.html first.html
KR_THREADS=1 kray report -o r.html --target t.npy 'coarse=a.npy' 'fine=b.npy'
check 'the same input gives the same page' cmp r.html first.html

works '' kray report -o r.html --target t.npy '<i>&=a.npy' --slices 0,5 --title 'A < B'
check 'names are escaped' sh -c "grep -q '&lt;i&gt;&amp;' r.html && ! grep -q '<i>' r.html"
check 'the slices asked for' [ "$(count_of '<figcaption>')" = 2 ]
check 'the title asked for' grep -q '<h1>A &lt; B</h1>' r.html
works '' kray report -o r.html --target t.npy t.npy
check 'equal images have an infinite PSNR' grep -q '∞' r.html

# sets
mkdir gt one two
for i in 1 2 3 4 5 6; do
    array gt/v$i.npy x=24,y=20,slice=2 blob
    array one/v$i.npy x=24,y=20,slice=2 blob noise=0.0$i seed=$i
    array two/v$i.npy x=24,y=20,slice=2 blob noise=0.1 seed=$i
done
works '' kray report -o r.html --target gt first=one second=two --show 1 --protocol calgary
check 'of many volumes three are shown' [ "$(count_of '<img')" = 15 ]
check 'the worst is among them' grep -q '<h3>v6</h3>' r.html
rm two/v3.npy
refuses 1 '1 of 12 reconstructions could not be scored' kray report -o r.html --target gt first=one second=two
check 'and the page has the rest' grep -q 'v3, second: ' r.html

# series: pictures and plots by slice and frame; more methods than colours
array cine.npy x=24,y=20,slice=3,time=4 blob
words=$(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do array c$i.npy x=24,y=20,slice=3,time=4 blob noise=0.0$i seed=$i; echo "m$i=c$i.npy@time,slice,y,x"; done)
works '' kray report -o r.html --target cine.npy@time,slice,y,x $words
check 'slice and frame of a picture' grep -q '<figcaption>Slice [0-2], frame [0-3]<' r.html
check 'how many of each' sh -c "grep -q '<dt>Frames</dt><dd>4<' r.html && grep -q '<dt>Slices</dt><dd>3<' r.html"
check 'plots along both' [ "$(grep -c '<h2>\(Slice by slice\|Frame by frame\)' r.html)" = 2 ]
legend=$(grep -m1 '<ul class="legend">' r.html | sed 's/<li>/\n/g' | grep '<svg' | sed 's/<\/svg>.*//')
check 'fourteen methods, no two marked alike' [ "$(echo "$legend" | sort -u | wc -l)" = 14 ]

# how each was made, where the patient's sides are, how long a bar is
kray simulate -q -m 48,40 -s 3 -c 4 -o scan.h5 -r full.nii
kray recon -q scan.h5 -o sense.nii --method sense -u equispaced:accel=2,center=0.2
works '' kray report -o r.html --target full.nii sense=sense.nii --scale fit
check 'method, R, mask and lambda' grep -Eq 'class="how">sense, R = 1[.][0-9]+, equispaced:accel=2,center=0.2, lambda 0[.]' r.html
check 'sides of an axial slice: left at the right, front at the top' grep -q '<span class="o l">R</span><span class="o r">L</span><span class="o t">A</span><span class="o b">P</span>' r.html
check 'a bar in mm' grep -Eq 'class="bar" style="width:[0-9.]+%">[125]0* mm' r.html
check 'where the slice lies' grep -Eq '<figcaption>Slice [0-2] at [IS] [0-9.]+ mm' r.html
check 'a caption' grep -q 'A caption to copy' r.html

# refusals leave no page behind
rm -f r.html
refuses 2 'what is the target' kray report a.npy
refuses 2 'what is to be shown' kray report --target t.npy
refuses 2 'two reconstructions are called a' kray report -o r.html --target t.npy a.npy a=b.npy
refuses 2 'slices are numbers from 0 to 5' kray report -o r.html --target t.npy a.npy --slices 1,6
refuses 2 'slices are numbers from 0 to 5' kray report -o r.html --target t.npy a.npy --slices 1x
refuses 2 'positive number' kray report -o r.html --target t.npy a.npy --error 0
refuses 2 'is one file, but the targets are many' kray report -o r.html --target gt a=a.npy
refuses 1 'there is no such file' kray report -o r.html --target t.npy a=none.npy
check 'no page was left' [ ! -e r.html ]
refuses 1 'is not a folder' kray report -o t.npy/r.html --target t.npy a.npy
refuses 1 'is not a plain file' kray report -o /dev/null --target t.npy a.npy
refuses 2 'input and output are the same file' kray report -o a.npy --target t.npy a.npy
check 'nothing half-written was left' [ -z "$(find . -name '.kray-*')" ]

# from raw data, its reference and its reconstruction
brain=$KR_SHARED/data/mri/brain_mprage_4ch_256_loraks.mat
if [ -f "$brain" ]; then
    works '' kray recon "$brain:kData@x,y,coil" -o zero.nii.gz --method rss --undersample random:accel=4,center=0.08,seed=1
    works '' kray report -o r.html --target "$brain:kData@x,y,coil" zero-filled=zero.nii.gz
    check 'the page says how the target was made' grep -q 'sum of squares of the fully sampled k-space' r.html
    check 'and how the reconstruction was' grep -q 'kray recon .*brain_mprage' r.html
else
    skip 'a page from raw data' 'the scans are absent'
fi
