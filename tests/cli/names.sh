# names.sh: names for nnU-Net and BIDS, and what files say of where they come from.
. "$(dirname "$0")/lib.sh"
export KR_THREADS=1
mkdir -p deep/study
kray simulate brain -o deep/study/scan.h5 --matrix 32,32 --slices 2 -q
works '' kray recon deep/study/scan.h5 -o images/ --to nnunet --method rss
check 'named for nnU-Net' [ -f images/scan_0000.nii.gz ]
works '' kray convert images/scan_0000.nii.gz case_0001.nii.gz --to nnunet
refuses 2 'a name such as CASE_0000.nii.gz' kray convert images/scan_0000.nii.gz case.nii.gz --to nnunet
refuses 1 'one real volume' kray recon deep/study/scan.h5 -o images/ --to nnunet --method sense --complex
works '' kray recon deep/study/scan.h5 -o anat/sub-01_T1w.nii.gz --to bids --method rss
check 'JSON beside it' grep -q '"EchoTime": 0.003' anat/sub-01_T1w.json
works 'brain t1' kray info anat/sub-01_T1w.nii.gz

said() { gunzip -c "$1" | head -c 4000 | tr '\0' '\n'; }
works '' kray recon "$work/deep/study/scan.h5" -o deep/a.nii.gz --method rss
check 'an image names the input' sh -c "gunzip -c deep/a.nii.gz | head -c 4000 | grep -aq 'kray_input: scan.h5, '"
check 'and no folder' sh -c '! gunzip -c deep/a.nii.gz | head -c 4000 | grep -aqE "deep/|kray-cli"'
check 'nor does the JSON of BIDS' sh -c '! grep -q deep anat/sub-01_T1w.json'
works 'already there' kray recon "$work/deep/study/scan.h5" -o deep/a.nii.gz --method rss --resume
works '' kray recon "$work/deep/study/scan.h5" -o deep/b.nii.gz --method rss --provenance full
check 'but with --provenance full' sh -c "gunzip -c deep/b.nii.gz | head -c 4000 | grep -aq 'kray_input: $work/deep/study/scan.h5, '"
works '' kray recon "$work/deep/study/scan.h5" -o deep/c.npy --method rss
check 'no folder in the notes beside an array' sh -c '! grep -qE "deep/|kray-cli" deep/c.npy.json'
mkdir -p "$work/John Doe (1)/of May/"; cp deep/study/scan.h5 "$work/John Doe (1)/of May/scan 1.h5"
works '' kray recon "$work/John Doe (1)/of May/scan 1.h5" -o deep/blank.nii.gz --method rss
check 'no part of a folder with blanks in its name' sh -c '! gunzip -c deep/blank.nii.gz | head -c 4000 | grep -aqE "John|Doe|May" && gunzip -c deep/blank.nii.gz | head -c 4000 | grep -aq "kray_input: scan 1.h5, "'
works '' kray report --target "$work/deep/a.nii.gz" "$work/deep/b.nii.gz" -o deep/r.html
check 'no folder in a report' sh -c '! grep -oE ".{0,60}(deep/|kray-cli).{0,60}" deep/r.html'
works '' kray eval --target "$work/deep/a.nii.gz" "$work/deep/b.nii.gz" --csv deep/s.csv
check 'no folder in a table' sh -c '! grep -qE "deep/|kray-cli" deep/s.csv'
refuses 2 'names (of files alone) or full' kray info deep/a.nii.gz --provenance all
raw=$KR_SHARED/samples/ismrmrd/cpp_full32_with_cppimage.h5
if [ -f "$raw" ]; then
    name=$(kray info "$raw" --json | sed -n 's/.*"institution": *"\(.*\)".*/\1/p')
    [ -n "$name" ] || name=$(grep -ao '<institutionName>[^<]*' "$raw" | sed 's/.*>//' | head -1)
    check 'the raw data name an institution' [ -n "$name" ]
    works '' kray recon "$raw" -o raw.nii.gz --to bids --method rss
    check 'the image does not' sh -c "! gunzip -c raw.nii.gz | head -c 4000 | grep -aqF '$name' && ! grep -qF '$name' raw.json"
    works '' kray recon "$raw" -o full.nii.gz --to bids --method rss --provenance full
    check 'but with --provenance full' grep -qF "$name" full.json
else
    skip 'the institution' "$raw is absent"
fi
