#!/usr/bin/env python3
# api.py FOLDER PAGE DEPFILE: the public headers of a folder as one Markdown page: comments as text, declarations as code, and an index of
# all functions; DEPFILE tells ninja what the page was made from.
import os
import re
import sys


def prose(comment):
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in re.sub(r"^/\*|\*/$", "", comment.strip()).split("\n")]
    text = "\n".join(lines).strip()
    return re.sub(r"([<>*_`|\[\]])", r"\\\1", re.sub(r"^-+ | -+$", "", text, flags=re.M))


def functions(code):
    """Names that the code declares or, inline, defines as functions."""
    code = re.sub(r"/\*.*?\*/", "", code, flags=re.S)
    code = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", code, flags=re.M)
    code = re.sub(r'extern "C" \{', "", code)
    while True:                                          # bodies and structures
        flat = re.sub(r"\{[^{}]*\}", ";", code)
        if flat == code:
            break
        code = flat
    for statement in code.split(";"):
        found = re.match(r"[\w\s*]*?\b(kr_\w+)\s*\((?!\s*\*)", statement.strip())
        if found and not statement.strip().startswith("typedef"):
            yield found.group(1)


def pieces(text):
    """(comment, code) pairs: what stands at the start of a line between /* and */ opens a piece."""
    parts = re.split(r"^(/\*.*?\*/)[ \t]*$", text, flags=re.S | re.M)
    yield "", parts[0]
    for comment, code in zip(parts[1::2], parts[2::2]):
        yield comment, code


folder, page, depfile = sys.argv[1:]
headers = sorted(os.path.join(folder, h) for h in os.listdir(folder) if h.endswith(".h"))
index, body = [], []
for path in headers:
    name = os.path.basename(path)
    text = open(path, encoding="utf-8").read()
    text = re.sub(r"^#(ifndef|define|endif).*KRAY_\w+_H.*\n|^#endif\n?\Z", "", text, flags=re.M)
    text = re.sub(r'#ifdef __cplusplus\n(extern "C" \{|\})\n#endif\n', "", text)
    body.append(f"\n## kray/{name}\n")
    index += [(f, name) for f in functions(text)]
    for comment, code in pieces(text):
        if comment:
            said = prose(comment)
            body.append(re.sub(r"^" + re.escape(name) + r": (.)", lambda m: m.group(1).upper(), said) + "\n")
        if code.strip():
            body.append("```c\n" + code.strip("\n") + "\n```\n")

head = ("# C API\n\nMade from the headers in `include/kray` by `docs/api.py`. A function that makes something returns NULL on failure, one that does something a\n"
        "negative number; `kr_error()` then has the sentence. `example.c` is a whole program.\n\n## All functions\n")
with open(page, "w", encoding="utf-8") as out:
    print(head, *(f"- `{name}` ([{header}](#kray{header.replace('.', '')}))" for name, header in sorted(set(index))), *body, sep="\n", file=out)
with open(depfile, "w", encoding="utf-8") as out:
    print(f"{page}: {folder} {' '.join(headers)}", file=out)
