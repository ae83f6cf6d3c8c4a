#!/bin/bash
# adding.sh [FOLDER]: what docs/adding.md promises: a method, a solver, coil maps, a command and a format are one file and one
# word. Each is made from the smallest of its kind under another name, in a copy of the sources in FOLDER (a temporary one), which is built;
# they have to be in the lists, the help and the tests by themselves. Takes a whole build: not part of the tests of every change.
set -e
here=$(cd "$(dirname "$0")/.." && pwd)
room=${1:-$(mktemp -d)}
mkdir -p "$room"
git -C "$here" ls-files | tar -C "$here" -cf - -T - | tar -C "$room" -xf -
cd "$room"
new()   # list's file, list, like, name; then the file and its copy, and the names to change in it
{
    sed "$7" "$5" >"$6"
    sed -i "s/^\($2 = \[[^]]*\)'$3'/\1'$3', '$4'/; /^$2 = \[/,/\]/ s/'$3',\$/'$3', '$4',/" "$1"
    grep -q "'$4'" "$1" || sed -i "/^$2 = \[/,/\]/ s/'$3'/'$3', '$4'/" "$1"
    grep -q "'$4'" "$1" || { echo "no list $2 with $3 in $1"; exit 1; }
}
new recon/meson.build recons rss mine recon/rss.c recon/mine.c 's/kr_recon_rss/kr_recon_mine/; s/{ "rss"/{ "mine"/'
new src/solve/meson.build solvers admm minesolver src/solve/admm.c src/solve/minesolver.c 's/kr_solver_admm/kr_solver_minesolver/; s/{ "admm"/{ "minesolver"/'
new src/scan/meson.build coil_methods walsh minemaps src/scan/walsh.c src/scan/minemaps.c 's/kr_coil_method_walsh/kr_coil_method_minemaps/; s/{ "walsh"/{ "minemaps"/'
new tools/meson.build tools convert minecommand tools/cmd_convert.c tools/cmd_minecommand.c 's/kr_tool_convert/kr_tool_minecommand/; s/{ "convert"/{ "minecommand"/'
new src/io/meson.build formats ra mineformat src/io/fmt_ra.c src/io/fmt_mineformat.c 's/kr_format_ra/kr_format_mineformat/; s/{ "ra", "\.ra"/{ "mineformat", ".mineformat"/'
[ -d build ] || meson setup build -Dwerror=true >setup.log
ninja -C build >build.log || { grep -A5 error: build.log; exit 1; }
fails=0
finds() { if "${@:2}" 2>&1 | grep -q "$1"; then echo "ok - $1: ${*:2}"; else echo "not ok - $1: ${*:2}"; fails=1; fi; }
k=build/tools/kray
finds mine $k recon --method list
finds minesolver $k recon --method wavelet --help
finds minemaps $k coils --help
finds minecommand $k --help
finds mineformat $k help --markdown
finds 'mine  ' build/tests/test_methods
finds minesolver build/tests/test_solve
exit $fails
