#!/bin/bash
# damaged.sh: files that break the library which reads them cost a sentence, and in a batch nobody else's turn.
. "$(dirname "$0")/lib.sh"
seeds=$here/../fuzz/corpus/ismrmrd

mkdir in
cp "$seeds/scan" in/a.h5
cp "$seeds/scan" in/c.h5
cp "$seeds/image" in/b.h5
chmod u+w in/*
printf '\002' | dd of=in/b.h5 bs=1 seek=4032 conv=notrunc 2>/dev/null    # a chunk of length 0, by which HDF5 1.10 divides

works 'header is damaged: its type or its chunks make no sense' kray info in/b.h5
refuses 2 'in/b.h5: ' kray convert in/b.h5 b.npy
check 'nothing is left of it' [ ! -e b.npy ]
refuses 1 '1 of 3 failed; the others are done' kray convert in -o out --to npy
check 'the one before is there' [ -s out/a.npy ]
check 'the one after is there' [ -s out/c.npy ]
check 'the damaged one is not' [ ! -e out/b.npy ]

# One of many files breaks HDF5 itself: the others are done.
mkdir -p target recon study
for i in 1 2 3; do
    array "image$i.npy" x=32,y=32,slice=2 blob >/dev/null
    kray convert -q "image$i.npy" "image$i.nii"
    kray convert -q "image$i.nii" "target/v$i.h5" --to fastmri
    cp "target/v$i.h5" "recon/v$i.h5"
    cp in/a.h5 "study/v$i.h5"
done
mv target/v2.h5 target/v2_breaks.h5
mv recon/v2.h5 recon/v2_breaks.h5
mv study/v2.h5 study/v2_breaks.h5
broken() { LD_PRELOAD=$KR_BUILD/tests/libbreaks.so "$KR_BUILD/tools/kray" "$@"; }
if grep -q __asan_init "$KR_BUILD/tools/kray"; then
    skip 'a file that breaks HDF5 among others' 'the sanitizer must be loaded first'
else
    refuses 1 'v2_breaks.h5: the file is damaged in a way that broke the library which reads it (libbreaks.so)' broken info study/v2_breaks.h5
    refuses 1 'v2_breaks.h5: the file is damaged in a way that breaks the library' broken info study/v1.h5 study/v2_breaks.h5 study/v3.h5
    check 'info tells of the other two' [ "$(grep -c ISMRMRD "$out")" = 2 ]
    refuses 1 '1 of 3' broken recon study -o images --to npy
    check 'recon makes the other two' [ -s images/v1.npy -a -s images/v3.npy ]
    refuses 1 'v2_breaks' broken eval --target target --recon recon
    check 'eval scores the other two' grep -q v3 "$out"
    refuses 1 'v2_breaks' broken report --target target a=recon -o page.html
    check 'report shows the other two' grep -q v3 page.html
fi

# Cut off in the middle, empty, text, a folder, no such file.
head -c 3000 in/a.h5 >cut.h5
: >empty.h5
echo hello >text.h5
refuses 1 'cut.h5: ' kray info cut.h5
refuses 1 'empty.h5: the file is empty' kray info empty.h5
refuses 1 'text.h5: unknown format' kray info text.h5
refuses 1 'absent.h5: there is no such file' kray info absent.h5

# A full disk, as a limit on the size of files (not 0: some OpenMP libraries write a few bytes when they start), which must not hold for where the
# sentence goes.
works '' kray simulate -m 64,64 -c 2 -o large.h5
refuses 1 'small.npy: cannot be written: File too large' bash -o pipefail -c \
    "(ulimit -f 4; $KR_BUILD/tools/kray convert large.h5 small.npy) 2>&1 | cat >&2"
check 'nothing is left beside it' [ -z "$(ls -A | grep small)" ]
