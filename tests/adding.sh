#!/bin/bash
# adding.sh [FOLDER]: what docs/adding.md promises: each kind of thing is one file and one word. Of every row one is made from a small one of its
# kind under another name, in a copy of the sources in FOLDER (a temporary one, removed afterwards); the copy is built, and what was added has to be in the
# lists of the help, in the tables of the documentation, in the completion and in the tests by itself. Takes a build of the library, of kray and of
# some tests: not part of the tests of every change. Its last result stands in docs/adding.md.
set -e
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive           # threads that wait for each other on a busy machine take hours
here=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "$1" ]; then room=$1; else room=$(mktemp -d); trap 'rm -rf "$room"' EXIT; fi
mkdir -p "$room"
git -C "$here" ls-files -co --exclude-standard | tar -C "$here" -cf - -T - | tar -C "$room" -xf -
cd "$room"
kinds=0
new()   # meson.build, its list, a word there, the new word, the file of the one, the file of the other, how they differ (sed)
{
    sed "$7" "$5" >"$6"
    sed -i "/^$2 = \[/,/\]/ s/'$3'/'$3', '$4'/" "$1"
    grep -q "'$3', '$4'" "$1" || { echo "not ok - no list $2 with '$3' in $1"; exit 1; }
    ! cmp -s "$5" "$6" || { echo "not ok - $6 is no other than $5"; exit 1; }
    kinds=$((kinds + 1))
}
new recon/meson.build recons rss mine recon/rss.c recon/mine.c 's/kr_recon_rss/kr_recon_mine/; s/{ "rss"/{ "mine"/'
new recon/meson.build regs l2 minereg recon/reg_l2.c recon/reg_minereg.c 's/reg_l2/reg_minereg/; s/"l2"/"minereg"/'
sed 's/const model_kind model_cartesian = { "cartesian"/const model_kind model_minemodel = { "minemodel"/' recon/model_cartesian.c |
    sed '/^static bool constant/,/^static bool can/ { /^static bool can/!d }' >recon/model_minemodel.c           # not the mask, which all share
sed -i "/^models = \[/ s/'cartesian'/'minemodel', 'cartesian'/" recon/meson.build
kinds=$((kinds + 1))
new src/solve/meson.build solvers admm minesolver src/solve/admm.c src/solve/minesolver.c 's/kr_solver_admm/kr_solver_minesolver/; s/{ "admm"/{ "minesolver"/'
new src/scan/meson.build coil_methods walsh minemaps src/scan/walsh.c src/scan/minemaps.c 's/kr_coil_method_walsh/kr_coil_method_minemaps/; s/{ "walsh"/{ "minemaps"/'
new src/scan/meson.build masks poisson minemask src/scan/mask_poisson.c src/scan/mask_minemask.c 's/kr_masks_poisson/kr_masks_minemask/; s/{ "poisson"/{ "minemask"/'
new src/scan/meson.build trajs epi minetraj src/scan/trj_epi.c src/scan/trj_minetraj.c 's/kr_trj_epi/kr_trj_minetraj/; s/"epi"/"minetraj"/'
new src/io/meson.build formats cfl minepair src/io/fmt_cfl.c src/io/fmt_minepair.c 's/kr_format_cfl/kr_format_minepair/; s/{ "cfl"/{ "minepair"/; s/\.cfl/.mpa/g; s/\.hdr/.mpb/g'
new src/io/meson.build projections htc mineprj src/io/prj_htc.c src/io/prj_mineprj.c 's/kr_projections_htc/kr_projections_mineprj/; s/{ "htc"/{ "mineprj"/'
new src/image/meson.build scores bart minescore src/image/score_bart.c src/image/score_minescore.c 's/kr_protocol_bart/kr_protocol_minescore/; s/"bart"/"minescore"/'
new src/nn/meson.build nets unet_direct minenet src/nn/net_unet_direct.c src/nn/net_minenet.c 's/kr_net_unet_direct/kr_net_minenet/; s/{ "unet_direct"/{ "minenet"/'
new src/nn/meson.build losses l2 mineloss src/nn/loss_l2.c src/nn/loss_mineloss.c 's/kr_loss_l2/kr_loss_mineloss/; s/\.name = "l2"/.name = "mineloss"/'
new src/nn/meson.build optimisers sgd mineopt src/nn/opt_sgd.c src/nn/opt_mineopt.c 's/kr_optimiser_sgd/kr_optimiser_mineopt/; s/"sgd"/"mineopt"/'
new src/nn/meson.build schedules cosine minesched src/nn/sched_cosine.c src/nn/sched_minesched.c 's/kr_schedule_cosine/kr_schedule_minesched/; s/"cosine"/"minesched"/'
new src/nn/meson.build readers npz minereader src/nn/wt_npz.c src/nn/wt_minereader.c 's/wt_npz/wt_minereader/; s/"NumPy npz"/"minereader"/; s/return [0-9]* *;/return 0;/'
new phantoms/meson.build phantoms shepplogan mineph phantoms/ph_shepplogan.c phantoms/ph_mineph.c 's/kr_phantom_shepplogan/kr_phantom_mineph/; s/{ "shepplogan"/{ "mineph"/'
new tools/meson.build tools convert minecommand tools/cmd_convert.c tools/cmd_minecommand.c 's/kr_tool_convert/kr_tool_minecommand/; s/{ "convert"/{ "minecommand"/; s/kray convert/kray minecommand/g'
new tests/meson.build unit_tests units minetest tests/unit/test_units.c tests/unit/test_minetest.c 's/test_units/test_minetest/'
new tests/meson.build cli_tests view minescript tests/cli/view.sh tests/cli/minescript.sh 's/view.sh/minescript.sh/'

