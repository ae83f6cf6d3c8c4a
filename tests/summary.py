#!/usr/bin/env python3
"""Adds up the tests of one or more Meson build folders (default: build), from their meson-logs/testlog*.json.

Counts each TAP subtest, and each program that speaks no TAP as one. Prints one line per suite, what failed, and last
"N passed, N failed" (what was skipped: in the line before). Fails where a test failed, or where none ran."""
import json, os, re, sys

POINT = re.compile(r'^(not )?ok\b[^#]*(#\s*(SKIP|TODO)\b.*)?', re.I)
PLAN = re.compile(r'^1\.\.(\d+)\s*(#\s*SKIP.*)?', re.I)

def count(test):
    """(passed, failed, skipped, names of what failed) of one test program."""
    passed = failed = skipped = 0
    names, plan = [], None
    for line in test.get('stdout', '').splitlines():
        if m := PLAN.match(line):
            plan = int(m[1])
        elif m := POINT.match(line):
            if m[3] and m[3].upper() == 'SKIP':
                skipped += 1
            elif m[1]:
                failed += 1
                names.append(line.split('-', 1)[-1].strip())
            else:
                passed += 1
    good = test['result'] in ('OK', 'EXPECTEDFAIL')
    if not passed + failed + skipped and (plan is None or test['result'] == 'SKIP'):   # no TAP: the program is the test
        skipped = test['result'] == 'SKIP'
        return int(good), int(not good and not skipped), int(skipped), []
    if not good and test['result'] != 'SKIP' and not failed:       # crashed, ran too long, or fewer than planned
        failed = 1
        names.append('%s (exit %s, %d of %s tests ran)' % (test['result'].lower(), test.get('returncode'),
                                                          passed + skipped, 'unknown' if plan is None else plan))
    return passed, failed, skipped, names

def suites_of(folder):
    """Name of a test -> its first suite, as Meson knows them."""
    try:
        with open(os.path.join(folder, 'meson-info', 'intro-tests.json')) as f:
            return {t['name']: t['suite'][0].split(':')[-1] if t['suite'] else '' for t in json.load(f)}
    except OSError:
        return {}

def main(folders):
    total, per_suite, bad = [0, 0, 0], {}, []
    for folder in folders:
        logs = os.path.join(folder, 'meson-logs')
        suite = suites_of(folder)
        found = sorted(n for n in os.listdir(logs) if re.fullmatch(r'testlog.*\.json', n)) if os.path.isdir(logs) else []
        if not found:
            bad.append('%s: no tests were run' % folder)
        for name in found:
            with open(os.path.join(logs, name)) as f:
                for line in f:
                    test = json.loads(line)
                    p, f_, s, names = count(test)
                    short = test['name'].split(' / ')[-1]
                    key = '%s %s' % (os.path.basename(os.path.normpath(folder)), suite.get(short) or suite.get(test['name']) or 'other')
                    row = per_suite.setdefault(key, [0, 0, 0])
                    for k, v in enumerate((p, f_, s)):
                        row[k] += v
                        total[k] += v
                    if f_ and not names:
                        names = [test['result'].lower()]
                    bad += ['%s: %s: %s' % (key, short, n) for n in names]
    for key, row in per_suite.items():
        print('%-24s %5d passed, %d failed, %d skipped' % (key, *row))
    for line in bad:
        print('FAILED  ' + line)
    print('%d skipped' % total[2])
    print('%d passed, %d failed' % tuple(total[:2]))
    return 1 if bad or total[1] or not total[0] else 0

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:] or ['build']))
