# json.sh: --json of every command is a list of objects, and the jq lines of the help run as they are printed.
. "$(dirname "$0")/lib.sh"
if ! command -v jq >/dev/null; then
    skip 'JSON' 'jq is absent'
    exit
fi

listed()   # LENGTH FILTER command...: stdout is a list of that length, and the filter is true for it
{
    local length=$1 filter=$2; shift 2
    works '' "$@"
    check "a list of $length: $*" [ "$(jq -r 'type + " " + (length | tostring)' <"$out")" = "array $length" ]
    check "$filter" [ "$(jq -r "$filter" <"$out")" = true ]
}

listed 1 '.[0].file == "scan.h5" and .[0].shape.coil == 4 and .[0].parameters.phase == true' \
    kray simulate -m 32,32 -s 2 -c 4 -o scan.h5 --reference full.nii --json
cp scan.h5 other.h5
listed 1 '.[0].kind == "scan" and .[0].coils == 4' kray info scan.h5 --json
listed 2 '.[1].file == "other.h5"' kray info scan.h5 other.h5 --json
listed 1 '.[0].method == "sense" and .[0].acceleration > 1.5 and .[0].parameters.lambda >= 0 and .[0].mask == "equispaced:accel=2,center=0.25"' \
    kray recon scan.h5 -o sense.nii --method sense -u equispaced:accel=2,center=0.25 --json
listed 2 'all(.[]; .shape.x == 32 and .method == "rss" and (.file | startswith("out/")))' kray recon scan.h5 other.h5 -o out --method rss --json
listed 1 '.[0].plan.memory_bytes > 0' kray recon scan.h5 --plan --json
listed 1 '.[0].shape.slice == 2' kray coils scan.h5 -o maps.cfl --json
listed 1 '.[0].sigma > 0 and .[0].gfactor == "g.nii"' kray snr scan.h5 -g g.nii --json
listed 1 '.[0].what == "raw"' kray convert scan.h5 scan.cfl --json
listed 1 '.[0].measured < .[0].points' kray mask random:accel=4,center=0.08 --shape 64,64 -o mask.npy --json
listed 1 '.[0].file == "mask.npy"' kray mask --show mask.npy --json
listed 1 '.[0].file == "v.html" and .[0].shape.x == 32 and .[0].labels == null' kray view full.nii -o v.html --json
listed 1 '.[0].part == "grappa" and .[0].ms > 0 and .[0].repeat == 1 and .[0].threads == 1' kray bench grappa -n 1 --threads 1 --json
kray convert scan.h5 -o scan.bin -q
kray stream -c rss --json -q <scan.bin >answer.bin 2>one.json
check 'a stage of a pipe tells on standard error' [ "$(jq '.[0].images_out == 2 and .[0].config == "rss" and (.[0] | has("error") | not)' one.json)" = true ]
kray stream -c nonsense --json -q <scan.bin 2>&1 >answer.bin | grep -v '^kray: ' >one.json
check 'also why not' [ "$(jq '.[0].error | test("no configuration")' one.json)" = true ]
"$KR_BUILD/tools/kray" serve --port 0 --json >end.json 2>server.log &
server=$!
for i in $(seq 300); do port=$(sed -n 's/.*listening at 127.0.0.1:\([0-9]*\).*/\1/p' server.log); [ -n "$port" ] && break; sleep 0.1; done
listed 1 '.[0].images == 2 and .[0].config == "rss" and .[0].file == "sent.npy"' kray send scan.h5 -o sent.npy -c rss --port "$port" --json
listed 1 '.[0].sessions == 2' kray serve --status --port "$port" --json
kill -TERM $server; wait $server
check 'a server tells at its end' [ "$(jq '.[0].images == 2 and .[0].open == 0' end.json)" = true ]
listed 1 '.[0].volumes[0].ssim <= 1 and .[0].volumes[0].method == "sense"' kray eval --target full.nii sense.nii --json
listed 2 '.[0].name == "a" and .[1].volumes[0].psnr == "inf"' kray eval --target full.nii a=sense.nii b=full.nii --json
listed 1 '.[0].methods[0].ssim.volumes == 1' kray report -o r.html --target full.nii a=sense.nii --json

# a failure is in the list, too, and the exit status stays
kray info absent.h5 --json >one.json 2>/dev/null
check 'exit 1 of a file that is absent' [ $? = 1 ]
check 'with its error' [ "$(jq '.[0].error | test("no such file")' one.json)" = true ]
kray recon scan.h5 absent.h5 -o out --method rss --json >one.json 2>/dev/null
check 'one bad file of two' [ "$(jq '(.[0] | has("error") | not) and (.[1] | has("error"))' one.json)" = true ]
kray recon scan.h5 -o out.nii --nonsense --json >one.json 2>/dev/null
check 'wrong usage prints no JSON' [ $? = 2 -a ! -s one.json ]
array warn.npy x=40,y=44 blob
array loud.npy x=40,y=44 blob scale=30
kray eval --target warn.npy loud.npy --json >one.json 2>/dev/null
check 'warnings are in the list' [ "$(jq '.[0].warnings[0] | test("other units")' one.json)" = true ]

# the lines of help and docs with jq, as they are printed
mkdir -p study/in gt a b && cp scan.h5 study/ && cp full.nii gt/v.nii && cp sense.nii a/v.nii && cp full.nii b/v.nii && cp full.nii full2.nii
cp full.nii gt/w.nii && cp sense.nii a/w.nii && cp full.nii b/w.nii
export PATH=$KR_BUILD/tools:$PATH
lines=$(for t in $(kray --help | sed -n 's/^  \([a-z][a-z0-9]*\)  *.*/\1/p'); do kray "$t" --help; done | grep '| jq'; grep '^kray .*| jq' "$here/../../docs/json.md")
check 'there are such lines' [ "$(echo "$lines" | wc -l)" -ge 4 ]
while read -r line; do
    works '' bash -c "set -o pipefail; $line"
done <<<"$lines"
for t in $(kray --help | sed -n 's/^  \([a-z][a-z0-9]*\)  *.*/\1/p'); do
    if kray "$t" --help | grep -q -- '^ *--json'; then check "docs/json.md tells of kray $t" grep -q "^| .*\`$t\`" "$here/../../docs/json.md"; fi
done