[ -d build ] || meson setup build -Dwerror=true >setup.log
tests=$(for t in methods solve kinds train metric phantom coils minetest; do echo "tests/test_$t"; done)
# shellcheck disable=SC2086
ninja -C build tools/kray docs/tables.md docs/kray-minecommand.1 $tests >build.log || { grep -E -A5 'FAILED|error:' build.log | head -40; exit 1; }

fails=0 count=0
finds() { count=$((count + 1)); if "${@:2}" 2>&1 | grep -q -- "$1"; then echo "ok $count - $1: ${*:2}"; else echo "not ok $count - $1: ${*:2}"; fails=1; fi; }
k=build/tools/kray
for row in methods:mine regularisers:minereg solvers:minesolver masks:minemask trajectories:minetraj formats:minepair protocols:minescore networks:minenet \
    losses:mineloss optimisers:mineopt schedules:minesched phantoms:mineph projections:mineprj commands:minecommand; do
    finds "^${row#*:} " $k help "${row%:*}"
    finds "${row#*:}" cat build/docs/tables.md
done
finds '^minemaps ' $k coils --method list
finds minemaps cat build/docs/tables.md
finds minecommand $k --help
finds minecommand cat build/docs/kray-minecommand.1
for word in mine minemaps minemask minecommand minescore; do finds $word $k help --completion bash; done
finds minesolver $k recon --method wavelet --help
finds minereader $k weights info build.log
finds minepair $k convert recon/rss.c x.nothing --to list
mkdir -p pairs && $k simulate shepplogan -m 32,32 -c 2 -o pairs/two.mpa -q      # its suffixes, and the file beside each, come from its own table
finds 'same file' $k recon pairs/two.mpb -o pairs/two.mpa
finds 'same file' $k recon pairs/two -o pairs/two.mpa
$k recon pairs -o images -q && finds two ls images
finds minetest meson test -C build --list
finds cli-minescript meson test -C build --list
finds mutate-minepair meson test -C build --list
finds ' mine  ' build/tests/test_methods
finds minereg build/tests/test_methods
finds minesolver build/tests/test_solve
finds minemask build/tests/test_kinds
finds minetraj build/tests/test_kinds
finds PASSED build/tests/test_minetest
echo "1..$count"
echo "# $kinds kinds of things, each one file and one word"
exit $fails
