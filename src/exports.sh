#!/bin/sh
# exports.sh FOLDER: the version script of libkray: what the public headers in FOLDER name is exported, all else is not.
echo '{ global:'
cat "$1"/*.h | grep -oE '\bkr_[a-z0-9_]+' | LC_ALL=C sort -u | sed 's/$/;/'
echo 'local: *; };'
