#!/bin/bash
# cmocka.sh PROGRAM: runs a test program of cmocka's. A test that it skips cmocka calls "not ok N # SKIP", which TAP's readers
# take for a failure, and what a test prints is no comment: both are put right here.
set -o pipefail
"$@" | sed -u -E 's/^not ok ([0-9]+) # SKIP/ok \1 # SKIP/; /^(ok|not ok) [0-9]|^1\.\.[0-9]|^#/!s/^/# /'
