#!/bin/bash
# headers.sh: every public header compiles by itself, twice in one file, as C11 and as C++, without a warning, and brings
# no library's header along.
. "$(dirname "$0")/tap.sh"

alone()   # compiler (it may be two words: ccache gcc), language, standard, header
{
    printf '#include "kray/%s"\n#include "kray/%s"\n' "$4" "$4" |
        $1 -x "$2" -std="$3" -Wall -Wextra -Wshadow -Wundef -pedantic -Werror -Iinclude -fsyntax-only - 2>&1
}

for h in include/kray/*.h; do
    n=${h##*/}
    holds "$n alone as C11" "$(alone "${CC:-gcc}" c c11 "$n")"
    command -v "${CXX:-g++}" >/dev/null && holds "$n alone as C++" "$(alone "${CXX:-g++}" c++ c++11 "$n")"
    holds "$n has a guard, and C names in C++" "$(
        grep -q "^#ifndef KRAY_" "$h" || echo "no guard KRAY_..."
        grep -q 'extern "C"' "$h" || echo 'no extern "C"')"
done
holds "public headers include only each other and C's own" \
    "$(grep -n '#include' include/kray/*.h | grep -vE '"kray/[a-z0-9_]+\.h"|<(stdarg|stdbool|stddef|stdint|stdio)\.h>')"
