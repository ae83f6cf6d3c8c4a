#!/usr/bin/env python3
"""mutants.py [--count N] [--seed S] [--room FOLDER] [--build FOLDER] [--report FILE] [--part I/N] [--named] [--only TEXT]

Would the tests notice? A mutant is the sources with one small fault: an operator turned round, a constant changed, a condition negated, a statement
left out. N of all that are possible in the files below are drawn (the same for a seed and a state of the sources, the kinds of fault equally often),
each is built in FOLDER, a copy of the sources and of ./build (made where it is not there), and run against the tests of its file, the quickest
first, up to the first failure: those that take SLOW seconds at most. What passes these is tried, once all have been, against its slow tests and all other programs of unit and property tests
that take QUICK seconds at most, against the programs of its file that take 3 SLOW seconds at most with the mutant alone built with -fsanitize=address,undefined (`make test` runs them built so as a whole), and last against
scripts of its file. What does not count: a mutant that does not compile, and one that compiles to the same code as the original, at the build's own optimisation and for each level of processors
(Papadakis et al., "Trivial compiler equivalence", ICSE 2015): another is drawn. FOLDER/results.jsonl keeps what is known: a run that was stopped goes on where it
ended. To try again with other tests: remove FOLDER/src; mutants that were killed stay so, survivors are tried again where a test of theirs changed.

--part: every N-th of them alone, in a room of its own, so that several run side by side; their results.jsonl, one behind the other in one room, make the report.
--named: instead, the faults that a reading of the code once put in and the whole suite let pass (NAMED).
--only: files whose path holds TEXT. --report: a page with the score and the survivors.

Left out are lines that only answer a lack of memory (tests/fail runs through all of these), the words of messages, and functions that
estimate time and memory. Some mutants cannot be told from the original by any result (a loop's block size, a limit between two ways to the same numbers):
they count as survivors all the same where the compiler cannot tell.
"""
import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Which tests know a file: the first pattern that fits. Names of programs of tests/meson.build; cli/NAME is a script, golden/NAME a file of vectors.
TESTS = [
    (r"src/op/op_nufft|src/math/(nufft|window|toeplitz)", "nufft linops trajectory"),
    (r"src/op/op_offres|src/math/segments", "offres linops nufft"),
    (r"src/op/op_(rays|filter)", "linops rays netrays tomography ct"),
    (r"src/op/op_(diff|weight)", "linops prox solve"),
    (r"src/op/", "linops sense solve methods"),
    (r"src/solve/joint", "joint methods trajectory"),
    (r"src/solve/diffusion|recon/(dds|pnp|denoised)", "denoised golden/dds_golden"),
    (r"src/solve/cg", "sense solve methods"),
    (r"src/solve/(surrogates|subsets|bidiagonal|diagonal|pocs)", "solve tomography ct cli/ct"),
    (r"src/solve/", "solve prox methods"),
    (r"src/prox/", "prox solve wavelet regular methods"),
    (r"src/math/(fft|lane)", "fft linops sense grappa"),
    (r"src/math/(daubechies|wavekern|blocks|shrink)", "wavelet prox solve methods"),
    (r"src/math/la\b", "array coils maps compress grappa prepare prox"),
    (r"src/math/(rebin|fbp|feldkamp|stack|fan|series|rowfilter|raykern|project|slant)", "tomography rays ct golden/ct_astra2d golden/ct_fbp_fdk golden/ct_analytic golden/ct_rtk cli/ct"),
    (r"src/math/(bodies|ellipsoid)", "corrections phantom rays ct"),
    (r"src/math/", "rays tomography ct golden/ct_astra2d golden/ct_fbp_fdk golden/ct_analytic golden/ct_rtk"),
    (r"src/scan/(calib|coil|eigen|espirit|walsh|lowres)", "coils maps sense joint sms methods"),
    (r"src/scan/compress", "compress"),
    (r"src/scan/(sampled|measured)", "mask prepare coils maps"),
    (r"src/scan/(prepare|noise_level)", "prepare coils epi geom where"),
    (r"recon/planes", "grappa predict maps noise methods job"),
    (r"recon/(grappa|kernels|fit|neighbours|spirit|predict|spread)", "grappa predict maps noise methods"),
    (r"recon/(sense_noise|noise\b)", "maps noise"),
    (r"recon/around_ncc1701", "lesson networks golden/reconresnet"),
    (r"recon/around_kray", "noref pipelines lesson networks cli/train"),
    (r"recon/(around|net_pipeline)", "pipelines lesson published networks golden/rim_gru_direct golden/e2evarnet_direct golden/cascadenet_atommic golden/unet_fastmri golden/cirim_mridc"),
    (r"recon/net_rays", "netrays golden/lpdnet_direct"),
    (r"recon/spokes", "cli/ct"),
    (r"recon/(ct|job_rays|model_rays|backprojection|cgls|lsqr|mlem|pwls|asd_pocs|projected)", "ct tomography rays corrections projections cli/ct"),
    (r"recon/(noref|range)", "noref"),
    (r"recon/adapt", "learn cli/train"),
    (r"recon/(doubt|lesson)", "doubt lesson networks learn"),
    (r"recon/auto", "methods auto"),
    (r"recon/(street|job)", "job where sense methods"),
    (r"recon/(model_trajectory|level)", "trajectory nufft methods"),
    (r"recon/partial", "partial sense"),
    (r"recon/slice_grappa", "sms methods"),
    (r"recon/nlinv", "joint methods"),
    (r"recon/(sense|model|adjoint|rss|recon)", "sense partial joint regular methods"),
    (r"recon/", "methods regular"),
]
QUICK, SLOW = 1, 2.2                                        # seconds of processor time
LONG = ("auto", "learn", "sms")                              # which tests/run.sh leaves out of the build with sanitizers
FILES = ["src/op", "src/prox", "src/solve", "src/math", "recon"] + ["src/scan/%s.c" % f for f in
         "calib coils coil_kern compress eigenmaps espirit lowres measured noise_level prepare sampled walsh".split()]
