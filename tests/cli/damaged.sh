#!/bin/bash
# damaged.sh: files that break the library which reads them cost a sentence, and in a batch nobody else's turn.
. "$(dirname "$0")/lib.sh"
seeds=$here/../fuzz/corpus/ismrmrd

mkdir in
cp "$seeds/scan" in/a.h5
cp "$seeds/scan" in/c.h5
cp "$seeds/image" in/b.h5
chmod u+w in/*
printf '\002' | dd of=in/b.h5 bs=1 seek=4032 conv=notrunc 2>/dev/null    # makes HDF5 1.10 divide by zero

if grep -q __asan_init "$KR_BUILD/tools/kray"; then
    skip 'a file that breaks HDF5, alone' 'the sanitizer keeps the signal to itself'
else
    refuses 1 'in/b.h5: ' kray info in/b.h5
    refuses 1 'in/b.h5: ' kray convert in/b.h5 b.npy
fi
check 'nothing is left of it' [ ! -e b.npy ]
refuses 1 '1 of 3 failed; the others are done' kray convert in -o out --to npy
check 'the one before is there' [ -s out/a.npy ]
check 'the one after is there' [ -s out/c.npy ]
check 'the damaged one is not' [ ! -e out/b.npy ]

# Cut off in the middle, empty, text, a folder, no such file.
head -c 3000 in/a.h5 >cut.h5
: >empty.h5
echo hello >text.h5
refuses 1 'cut.h5: ' kray info cut.h5
refuses 1 'empty.h5: the file is empty' kray info empty.h5
refuses 1 'text.h5: not a format that Kray knows' kray info text.h5
refuses 1 'absent.h5: there is no such file' kray info absent.h5

# A full disk, as a limit on the size of files, which must not hold for where the sentence goes.
refuses 1 'small.npy: cannot be written: File too large' bash -o pipefail -c \
    "(ulimit -f 0; $KR_BUILD/tools/kray convert in/a.h5 small.npy) 2>&1 | cat >&2"
check 'nothing is left beside it' [ -z "$(ls -A | grep small)" ]
