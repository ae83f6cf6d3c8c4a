#!/usr/bin/env python3
"""includes.py [--svg FILE]: who includes whom has no circles: among headers, among the folders that own them (owner() in layers.sh), and
among the parts of a folder (NAME.c with NAME.h). --svg: draws the folders, each above all that it includes."""
import os
import re
import sys

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(root)
sources = sorted(os.path.join(at, f) for top in ("include/kray", "src", "recon", "phantoms", "tools") for at, _, files in os.walk(top) for f in files if f.endswith((".c", ".h")))
with open("tests/lint/layers.sh") as f:
    cases = re.findall(r"^    ([a-z0-9_|]+)\) echo (\w+) ;;", re.search(r"^owner\(\)\n\{.*?^\}", f.read(), re.S | re.M).group(), re.M)
owner = {header: folder for words, folder in cases for header in words.split("|")}


def folder(path):
    name = os.path.basename(path)
    return owner.get(name[:-2], "?") if path.startswith("include/") else os.path.basename(os.path.dirname(path))


def found(name, by):
    """The file meant by #include "name", or None for one that the build makes."""
    near = os.path.normpath(os.path.join(os.path.dirname(by), name))
    for path in (near, "include/" + name, "src/base/" + name):
        if os.path.exists(path):
            return path


includes = {}
for path in sources:
    with open(path) as f:
        names = re.findall(r'^\s*#\s*include "([^"]+)"', f.read(), re.M)
    includes[path] = {p for p in (found(n, path) for n in names) if p}


def circle(graph):
    """A circle of the graph as a list of its nodes, or None."""
    done, way = set(), []

    def walk(node):
        if node in way:
            return way[way.index(node):] + [node]
        if node in done:
            return None
        way.append(node)
        for other in sorted(graph.get(node, ())):
            got = walk(other)
            if got:
                return got
        way.pop()
        done.add(node)

    for node in sorted(graph):
        got = walk(node)
        if got:
            return got


headers = {p: {i for i in q if i.endswith(".h")} for p, q in includes.items() if p.endswith(".h")}
folders, parts = {}, {}
for path, q in includes.items():
    for i in q:
        if folder(path) != folder(i):
            folders.setdefault(folder(path), set()).add(folder(i))
        elif not path.startswith("include/") and not i.startswith("include/") and path[:-2] != i[:-2]:
            parts.setdefault(path[:-2], set()).add(i[:-2])


def drawing():
    names = sorted(set(folders) | {f for q in folders.values() for f in q})
    height = {}

    def rank(name):
        if name not in height:
            height[name] = 1 + max((rank(o) for o in folders.get(name, ())), default=-1)
        return height[name]

    rows = {}
    for n in names:
        rows.setdefault(rank(n), []).append(n)
    tall, wide, box = 66, 128, (92, 30)
    most = max(len(r) for r in rows.values())
    at = {n: (40 + (most - len(r)) * wide / 2 + k * wide, 20 + (max(rows) - y) * tall) for y, r in rows.items() for k, n in enumerate(r)}

    def below(n):
        return set().union(*({o} | below(o) for o in folders.get(n, ()))) if folders.get(n) else set()

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="14">' % (80 + most * wide, 20 + (max(rows) + 1) * tall),
           '<rect width="100%" height="100%" fill="#fff"/>']
    for n in names:                                          # only what another arrow does not say already
        for o in sorted(folders.get(n, ())):
            if any(o in below(other) for other in folders[n] if other != o):
                continue
            x0, y0, x1, y1 = at[n][0] + box[0] / 2, at[n][1] + box[1], at[o][0] + box[0] / 2, at[o][1]
            out.append('<path d="M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f" fill="none" stroke="#777"/>' % (x0, y0, x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1))
    for n in names:
        x, y = at[n]
        out.append('<rect x="%.0f" y="%.0f" width="%d" height="%d" rx="6" fill="#eef3f8" stroke="#456"/><text x="%.0f" y="%.0f" text-anchor="middle">%s</text>'
                   % (x, y, *box, x + box[0] / 2, y + 20, n))
    return "\n".join(out + ["</svg>\n"])


if len(sys.argv) > 2 and sys.argv[1] == "--svg":
    with open(sys.argv[2], "w") as f:
        f.write(drawing())
    sys.exit(0)

bad = 0
for k, (what, graph) in enumerate((("headers", headers), ("folders", folders), ("the parts of a folder", parts)), 1):
    got = circle(graph)
    bad += got is not None
    print("%sok %d - no circles among %s (%d)" % ("not " if got else "", k, what, len(graph)))
    if got:
        print("# " + " includes ".join(got))
known = all(folder(p) != "?" for p in sources)
print("%sok 4 - every header belongs to a folder" % ("" if known else "not "))
with open("docs/figures/includes.svg") as f:
    drawn = f.read() == drawing()
print("%sok 5 - docs/figures/includes.svg shows them" % ("" if drawn else "not "))
print("1..5")
sys.exit(bad > 0 or not known or not drawn)