# Segmentation, training and servers have golden runs of their own, minutes long; ellipsoids are of the phantoms.
SKIP = r"recon/(seg|nnunet|training|shipped|mrd_methods|job_file|refine)"

# file, what stands there, what is put in its place, the tests that have to notice
NAMED = [
    ("src/solve/solve.c", "q.bound = 1.02 * sqrt(found)", "q.bound = 0.6 * sqrt(found)", "solve"),
    ("recon/net_pipeline.c", "+= moved * voxel * dir[a][d]", "+= 0 * moved * voxel * dir[a][d]", "networks"),
    ("tools/judge.c", ".whiten = true, .oversampling", ".whiten = false, .oversampling", "cli/eval"),
    ("recon/job_file.c", "works = data + maps", "works = maps", "cli/recon"),
    ("recon/noise.c", "? 1 : sqrt(0.5)", "? 1 : 1", "noise"),
    ("src/solve/fista.c", "j.beta = (float)kr_momentum(&t, k)", "j.beta = 0", "solve"),
    ("src/scan/sampled.c", "> 0.01 * (double)meant", "> 0.5 * (double)meant", "mask"),
    ("src/nn/cell.c", "case KR_CELL_MGU: good = is(w[0], 2 * f, f) && is(w[1], 2 * f, f)", "case KR_CELL_MGU: good = true", "layers"),
    ("src/scan/place_grid.c", "(reverse ? l->samples - c : c)", "(reverse ? l->samples - c - 1 : c)", "ismrmrd"),
]


# ---- Where a fault can be put ----
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|^[ \t]*#(?:\\\n|[^\n])*|[A-Za-z_]\w*|'
                   r'(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uUlLfF]*|'
                   r'<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\S', re.S | re.M)
SWAP = {"+": "-", "-": "+", "*": "/", "/": "*", "+=": "-=", "-=": "+=", "*=": "/="}
TURN = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
JOIN = {"&&": "||", "||": "&&"}
QUIET = re.compile(r"kr_error_code|kr_alloc|kr_fail|kr_say|kr_assert|kr_progress|kr_meta_set|kr_stopped|KR_EMEM|_scoped|_auto|_unref|kr_free|print|kr_text|assert|destroy|close|\? \w+ : NULL;")
ESTIMATE = re.compile(r"(bytes|seconds|plan|cost|destroy|close|free)\b|cite")


