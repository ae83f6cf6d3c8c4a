# weights.sh: what weights are, Kray's own copy, and a published network from its checkpoint to an image.
. "$(dirname "$0")/lib.sh"

works 'kray weights convert model.ckpt' kray weights --help
refuses 2 'one of info, list or convert' kray weights
refuses 2 'not show' kray weights show
refuses 2 'which file' kray weights info
refuses 2 'which folder' kray weights list
refuses 2 'names are given' kray weights convert a
refuses 1 'cannot be opened' kray weights info nothing.pt
echo 'hello there' >text.pt
refuses 1 'not a file of weights' kray weights info text.pt
works '[]' kray weights list . --json

ckpt=$KR_SHARED/data/weights/cirim_1c_64f_l1_nodc_epoch19.ckpt
brain=$KR_SHARED/data/mri/brain_mprage_4ch_256_loraks.mat
if [ ! -e "$ckpt" ]; then
    skip 'published weights' "$ckpt is absent"
    exit
fi
cp "$ckpt" model.ckpt
works 'network     cirim: Recurrent Inference Machines' kray weights info model.ckpt
works '"network": "cirim"' kray weights info model.ckpt --json
works 'cirim            ' kray weights list .
refuses 2 'are written as .safetensors or .pt' kray weights convert model.ckpt copy.npz
refuses 2 '--bf16 belongs to .safetensors' kray weights convert model.ckpt copy.pt --bf16
works 'kray: copy.pt' kray weights convert model.ckpt copy.pt
check 'for PyTorch: the same names and numbers' cmp <(kray weights info model.ckpt | grep '^  digest') <(kray weights info copy.pt | grep '^  digest')
works '' kray weights convert model.ckpt half.safetensors --bf16
check 'half of the room' [ "$(wc -c < half.safetensors)" -lt "$(($(wc -c < copy.pt) * 3 / 5))" ]
refuses 1 'do not belong to a network' kray weights convert model.ckpt copy.safetensors --network varnet
works '' kray weights convert model.ckpt copy.safetensors --licence Apache-2.0
works 'licence: Apache-2.0' kray weights info copy.safetensors
kray weights info model.ckpt | grep digest >a; kray weights info copy.safetensors | grep '^  digest' >b
check 'the copy has the same numbers' cmp a b
printf 'model:\n  model_name: CIRIM\n  num_cascades: 5\n' >model.yaml
works 'num_cascades is 5, the weights have 1' kray weights info model.ckpt
refuses 1 'not-there.yaml' kray weights info model.ckpt --config not-there.yaml
works 'network     cirim:' kray weights info model.ckpt --config none
head -c 60000 model.ckpt >cut.ckpt
refuses 1 'cut.ckpt' kray weights info cut.ckpt
if [ ! -e "$brain" ]; then
    skip 'a real brain' "$brain is absent"
    exit
fi
mask=gaussian2d:accel=5,fwhm=0.52,scale=0.08,axes=xy
k=$brain:kData@x,y,coil
refuses 1 '--config none leaves it out' kray recon "$k" -o net.npy --method cirim --weights model.ckpt -u "$mask"
works 'cirim' kray recon "$k" -o net.npy --method cirim --weights model.ckpt --config none -u "$mask"
works 'cirim' kray recon "$k" -o own.npy --method cirim --weights copy.safetensors -u "$mask"
check 'the copy gives the same image' cmp net.npy own.npy
works 'at the peak' kray recon "$k" -o net.npy --method cirim --weights copy.safetensors --plan
refuses 1 'another method' kray recon "$k" -o net.npy --method varnet --weights copy.safetensors -u "$mask"
refuses 2 'needs its weights' kray recon "$k" -o net.npy --method recurrentvarnet -u "$mask"
