# mask.sh: making, saving, showing and reading back sampling masks.
. "$(dirname "$0")/lib.sh"

works 'every 4th along y' kray mask uniform:accel=4,lines=15 --shape 64,96
works '{y=96}: R = 2.74 (35 of 96) along y, ACS 15' kray mask uniform:accel=4,lines=15,offset=1 --shape 64,96
works 'gaussian2d' kray mask --help
for f in npy png cfl; do
    works '{x=40 y=30}' kray mask gaussian2d:accel=4,seed=3 --shape 40,30 -o "m.$f"
    cp "$out" made
    works '{x=40 y=30}' kray mask --show "m.$f"
    check "m.$f reads back as it was made" [ "$(sed 's/.*}: //' made)" = "$(sed 's/.*}: //' "$out")" ]
done
works '"acceleration": 2.74' kray mask uniform:accel=4,lines=15,offset=1 --shape 64,96 --json
works '"y": 15' kray mask uniform:accel=4,lines=15,offset=1 --shape 64,96 --json
works '{y=30}' kray mask random:accel=2 --shape y=30,x=40 -o line.npy
check 'the file is named' grep -qx 'kray: line.npy' "$err"
works '{y=30}' kray mask line.npy --shape 40,30
rm line.npy.json                                  # nameless lines of numbers are along y
works '{y=30}' kray mask line.npy --shape 30,30
works 'along y' kray mask random:accel=2 --shape 40,30 --name a.h5
cp "$out" a; kray mask random:accel=2,seed=a.h5 --shape 40,30 >b
check 'the name is the seed' [ "$(sed 's/.*{/{/' a)" = "$(sed 's/.*{/{/' b)" ]
works '{y=30 time=4}' kray mask random:accel=2,vary=yes --shape x=40,y=30,time=4

refuses 2 'which grid' kray mask random
refuses 2 'which mask' kray mask --shape 64,64
refuses 2 "did you mean random" kray mask randon:accel=4 --shape 64,64
refuses 2 'accel is a number of at least 1' kray mask random:accel=0 --shape 64,64
refuses 2 "is no axis" kray mask random --shape w=64
refuses 2 "--shape is 320,320" kray mask random --shape 64,-1
refuses 2 "too large" kray mask random --shape 4000000000000,4000000000000
refuses 1 "nothing to undersample along y" kray mask random --shape 64
refuses 1 "there is no such file" kray mask none.npy --shape 64,64
refuses 1 "there is no such file" kray mask --show none.npy
refuses 2 "which file" kray mask --show
refuses 1 "has 40 points along x, k-space {x=64 y=64} has 64" kray mask m.npy --shape 64,64
refuses 2 "cannot be written" kray mask random --shape 64,64 -o mask.xyz
works "" kray mask random --shape 64,64 -o none/mask.npy
