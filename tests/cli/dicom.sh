# dicom.sh: DICOM out and in: the same images come back, other programs find the voxels at the same places, nothing is said of the patient.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
if ! kray help formats | grep -q '^dicom'; then
    skip 'DICOM' 'Kray is built without DCMTK'
    exit 0
fi
affine() { kray info "$1" --json | sed -n '/affine_ras/,/\]/p' | grep -oE -- '-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?' | awk '{ printf "%.3f\n", $1 + 0.00001 }'; }
same_place() # WORDS ONE OTHER: the same affine, once both have their axes in the same order
{
    kray convert "$2" one.nii.gz --axes RAS -q; kray convert "$3" two.nii.gz --axes RAS -q
    affine one.nii.gz > one; affine two.nii.gz > two
    check "$1" cmp one two
}
verify() # WORDS FILE...
{
    local words=$1; shift
    if ! command -v dciodvfy >/dev/null; then skip "$words" 'dciodvfy (dicom3tools) is absent'; return; fi
    for f in "$@"; do dciodvfy "$f" 2>&1 | grep '^Error'; done > errors
    check "$words" [ ! -s errors ]
    [ ! -s errors ] || sed 's/^/# /' errors
}
psnr() { kray eval --target "$1" "$2" --json 2>/dev/null | sed -n 's/.*"psnr": *"\?\([0-9.inf]*\).*/\1/p' | head -1; }

kray simulate brain -o scan.h5 --matrix 48,40 --slices 5 -q
kray recon scan.h5 -o a.nii.gz --method rss -q
works '' kray recon scan.h5 -o a.dcm --method rss
check 'a file for each slice' [ "$(ls a.dcm)" = "$(printf '1-%04d.dcm\n' 1 2 3 4 5)" ]
works '5 slices 6.5 mm apart' kray info a.dcm
works '' kray convert a.dcm back.nii.gz
same_place 'what is read lies where it lay' a.nii.gz back.nii.gz
check 'and holds the same to 16 bits' awk -v p="$(psnr a.nii.gz back.nii.gz)" 'BEGIN { exit !(p > 95) }'      # half of 1/65535: 107 dB
works '' kray recon scan.h5 -o again.dcm --method rss
check 'the same run gives the same files, UIDs too' diff -r a.dcm again.dcm
works '' kray convert a.nii.gz again.dcm
refuses 2 'input and output are the same file' kray convert a.dcm a.dcm
touch again.dcm/notes.txt
refuses 1 'is no folder of .dcm files alone' kray convert a.nii.gz again.dcm
mkdir out
works '' kray recon scan.h5 -o out/ --to dicom --method rss
check 'a folder of outputs gets a folder for each' [ -f out/scan.dcm/1-0005.dcm ]
verify 'dciodvfy finds no error' a.dcm/1-0001.dcm a.dcm/1-0005.dcm

works '' kray recon scan.h5 -o twelve.dcm --method rss --pixels ushort
refuses 2 'is for magnitudes' kray recon scan.h5 -o x.nii.gz --complex --pixels ushort
verify 'dciodvfy finds no error in 12 bits' twelve.dcm/1-0001.dcm
works '4095' kray info twelve.dcm

# magnitude and phase
works '' kray recon scan.h5 -o c.dcm --method sense --complex
check 'phase is a series of its own' [ "$(ls c.dcm | cut -c1 | sort | uniq -c | tr -s ' \n' ' ')" = ' 5 1 5 2 ' ]
works 'also holds 2 (MR brain t1 sense phase' kray convert c.dcm m.nii.gz
works '-3.1' kray info c.dcm:2
refuses 2 'counted from 1 to 2' kray convert c.dcm:3 m.nii.gz
verify 'dciodvfy finds no error in the phase' c.dcm/2-0001.dcm

# places: oblique, and left-handed orders of axes
scan=$KR_SHARED/golden/nnunet_plain3d/imagesTs/case_0000.nii.gz
if [ -f "$scan" ]; then
    for axes in LPS RAS SPR ILA; do
        kray convert "$scan" t.nii.gz --axes $axes -q
        works '' kray convert t.nii.gz t.dcm
        same_place "$axes: read at its place" "$scan" t.dcm
        if command -v dcm2niix >/dev/null; then
            rm -f n.nii*; dcm2niix -o . -f n t.dcm >/dev/null 2>&1
            same_place "$axes: dcm2niix finds the same affine" "$scan" n.nii
            check "$axes: and the same numbers" awk -v p="$(psnr "$scan" n.nii)" 'BEGIN { exit !(p > 95) }'
        else
            skip "$axes: the affine of dcm2niix" 'dcm2niix is absent'
        fi
    done
else
    skip 'oblique images' "$scan is absent"
fi

