# coils.sh: coil maps from the command line.
. "$(dirname "$0")/lib.sh"

kray simulate brain --matrix 64,60 --slices 3 --coils 6 --oversampling -o scan.h5 -q
works '{x=64 y=60 coil=6 slice=3}, espirit' kray coils scan.h5 -o maps.cfl --png maps.png
check 'the maps are on the grid of the prepared scan' grep -q '^64 60 1 6 1 ' maps.hdr
check 'the picture is a PNG' [ "$(head -c 4 maps.png | tail -c 3)" = PNG ]
KR_THREADS=3 kray coils scan.h5 -o again.cfl -q
check 'threads change nothing' cmp maps.cfl again.cfl
for cpu in base v3; do
    KR_CPU=$cpu kray coils scan.h5 -o $cpu.cfl -q
    check "built for $cpu: as many bytes" [ "$(wc -c <$cpu.cfl)" = "$(wc -c <maps.cfl)" ]
done
works '{x=64 y=60 coil=6 map=2 slice=3}' kray coils scan.h5 -o two.npy --maps 2 --soft --crop 0.7
works '{x=64 y=60 coil=6 slice=3}, walsh' kray coils scan.h5 -o walsh.npy --method walsh
works '{x=64 y=60 coil=6 slice=3}, lowres' kray coils scan.h5 -o lowres.npy --method lowres
works '6 coils compressed to 4' kray coils scan.h5 -o four.npy --compress 4 --compression geometric
works '{x=128 y=60 coil=6 slice=3}' kray coils scan.h5 -o wide.npy --no-oversampling
works '' kray recon scan.h5 --coils maps.cfl --method sense -o image.npy -q
works '' kray recon scan.h5 --coils walsh.npy --method sense -o image.npy -q
works '' kray recon scan.h5 --compress 4 --coils four.npy --method sense -o image.npy -q

refuses 2 'where should the maps go' kray coils scan.h5
refuses 2 'one scan is wanted' kray coils scan.h5 maps.cfl -o x.cfl
refuses 1 'there is no such file' kray coils none.cfl -o x.cfl
refuses 2 'espirit|walsh|lowres' kray coils scan.h5 -o x.cfl --method espirito
refuses 1 '7 sets of maps of 6 coils' kray coils scan.h5 -o x.cfl --maps 7
refuses 1 'fewer than the kernel is wide (6)' kray coils scan.h5 -o x.cfl --calib 5
refuses 1 'a kernel 0 wide' kray coils scan.h5 -o x.cfl --kernel 0
refuses 1 'must be below 1' kray coils scan.h5 -o x.cfl --crop 1
refuses 2 'count something' kray coils scan.h5 -o x.cfl --calib 0
works '' kray coils scan.h5 -o none/x.cfl
kray simulate brain --matrix 64,60 --slices 1 --coils 4 -o regular.cfl -q --undersample uniform:accel=4,lines=4
refuses 1 'measure more lines around the centre' kray coils regular.cfl -o x.cfl
check 'what is refused leaves no file' [ ! -e x.cfl ]

# One coil: its map is 1, and every method that needs no second coil makes an image.
kray simulate brain --matrix 48,48 --slices 2 --coils 1 --to fastmri --no-oversampling -o one.h5 -q --undersample random:accel=2,center=0.2,seed=1
works '{x=48 y=48 slice=2}' kray coils one.h5 -o one.npy
check 'of a single coil: 1 everywhere' [ "$(tail -c 18432 one.npy | od -An -tx4 -v | tr -s ' ' '\n' | sort -u | tr -d '\n')" = 000000003f800000 ]
for method in sense adjoint wavelet tv tgv cs nlinv rss; do
    works '{x=48 y=48 slice=2}' kray recon one.h5 -o image.npy --method $method
done
refuses 1 'this scan has one: take --method wavelet' kray recon one.h5 -o image.npy --method grappa

# K-space given as maps is not taken without a word.
kray simulate -m 128,128 -s 1 -c 4 --undersample uniform:accel=3,lines=24 -o scan4.h5 -q
kray convert scan4.h5 kspace.cfl -q
works 'they look like k-space, not like maps' kray recon kspace.cfl -o image.npy --method sense --coils kspace.cfl
kray coils kspace.cfl -o maps4.cfl -q
works '' kray recon kspace.cfl -o image.npy --method sense --coils maps4.cfl
check 'nor are maps called so' bash -c "! grep -q 'look like k-space' '$err'"

# Slices that hold noise only end nothing: they come out with maps of low resolution, and are counted once, in pieces too.
kray simulate -m 64,64 -s 32 -c 8 --snr 10 --undersample uniform:accel=4,lines=24 -o noisy.h5 -q
works 'of 32 slices the calibration area holds noise only' kray recon noisy.h5 -o whole.npy --method sense
works 'of 32 slices the calibration area holds noise only' kray recon noisy.h5 -o pieces.npy --method sense --memory 32M
check 'in one warning' [ "$(grep -c warning: "$err")" = 1 ]
check 'pieces give the same bits' cmp whole.npy pieces.npy
works 'of 32 slices the calibration area holds noise only' kray coils noisy.h5 -o maps.npy
