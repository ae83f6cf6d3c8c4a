# storm.sh: kray serve among clients that do not behave (../storm.py); 10,000 sessions: python3 tests/storm.py build/tools/kray scan.bin 10000
. "$(dirname "$0")/lib.sh"
kray simulate shepplogan -q -o scan.h5 -m 16,16 --slices 2 --coils 2
kray convert scan.h5 -q -o scan.bin
if command -v python3 >/dev/null; then
    check 'clients that reset, lie, send garbage or nothing' python3 "$here/../storm.py" "$KR_BUILD/tools/kray" scan.bin 40
    sed -n 's/^ok [0-9]* - /# /p' .check
else
    skip 'clients that do not behave' 'python3 is absent'
fi