# CT: Hounsfield units
kray ct phantom -o ct.nii.gz --geometry parallel:angles=0:180:30 --matrix 48 -q
refuses 1 'in Hounsfield units' kray convert ct.nii.gz ct.dcm
works '' kray ct phantom -o ct.dcm --geometry parallel:angles=0:180:30 --matrix 48 --water 0.02
verify 'dciodvfy finds no error in CT' ct.dcm/1-0001.dcm
works '' kray convert ct.dcm ct2.nii.gz
near 'whole Hounsfield units' "$(kray ct phantom -o hu.nii.gz --geometry parallel:angles=0:180:30 --matrix 48 --water 0.02 -q; kray info hu.nii.gz --json | sed -n 's/.*"mean": *//p' | tr -d ,)" \
    "$(kray info ct2.nii.gz --json | sed -n 's/.*"mean": *//p' | tr -d ,)" 0.5

# of the patient nothing is said
if command -v dcmdump >/dev/null; then
    check 'fields of the patient are there, and empty' [ "$(dcmdump a.dcm/1-0001.dcm | grep -c '^(0010,.*no value available')/$(dcmdump a.dcm/1-0001.dcm | grep -c '^(0010,')" = 4/4 ]
else
    skip 'fields of the patient' 'dcmdump (dcmtk) is absent'
fi

# other writers: packed pixels, enhanced files
if command -v dcmcrle >/dev/null && command -v dump2dcm >/dev/null; then
    mkdir packed
    for f in a.dcm/*; do dcmcrle $f packed/${f#*/}; done
    works '' kray convert packed r.nii.gz
    check 'run lengths: the same image' [ "$(psnr back.nii.gz r.nii.gz)" = inf ]
    for f in a.dcm/*; do dcmcjpls $f packed/${f#*/}; done
    works '' kray convert packed j.nii.gz
    check 'JPEG-LS: the same image' [ "$(psnr back.nii.gz j.nii.gz)" = inf ]
    place() { echo "(fffe,e000) na"; echo "(0020,9113) SQ"; echo "(fffe,e000) na"; echo "(0020,0032) DS -10\\20\\$1"; echo "(fffe,e00d) na"; echo "(fffe,e0dd) na"; echo "(fffe,e00d) na"; }
    { echo '(0008,0016) UI =EnhancedMRImageStorage'; echo '(0008,0018) UI 1.2.3'; echo '(0008,0060) CS MR'; echo '(0020,000e) UI 1.2.4'; echo '(0028,0002) US 1'
      echo '(0028,0004) CS MONOCHROME2'; echo '(0028,0008) IS 2'; echo '(0028,0010) US 2'; echo '(0028,0011) US 3'; echo '(0028,0100) US 16'; echo '(0028,0101) US 12'
      echo '(0028,0102) US 11'; echo '(0028,0103) US 0'; echo '(5200,9229) SQ'; echo '(fffe,e000) na'; echo '(0020,9116) SQ'; echo '(fffe,e000) na'
      echo '(0020,0037) DS 1\0\0\0\1\0'; echo '(fffe,e00d) na'; echo '(fffe,e0dd) na'; echo '(0028,9110) SQ'; echo '(fffe,e000) na'; echo '(0018,0050) DS 4'
      echo '(0028,0030) DS 3\2'; echo '(fffe,e00d) na'; echo '(fffe,e0dd) na'; echo '(fffe,e00d) na'; echo '(fffe,e0dd) na'; echo '(5200,9230) SQ'; place 9; place 5
      echo '(fffe,e0dd) na'; echo '(7fe0,0010) OW 1\2\3\4\5\6\7\8\9\a\b\c'; } > enhanced.txt
    mkdir mosaic colour
    sed 's/^(0028,0002) US 1/(0028,0002) US 3/' enhanced.txt >colour.txt
    { echo '(0008,0008) CS ORIGINAL\PRIMARY\M\MOSAIC'; cat enhanced.txt; } >mosaic.txt
    dump2dcm mosaic.txt mosaic/e.dcm 2>/dev/null; dump2dcm colour.txt colour/e.dcm 2>/dev/null
    refuses 1 'a mosaic of slices' kray convert mosaic x.nii.gz
    refuses 1 'pictures in colour' kray convert colour x.nii.gz
    mkdir multi; dump2dcm enhanced.txt multi/e.dcm 2>"$err"
    works '2 x 3 x 4 mm' kray info multi
    works '{x=3 y=2 slice=2}' kray info multi
    works '' kray convert multi e.npy --what image
    check 'slices in spatial order' [ "$(tail -c 48 e.npy | od -An -tf4 | tr -s ' \n' ' ')" = ' 7 8 9 10 11 12 1 2 3 4 5 6 ' ]
else
    skip 'packed pixels and enhanced files' 'dcmcrle and dump2dcm (dcmtk) are absent'
fi
array l.npy x=8,y=8,z=2 flat scale=3
kray convert l.npy l.nii.gz --what image -q; kray convert l.nii.gz m.nii.gz --resample 1 -q
refuses 1 "labels are not written as DICOM" kray convert m.nii.gz l.dcm
mkdir cuts; head -c 3000 a.dcm/1-0001.dcm > cuts/cut.dcm
refuses 1 'no DICOM file that can be read' kray convert cuts x.nii.gz
rm a.dcm/1-0003.dcm
refuses 1 'equal spacing' kray convert a.dcm x.nii.gz