def sites(path, text):
    """(kind, start, end, replacement) for every place in the bodies of functions."""
    tokens = [(m.group(), m.start(), m.end()) for m in TOKEN.finditer(text) if not m.group().startswith(("/*", "//"))]
    tokens = [t for t in tokens if not t[0].lstrip().startswith("#")]
    lines = text.split("\n")
    starts = [0]
    for l in lines:
        starts.append(starts[-1] + len(l) + 1)
    number = lambda at: text.count("\n", 0, at)
    out, depth, body, name, top = [], 0, False, "", []
    for i, (t, a, b) in enumerate(tokens):
        before = tokens[i - 1][0] if i else ""
        if t == "{":
            if depth == 0:
                body = before == ")" and not ESTIMATE.search(name)
            depth += 1
            continue
        if t == "}":
            depth -= 1
            continue
        if depth == 0:
            if t == "(" and not name:
                name = before
            if t == ";" or before == "}":
                name = ""
            continue
        name = name if body else ""
        if not body:
            continue
        line = number(a)
        here, next_line = lines[line], lines[line + 1] if line + 1 < len(lines) else ""
        if QUIET.search(here) or re.match(r"\s*return (kr_error_code\(\)|NULL|false|kr_fail)", next_line):
            continue
        spaced = text[a - 1:a] == " " and text[b:b + 1] == " "
        operand = bool(re.match(r"[\w\])]", before[-1:])) and before not in ("return", "case", "sizeof")
        if t in SWAP and spaced and operand:
            out.append(("arithmetic", a, b, SWAP[t]))
        elif t in TURN and spaced:
            out.append(("comparison", a, b, TURN[t]))
        elif t in JOIN:
            out.append(("and, or", a, b, JOIN[t]))
        elif re.match(r"\d|\.\d", t) and before not in ("{", "case") and not re.search(r"\breturn [-\d]+;|case|enum|= \{ 0 \}", here):
            if re.search(r"[.eE]", t) and not t.startswith("0x"):
                out.append(("constant", a, b, "(1.5 * %s)" % t if float(t.rstrip("fFlL")) else "1"))
            else:
                out.append(("constant", a, b, "(%s + 1)" % t if t.rstrip("uUlL") != "1" else "0" if random.Random(a).random() < .5 else "2"))
        elif t == "if" and tokens[i + 1][0] == "(":
            level, k = 0, i + 1
            while True:
                level += {"(": 1, ")": -1}.get(tokens[k][0], 0)
                if level == 0:
                    break
                k += 1
            s, e = tokens[i + 1][1], tokens[k][2]
            after = tokens[k + 1][0] if k + 1 < len(tokens) else ""
            if "\n" not in text[s:e] and not (after == "return" and re.match(r"\s*return (kr_error_code|NULL|false|kr_fail)", text[tokens[k + 1][1]:])):
                out.append(("condition", s, e, "(!%s)" % text[s:e]))
        elif before in (";", "{", "}", ")") and re.match(r"[A-Za-z_]", t):
            stop = text.find(";", a)
            s = text[a:stop]
            call = re.match(r"[A-Za-z_]\w*\([^\n]*\)$", s)
            assign = re.match(r"[A-Za-z_][\w.>\[\]() +*-]*? ([-+*/|]?=) [^\n]*$", s) and not re.match(r"(const |static |unsigned |struct |enum )?[A-Za-z_]\w* [*A-Za-z_]", s)
            if (call or assign) and t not in ("if", "for", "while", "return", "switch", "else") and "{" not in s:
                out.append(("statement", a, stop, "(void)0"))
    return out


def sources(room):
    out = []
    for f in FILES:
        at = os.path.join(room.src, f)
        out += [f + "/" + n for n in sorted(os.listdir(at)) if n.endswith(".c")] if os.path.isdir(at) else [f]
    return [f for f in out if not re.match(SKIP, f)]


def mutants(room, seed, only):
    """In the order of drawing, without end: the caller stops."""
    kinds = {}
    for f in sources(room):
        text = room.read(f)
        for kind, a, b, new in sites(f, text):
            kinds.setdefault(kind, []).append((f, kind, a, b, new, text))
    r = random.Random(seed)
    for k in sorted(kinds):
        r.shuffle(kinds[k])
    while any(kinds.values()):
        for k in sorted(kinds):
            if kinds[k]:
                m = kinds[k].pop()
                if only in m[0]:
                    yield m


