#!/bin/sh
# tests/fuzz/nightly.sh BUILD [COUNT [FORMAT...]]: what is too long for every build. Each stored file in every simple form (kray-mutate
# -a), then COUNT random forms of each format (10 million, and a hundredth of it for those that HDF5 reads, which it does a hundred
# times as slowly). One line for each format: inputs, how many a reader took, what broke down, hung or left memory behind, and the
# most memory held. Ends with 1 where anything of Kray's did. KR_FUZZ_SEED=N gives other random forms: take the date.
set -u
[ $# -ge 1 ] || { sed -n 's/^# //; 2,3p' "$0" >&2; exit 2; }
build=$1; count=${2:-10000000}
shift; [ $# -ge 1 ] && shift
corpus=$(dirname "$0")/corpus
[ $# -ge 1 ] || set -- $(ls "$corpus")
status=0
for format in "$@"; do
    case $format in
    calgary|cmrxrecon|fastmri|hdf5|ismrmrd|mat|skmtea) n=$((count / 100)) ;;
    *) n=$count ;;
    esac
    "$build"/tests/fuzz/kray-mutate -a "$format" "$corpus/$format" | grep -E '^(not ok|#)' && status=1
    "$build"/tests/fuzz/kray-mutate -r "$n" "$format" "$corpus/$format" || status=1
done
exit $status
