# options.sh: the same option word means the same in every command: docs/options.md has a row for each that several commands share.
. "$(dirname "$0")/lib.sh"

tools=$(kray --help | sed -n 's/^  \([a-z][a-z0-9]*\)  *.*/\1/p')
for t in $tools; do
    kray "$t" --help | grep -E '^  (-[A-Za-z],|   ) --' | sed -E 's/^  (-[A-Za-z],|   ) (--[a-z0-9-]+( [^ ]+)?)( .*)?$/\2/' | grep -vE '^--(help|verbose|quiet|provenance)' | sed "s/\$/\t$t/"
done | sort -u >used
sed -E 's/ .*\t/\t/' used | cut -f1 | sort | uniq -d >shared
check 'commands share words' [ "$(wc -l <shared)" -gt 20 ]
sed -n 's/^| `\(--[^`]*\)` | .*/\1/p' "$here/../../docs/options.md" | sed 's/\\|/|/g' | sort -u >rows
cut -f1 used | sort -u >forms
while read -r word; do
    grep -E -- "^$word( |\$)" forms | while read -r form; do grep -qxF -- "$form" rows || echo "$form"; done
done <shared >missing
check 'each of them stands in docs/options.md as it is used' [ ! -s missing ] || sed 's/^/# not there: /' missing
grep -vxF -f forms rows >stale
check 'docs/options.md has no row that no command has' [ ! -s stale ] || sed 's/^/# not used: /' stale
check 'no option begins with no-: that negates a flag' [ "$(grep -c -- '^--no-' forms)" = 0 ]