# ---- One of them built and tried ----
class Room:
    """A copy of the sources and of what a build made of them. Archives of Meson's are thin, so that one object made anew and one linking is
    all that a mutant takes; -O1 compiles faster."""

    def __init__(self, folder, build):
        self.folder = os.path.abspath(folder)
        self.src, self.build = os.path.join(self.folder, "src"), os.path.join(self.folder, "src", "build")
        self.shared = os.path.join(os.path.dirname(HERE), "shared")
        self.seconds, self.file = {}, os.path.join(self.folder, "results.jsonl")
        if os.path.exists(os.path.join(self.folder, "seconds.json")):
            with open(os.path.join(self.folder, "seconds.json")) as h:
                self.seconds = json.load(h)
        if not os.path.isdir(self.src):
            if not os.path.isdir(build):
                subprocess.run(["meson", "setup", build], cwd=HERE, check=True)
            subprocess.run(["ninja", "-C", build], check=True, stdout=subprocess.DEVNULL)
            half = self.src + ".half"
            shutil.rmtree(half, ignore_errors=True)
            listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=HERE, capture_output=True, text=True, check=True).stdout.split("\n")
            for f in filter(lambda f: f and os.path.isfile(os.path.join(HERE, f)), listed):
                os.makedirs(os.path.dirname(os.path.join(half, f)), exist_ok=True)
                shutil.copy2(os.path.join(HERE, f), os.path.join(half, f))
            shutil.copytree(build, os.path.join(half, "build"), symlinks=True)
            os.rename(half, self.src)
        for at, folders, files in os.walk(self.src):         # of a run that was killed
            for k in files:
                if k.endswith(".kept"):
                    os.replace(os.path.join(at, k), os.path.join(at, k[:-5]))
                elif k == "mutant.c":
                    os.remove(os.path.join(at, k))
        with open(os.path.join(self.build, "compile_commands.json")) as f:
            self.commands = [c for c in json.load(f) if c["output"].endswith(".o")]

    def read(self, f):
        with open(os.path.join(self.src, f)) as h:
            return h.read()

    def sh(self, command):
        return subprocess.run(command, cwd=self.build, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def link(self, program):
        return self.sh("ninja -t commands %s | tail -1" % program).stdout.rstrip() + (" -fuse-ld=mold" if shutil.which("mold") else "")

    def command(self, test):
        if test.startswith("cli/"):
            return ["bash", os.path.join(self.src, "tests", test + ".sh")]
        if test.startswith("golden/"):
            return [os.path.join(self.build, "tests", "kray-golden"), os.path.join(self.shared, test + ".h5")]
        return [os.path.join(self.build, "tests", "test_" + test)]

    def passes(self, test, limit, sanitized=False):
        """None or the first line that says no, and the processor seconds taken, of which there may be `limit`."""
        env = dict(os.environ, KR_SHARED=self.shared, KR_BUILD=self.build, CMOCKA_MESSAGE_OUTPUT="TAP", OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MALLOC_PERTURB_="165",
                   LSAN_OPTIONS="suppressions=%s/tests/lsan.supp:print_suppressions=0" % HERE, ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1",
                   UBSAN_OPTIONS="halt_on_error=1", LD_PRELOAD=self.sh("cc -print-file-name=libasan.so").stdout.strip() if sanitized else "")
        with tempfile.TemporaryDirectory() as room:
            p = subprocess.Popen(self.command(test), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=room, process_group=0, text=True, errors="replace",
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)))
            alarm = threading.Timer((3 if sanitized else 60) * limit, lambda: os.killpg(p.pid, signal.SIGKILL))      # of one that waits for ever, as some do at their end with the sanitizer
            alarm.start()
            said = None
            for line in p.stdout:
                if line.startswith("not ok") and "# SKIP" not in line:
                    said = line.strip()
                    os.killpg(p.pid, signal.SIGKILL)
                    break
            p.stdout.close()
            status, used = os.wait4(p.pid, 0)[1:]
            alarm.cancel()
            p.returncode = status
            return said or ("ended by %d" % status if status else None), used.ru_utime + used.ru_stime

    def measure(self, tests):
        """How long each test takes as it is; one that fails before anything was changed is of no use."""
        for t in sorted(set(tests) - set(self.seconds)):
            said, self.seconds[t] = self.passes(t, 300)
            if said:
                sys.exit("%s fails on the sources as they are: %s" % (t, said))
            print("# %-22s %5.1f s" % (t, self.seconds[t]), flush=True)
            with open(os.path.join(self.folder, "seconds.json"), "w") as h:
                json.dump(self.seconds, h)

    def others(self, tests):
        return [t for t in self.programs() if t not in tests and self.seconds[t] <= QUICK]

    def programs(self):
        return sorted(m[0][5:] for m in (re.fullmatch(r"test_\w+", k) for k in os.listdir(os.path.join(self.build, "tests"))) if m and m[0] != "test_memory")

    def compiled(self, f, text, unit, options, to):
        """The object of one unit with this text in place of the file: its bytes, None where it does not compile."""
        path = os.path.join(self.src, os.path.dirname(f), "mutant.c")
        with open(path, "w") as h:
            h.write(text)
        command = unit["command"].replace("ccache ", "", 1).replace("-Werror ", "").replace("-o " + unit["output"], "-o " + to) + " -w " + options
        bad = self.sh(command.replace(unit["file"], os.path.join(os.path.dirname(unit["file"]), "mutant.c"))).returncode
        os.remove(path)
        if bad:
            return None
        with open(os.path.join(self.build, to), "rb") as h:
            return h.read()

    def same(self, f, text):
        """Whether the compiler makes the same of it as of the file as it is."""
        units, was = [c for c in self.commands if c["file"].endswith("/" + f)], self.read(f)
        return bool(units) and all(self.compiled(f, was, c, "-g0", "same.o") == self.compiled(f, text, c, "-g0", "same.o") for c in units)

    def trial(self, f, text, tests, sanitized=False):
        """How it ends with this text in place of the file: (killed, by, seconds); None: does not compile."""
        began = time.time()
        units = [c for c in self.commands if c["file"].endswith("/" + f)]
        program = "tools/kray" if f.startswith("tools/") else "libkray.so.0.1.0"
        kept = [os.path.join(self.build, k) for k in [program] + [c["output"] for c in units]]
        for k in kept:
            os.replace(k, k + ".kept")
        shutil.copy2(kept[0] + ".kept", kept[0])
        try:
            for c in units:
                if not self.compiled(f, text, c, "-O1 -g0" + (" -fsanitize=address,undefined -fno-sanitize-recover" if sanitized else ""), c["output"]):
                    return None
            said = self.sh(self.link(program) + (" -fsanitize=address,undefined" if sanitized else ""))
            if said.returncode:
                sys.exit(said.stdout)
            for t in sorted(tests, key=self.seconds.get):
                no = self.passes(t, int(4 + (20 if sanitized else 2) * self.seconds.get(t, 60)), sanitized)[0]
                if no:
                    return True, t + ": " + no, time.time() - began
            return False, "", time.time() - began
        finally:
            for k in kept:
                os.replace(k + ".kept", k)


