# commands.sh: what holds for every command: help with examples, and wrong use refused with exit 2.
. "$(dirname "$0")/lib.sh"

works 'usage: kray COMMAND' kray --help
works 'kray 0.' kray --version
refuses 2 'usage: kray COMMAND' kray
refuses 2 "there is no command 'reconn'" kray reconn
tools=$(kray --help | sed -n 's/^  \([a-z][a-z0-9]*\)  *.*/\1/p')
check 'the overview lists commands' [ -n "$tools" ]
for t in $tools; do
    works "usage: kray $t" kray "$t" --help
    check "$t --help has an example" grep -q "^  kray $t" "$out"
    refuses 2 'no-such-option' kray "$t" --no-such-option
    refuses 2 "see kray $t --help" kray "$t" --no-such-option
done
