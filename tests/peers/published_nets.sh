#!/bin/sh
# published_nets.sh: the published programs themselves (their entry points, transforms, masks and model classes) and kray recon on the
# same small files, with the same random weights in the program's own checkpoint: the largest difference of the images relative to
# their largest value; above 1e-4 is a failure. A program that does not import is skipped. Bridge is NCC1701's folder.
#
#   tests/peers/published_nets.sh [direct] [fastmri] [atommic] [mridc] [Bridge]
#   KRAY=build/tools/kray PYTHON=python3 PYTHONPATH=source trees
set -eu
KRAY=${KRAY:-build/tools/kray}
PYTHON=${PYTHON:-python3}
here=$(dirname "$0")
"$PYTHON" -c 'import torch, h5py, yaml' 2>/dev/null || { echo "skipped: $PYTHON has no torch, h5py and yaml"; exit 77; }
[ -x "$KRAY" ] || { echo "skipped: there is no kray at $KRAY"; exit 77; }
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/kray-nets.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
[ $# -gt 0 ] || set -- direct fastmri atommic mridc Bridge
status=0
for program; do
    "$PYTHON" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$program') is None)" || { echo "skipped: $PYTHON has no $program"; continue; }
    "$PYTHON" -W ignore "$here/published_nets.py" "$work" "$KRAY" "$program" >"$work/out" 2>"$work/log" || status=1
    grep -E '^(DIRECT|fastMRI|ATOMMIC|mridc|NCC1701) ' "$work/out" || { echo "failed: $program"; tail -n 5 "$work/log"; status=1; }
done
exit $status