def tests_of(f):
    return next(t for p, t in TESTS if re.match(p, f)).split()


def of_tests(room, tests):
    """Tells one state of these tests from another."""
    h = hashlib.sha1()
    for t in tests:
        for p in ("tests/unit/test_%s.c" % t, "tests/prop/test_%s.c" % t, "tests/%s.sh" % t, "tests/golden.c"):
            if os.path.exists(os.path.join(room.src, p)) and (p != "tests/golden.c" or t.startswith("golden/")):
                h.update(room.read(p).encode())
    return h.hexdigest()[:12]


def place(text, a, b, new):
    line = text.count("\n", 0, a)
    start = text.rfind("\n", 0, a) + 1
    end = text.find("\n", b)
    return line + 1, text[start:end].strip(), (text[start:a] + new + text[b:end]).strip()


def report(path, rows, seed):
    kinds, files = {}, {}
    for r in rows:
        for table, key in ((kinds, r["kind"]), (files, re.sub(r"/[^/]*$", "", r["file"]))):
            table.setdefault(key, [0, 0])
            table[key][0] += r["killed"]
            table[key][1] += 1
    killed = sum(r["killed"] for r in rows)
    with open(path, "w") as o:
        o.write("# Mutants\n\n`tests/mutants.py --count %d --seed %d`: small faults put into the sources one at a time, each run against the tests of its file up to the first "
                "failure. How they are drawn, and what is left out, stands at the head of the script.\n\n" % (len(rows), seed))
        o.write("**%d of %d killed (%.0f %%).**\n\n" % (killed, len(rows), 100 * killed / len(rows)))
        for title, table in (("folder", files), ("kind of fault", kinds)):
            o.write("| %s | killed | of |\n| --- | --- | --- |\n" % title)
            for k in sorted(table):
                o.write("| %s | %d | %d |\n" % (k, *table[k]))
            o.write("\n")
        o.write("## Survivors\n\n")
        for r in rows:
            if not r["killed"]:
                o.write("- `%s:%d`\n  - `%s`\n  - `%s`\n" % (r["file"], r["line"], r["was"], r["is"]))


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("--count", type=int, default=120)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--room", default=os.path.join(tempfile.gettempdir(), "kray-mutants"))
    a.add_argument("--report")
    a.add_argument("--named", action="store_true")
    a.add_argument("--only", default="")
    a.add_argument("--part", default="0/1")
    a.add_argument("--build", default=os.path.join(HERE, "build"))
    o = a.parse_args()
    room = Room(o.room, o.build)
    room.measure(room.programs())
    known = {}
    if os.path.exists(room.file):
        with open(room.file) as h:
            known = {r["key"]: r for r in map(json.loads, h)}
    if o.named:
        wanted = [(f, "named", t.index(old), t.index(old) + len(old), new, t, tests.split()) for f, old, new, tests in NAMED for t in [room.read(f)]]
        o.count = len(wanted)
    else:
        wanted = ((*m, tests_of(m[0])) for m in mutants(room, o.seed, o.only))
    part, parts = map(int, o.part.split("/"))
    rows, left = [], []

    def tell(r):
        with open(room.file, "a") as out:
            out.write(json.dumps(r) + "\n")
        print("%s - %s:%d %s -> %s%s" % ("ok" if r["killed"] else "not ok", r["file"], r["line"], r["was"], r["is"], "" if r["killed"] else "   " + (r["by"] or "does not compile") if r["killed"] is None else "   SURVIVED"), flush=True)

    def ended(r, how):
        r.update(killed=None if how is None else how[0], by=how and how[1], seconds=how and round(how[2], 1))

    for k, (f, kind, s, e, new, text, tests) in enumerate(wanted):
        if len(rows) == o.count:
            break
        if k % parts != part:
            continue
        line, was, now = place(text, s, e, new)
        key = hashlib.sha1(("%s %d %s" % (f, s, new) + text).encode()).hexdigest()[:16]
        r = known.get(key)
        if not r or (r["killed"] is False and r["tests"] != of_tests(room, tests)):
            r = {"key": key, "file": f, "line": line, "kind": kind, "was": was, "is": now, "tests": of_tests(room, tests), "stage": 1}
            programs = [t for t in tests if not t.startswith("cli/") and room.seconds.get(t, 0) <= SLOW] or [t for t in tests if not t.startswith("cli/")]
            room.measure(programs)
            r["slow"] = [t for t in tests if not t.startswith("cli/") and t not in programs]
            ended(r, room.trial(f, text[:s] + new + text[e:], programs))
            if r["killed"] is False and room.same(f, text[:s] + new + text[e:]):
                r.update(killed=None, by="the same code")
            tell(r)
        if r["killed"] is None:
            continue
        rows.append(r)
        if r["killed"] is False and r.get("stage") == 1:
            left.append((r, f, text[:s] + new + text[e:], tests))
    for r, f, text, tests in left:
        r["stage"] = 2
        ended(r, room.trial(f, text, r.get("slow", []) + room.others(tests)))
        if not r["killed"]:
            again = [t for t in tests if t not in LONG and not t.startswith(("cli/", "golden/")) and room.seconds[t] <= 3 * SLOW]
            end = room.trial(f, text, again, True)
            t = end[1].split(":")[0] if end and end[0] else None
            if t and not room.trial(f, room.read(f), [t], True)[0]:      # which the file as it is passes
                ended(r, (True, "sanitized " + end[1], end[2]))
        if not r["killed"] and any(t.startswith("cli/") for t in tests):
            room.measure(tests)
            ended(r, room.trial(f, text, [t for t in tests if t.startswith("cli/")]))
        tell(r)
    killed = sum(r["killed"] for r in rows)
    print("# %d of %d killed, %.1f %%" % (killed, len(rows), 100 * killed / max(1, len(rows))))
    if o.report:
        report(o.report, rows, o.seed)
    sys.exit(0 if killed >= (len(rows) if o.named else 0.85 * len(rows)) else 1)


if __name__ == "__main__":
    main()
