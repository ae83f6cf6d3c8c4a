# library.sh: libkray without the command line: every public header alone, in C and C++.
. "$(dirname "$0")/lib.sh"
root=$here/../..

alone()   # LANGUAGE STANDARD COMPILER
{
    command -v "$3" >/dev/null || { skip "headers in $2" "no $3"; return; }
    local h
    for h in "$root"/include/kray/*.h; do
        check "$(basename "$h") stands alone in $2" "$3" -x "$1" -std="$2" -Wall -Wextra -Werror -fsyntax-only -I"$root/include" "$h"
    done
}
alone c c11 cc
alone c++ c++11 c++

