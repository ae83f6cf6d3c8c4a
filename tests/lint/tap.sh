# tap.sh: what the lint scripts start with: they stand at the root of the sources and print TAP.
#
#   holds 'words' OFFENDERS    passes if OFFENDERS, what a search found, is empty; prints it otherwise
cd "$(dirname "$0")/../.." || exit 99
count=0
holds()
{
    count=$((count + 1))
    if [ -z "$2" ]; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        echo "$2" | sed 's/^/# /'
    fi
}
trap 'echo "1..$count"' EXIT
