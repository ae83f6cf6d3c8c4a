#!/bin/bash
# symbols.sh: libkray exports what its public headers declare, and nothing else.
. "$(dirname "$0")/tap.sh"
room=$(mktemp -d)
trap 'rm -rf "$room"; echo "1..$count"' EXIT

nm -D --defined-only "$1" | awk '{ print $3 }' | sed 's/@.*//' | LC_ALL=C sort -u >"$room/exported"
grep -ohE '\bkr_[a-z0-9_]+' include/kray/*.h | LC_ALL=C sort -u >"$room/named"
holds 'every exported name begins with kr_' "$(grep -v '^kr_' "$room/exported" | head -5)"
holds 'every exported name stands in a public header' "$(LC_ALL=C comm -23 "$room/exported" "$room/named" | head -5)"
# a declaration of a function: kr_name( at the end of a type, outside of a comment
sed -e 's:/\*.*\*/::' include/kray/*.h | grep -oE '^[a-z][a-z0-9_ ]*[ *]kr_[a-z0-9_]+\(' | grep -v '^typedef\|^static' | grep -oE 'kr_[a-z0-9_]+\($' | tr -d '(' |
    LC_ALL=C sort -u >"$room/declared"
holds 'every function of a public header is exported' "$(LC_ALL=C comm -23 "$room/declared" "$room/exported" | head -5)"
holds 'there are functions to compare' "$([ "$(wc -l <"$room/declared")" -gt 200 ] || wc -l <"$room/declared")"
