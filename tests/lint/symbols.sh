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

# What of a process can change: nothing that an image depends on, and nothing by which two jobs in two threads could meet.
#   record                      the last refusal, of each thread, as errno is
#   ring turn text reading      text that a function returns, or that a crash report names, of each thread
#   last                        windows that were searched last (kr_nufft), of each thread: the search would find the same
#   now peak calls refused wanted   what memory is taken, and which allocation is to fail (KR_FAIL_ALLOC)
#   pager                       blocks of memory that lie in files (kr_mem_page), of the process as its limit is: the numbers in them are the same
#   chosen known                the number of threads (kr_threads_set) and the processor's level, once they are known
#   planner                     the lock of FFTW's planner
#   blas once                   how many threads may be in BLAS where memory is limited; DCMTK's and BLAS's first call
#   stored                      blocks of memory of the last run of a segmentation network, for the next: their values are written anew
# Names of objects within a function end in a number by gcc and begin with the function's by clang.
objdump -t "$1" | awk '$4 == ".data" || $4 == ".bss" || $4 == ".tdata" || $4 == ".tbss" || $3 == ".tbss" || $3 == ".tdata" { print $NF }' | sed -E 's/\.(lto_priv\.)?[0-9]+$//; s/^[a-z0-9_]+\.//' |
    grep -vE '^[._*]|^DW\.ref\.|^(completed|edata|end)$' | sort -u >"$room/changes"
holds 'a process has no state but what is listed here' "$(grep -vxE 'record|ring|turn|text|reading|last|now|peak|calls|refused|wanted|pager|chosen|known|planner|blas|once|stored' "$room/changes")"
holds 'objects are found to compare' "$(grep -qx record "$room/changes" && grep -qx stored "$room/changes" || cat "$room/changes")"
