# view.sh: kray view: the page and what a browser makes of it, and the slice in a terminal.
. "$(dirname "$0")/lib.sh"
array a.npy x=24,y=20,z=12 blob
array l.npy x=24,y=20,z=12 point scale=2
array big.npy x=25,y=20,z=12 flat
works '' kray view a.npy l.npy -o v.html
check 'the page loads nothing from elsewhere' [ "$(grep -cE '(src|href)="?http' v.html)" = 0 ]
works '' kray view a.npy --beside l.npy -o two.html
works 'axial slice 6 of 12' kray view a.npy --text --width 24
check 'a line for two rows of voxels' [ "$(wc -l < "$out")" = 11 ]
works '2' kray view a.npy l.npy --text --width 24
refuses 1 'the same grid is wanted' kray view a.npy big.npy -o w.html
refuses 2 'where should the page go' kray view a.npy
refuses 2 'a picture of an image: kray convert' kray view a.npy -o v.png
refuses 2 'there are 12, from 0' kray view a.npy --text --slice 12
refuses 2 'means nothing' kray view a.npy --text -o v.html
if command -v chromium >/dev/null && [ -z "${KR_SANITIZE#none}" ]; then
    timeout 60 chromium --headless --no-sandbox --disable-gpu --virtual-time-budget=5000 --dump-dom "file://$PWD/v.html" >dom 2>/dev/null
    check 'a browser unpacks and draws it' grep -qE 'axial 7/12.*|voxel 13, 11, 7' dom
    check 'letters and the scale are drawn finer than the voxels of a small volume' grep -qE '<canvas width="648" height="[1-9]' dom
    check 'and names the label' grep -qF 'label 2' dom
else
    skip 'the page in a browser' 'chromium is absent'
fi
