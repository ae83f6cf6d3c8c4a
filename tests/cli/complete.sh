# complete.sh: completion as bash, zsh and fish run it; names that users type; lists of names; man pages.
. "$(dirname "$0")/lib.sh"

for s in bash zsh fish; do kray help --completion $s > k.$s; done
cat > ask.bash <<'X'
. ./k.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_kray
printf '%s\n' "${COMPREPLY[@]}"
X
cat > ask.zsh <<'X'
compadd() { shift; print -l -- "$@" }
_files() { : }
compset() { : }
words=("$@")
CURRENT=$#
source ./k.zsh | grep -- "^${words[CURRENT]#*=}"
X
ask()   # SHELL words...: what may stand for the last word
{
    local shell=$1; shift
    case $shell in
        bash) bash ./ask.bash "$@" ;;
        zsh) zsh -f ./ask.zsh "$@" ;;
        fish) fish -c "source ./k.fish; complete -C '$*'" | cut -f1 ;;
    esac 2>"$err" | sort
}
for s in bash zsh fish; do
    if ! command -v $s >/dev/null; then
        skip "completion in $s" "$s is absent"
        continue
    fi
    check "$s takes it" sh -c "$s -c '. ./k.$s' 2>&1 | grep -i 'error\\|too many\\|unknown' && exit 1; true"
    check "$s: commands" [ "$(ask $s kray re | tr '\n' ' ')" = 'recon report ' ]
    check "$s: each option once" [ "$(ask $s kray recon --lam)" = --lambda ]
    check "$s: methods" [ "$(ask $s kray recon --method wav)" = wavelet ]
    check "$s: after a letter" [ "$(ask $s kray recon -m wav)" = wavelet ]
    check "$s: protocols" [ "$(ask $s kray eval --protocol cmrxrecon | wc -l)" = 3 ]
    check "$s: choices" [ "$(ask $s kray simulate --contrast fl)" = flair ]
    check "$s: kinds of masks" [ "$(ask $s kray recon --undersample equispaced_f)" = equispaced_fraction ]
    check "$s: phantoms" [ "$(ask $s kray simulate shepp)" = shepplogan ]
    check "$s: keys of training" [ "$(ask $s kray train --optimiser adamw)" = adamw ]
    check "$s: options of methods of CT" [ "$(ask $s kray ct --subse)" = --subsets ]
    check "$s: what a command does" [ "$(ask $s kray weights conv)" = convert ]
    check "$s: what help knows" [ "$(ask $s kray help netw)" = networks ]
done

# names as users type them
array x.npy x=24,y=20,coil=2,slice=2 blob phase=1
for m in SENSE cg-sense L1-wavelet zero-filled pics; do
    works "" kray recon x.npy@slice,coil,y,x --plan --method $m
done
refuses 1 'there is no such file' kray eval --protocol fastMRI --target absent a
refuses 2 'did you mean cmrxrecon2023' kray eval --protocol cmrxrecon --target a b
refuses 2 'did you mean brain' kray simulate brian -o x.h5
refuses 2 'did you mean kray help recon' kray help recno
refuses 2 'did you mean espirit' kray coils x.npy -o y.cfl --method espirt
refuses 1 'did you mean espirit' kray recon x.npy@slice,coil,y,x -o y.npy --coils esprit
refuses 1 'no way to estimate them: kray coils --method list' kray recon x.npy@slice,coil,y,x -o y.npy --coils sens
refuses 1 'coil maps: sens.cfl: there is no such file' kray recon x.npy@slice,coil,y,x -o y.npy --coils sens.cfl
refuses 2 'did you mean nifti' kray convert a b --to niftii
works 'shepplogan' kray simulate list
works 'random' kray mask list
works 'espirit' kray coils --method list
works 'sense' kray snr --method=list
works 'fastmri' kray report -p list
works 'nifti' kray convert --to list
for list in commands methods coils formats masks networks phantoms protocols; do works '' kray help $list; done
works 'Options of the method wavelet' kray help recon wavelet
works 'Options of the method wavelet' kray help wavelet
works 'kray recon --method NAME --help' kray recon --help

# the reader of a pipe that leaves early is no failure
check 'kray ... | head' bash -c "set -o pipefail; '$KR_BUILD/tools/kray' help --markdown | head -1"
check 'a full device is one' bash -c "! '$KR_BUILD/tools/kray' help --markdown >/dev/full 2>&1"

kray help mask --man > mask.1
check 'kray-mask(1) has kinds and keys' grep -q 'elliptical' mask.1
check 'the header of a man page' grep -q '^.TH KRAY-MASK 1' mask.1
check 'the variables of the environment' sh -c "'$KR_BUILD/tools/kray' help --man | grep -q KR_CPU"
check 'no (null) anywhere' sh -c "! '$KR_BUILD/tools/kray' help --markdown | grep -q '(null)'"
