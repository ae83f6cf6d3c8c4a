# docs.sh: the commands that the documents show work as shown. Every ```sh block of a page runs, block after block, in one folder of that
# page; what a page needs and its readers have already, it states in comments that no viewer shows:
#
#   <!-- setup: COMMAND -->          runs first (one line each)
#   <!-- shared: PATH NAME -->       the next block reads NAME, a link to PATH in the shared data; without that it is skipped
#   <!-- not run: WHY -->            the next block is skipped, visibly
. "$(dirname "$0")/lib.sh"
if [ "${KR_SANITIZE:-none}" != none ]; then skip 'the commands in the documents' 'run by the build without sanitizers'; exit; fi
docs=$(cd "$here/../../docs" && pwd)
mkdir bin && ln -s "$KR_BUILD/tools/kray" bin/kray && PATH=$work/bin:$PATH
unset -f kray

# Writes N.sh for block N of a page, with its first lines N.why (skip), N.link (path and name); setup.sh for the page.
split()
{
    awk -v to="$2" '
        match($0, /^<!-- setup: .* -->$/)   { print substr($0, 13, length($0) - 16) > (to "/setup.sh"); next }
        match($0, /^<!-- shared: .* -->$/)  { print substr($0, 14, length($0) - 17) > (to "/" n + 1 ".link"); next }
        match($0, /^<!-- not run: .* -->$/) { print substr($0, 15, length($0) - 18) > (to "/" n + 1 ".why"); next }
        /^```sh$/ && !inside                { inside = 1; n++; printf "" > (to "/" n ".sh"); next }
        /^```/ && inside                    { inside = 0; next }
        inside                              { print > (to "/" n ".sh") }' "$1"
}

for page in "$docs"/*.md "$docs"/../README.md; do
    name=$(basename "$page" .md) blocks=$work/blocks/$(basename "$page" .md)
    mkdir -p "$blocks" "$work/run/$name"
    split "$page" "$blocks"
    cd "$work/run/$name" || exit 99
    [ -f "$blocks/setup.sh" ] && check "$name: what the page starts from" bash -e "$blocks/setup.sh"
    for n in $(seq 1 "$(find "$blocks" -name '[0-9]*.sh' | wc -l)"); do
        words="$name: $(sed -n '/^ *[^# ]/ { p; q }' "$blocks/$n.sh")"
        if [ -f "$blocks/$n.why" ]; then skip "$words" "$(cat "$blocks/$n.why")"; continue; fi
        absent=
        [ -f "$blocks/$n.link" ] && while read -r path link; do
            if [ -e "$KR_SHARED/$path" ]; then ln -sfn "$(cd "$KR_SHARED" && pwd)/$path" "$link"; else absent=$path; fi
        done <"$blocks/$n.link"
        if [ -n "$absent" ]; then skip "$words" "$absent is absent"; continue; fi
        check "$words" bash -eo pipefail "$blocks/$n.sh"
    done
    # Links between pages lead somewhere.
    for link in $(grep -o '](\([^)#:]*\)[)#]' "$page" | sed 's/^](//; s/[)#]$//' | sort -u); do
        [ -z "$link" ] || check "$name: $link is there" [ -e "$(dirname "$page")/$link" ]
    done
done
cd "$work" || exit 99

# What there is stands on its page; what is new need not (it stands in tables.md), but is told.
covers()    # page list
{
    absent=$(kray help "$2" | sed -n 's/^\([a-z][a-z0-9_-]*\)  .*/\1/p' | while read -r word; do grep -q "\`$word\`" "$docs/$1" || echo "$word"; done)
    if [ -z "$absent" ]; then check "$1 has all $2" true; else skip "$1 has all $2" "not yet: $(echo $absent)"; fi
}
covers methods.md methods
covers formats.md formats
covers masks.md masks
for page in "$docs"/*.md; do check "README.md leads to $(basename "$page")" grep -q "($(basename "$page"))\|^# Kray's doc" <(grep -F "$(basename "$page")" "$docs/README.md"; grep '^# ' "$page"); done

# The page of the C interface has every function that the library exports and a header declares.
if command -v nm >/dev/null; then
    nm -D --defined-only "$KR_BUILD/libkray.so" | sed -n 's/.* T \(kr_[a-z0-9_]*\)$/\1/p' | sort -u >exported
    grep -oh '\bkr_[a-z0-9_]* *(' "$here"/../../include/kray/*.h | tr -d ' (' | sort -u | comm -12 - exported >public
    sed -n 's/^- `\(kr_[a-z0-9_]*\)`.*/\1/p' "$KR_BUILD/docs/api.md" | sort -u >listed
    check 'there are public functions' [ "$(wc -l <public)" -gt 100 ]
    absent=$(comm -23 public listed | tr '\n' ' ')
    check 'api.md has every public function' [ -z "$absent" ] || echo "# absent: $absent"
else skip 'api.md has every public function' 'no nm'; fi
