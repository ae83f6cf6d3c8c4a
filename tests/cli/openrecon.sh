# openrecon.sh: a package of Open Recon: names, label, page; what the console would send by it is a configuration that kray serve takes.
. "$(dirname "$0")/lib.sh"
script=$here/../../docs/openrecon.py
python() { python3 -c "$@"; }
# A small archive as `docker save` writes one.
python 'import tarfile, io, json
with tarfile.open("kray.tar", "w") as t:
    for n, b in (("a" * 64 + ".json", json.dumps({"architecture": "amd64", "config": {"Cmd": ["kray", "serve"]}, "rootfs": {}}).encode()), ("b/layer.tar", b"layer"),
                 ("manifest.json", json.dumps([{"Config": "a" * 64 + ".json", "RepoTags": ["kray:latest"], "Layers": ["b/layer.tar"]}]).encode())):
        m = tarfile.TarInfo(n); m.size = len(b); t.addfile(m, io.BytesIO(b))'
works 'out/OpenRecon_kray_kray_V1.2.3.zip' python3 "$script" kray.tar -o out --version 1.2.3
check 'a zip of an image and a PDF of its name' python 'import zipfile
z = zipfile.ZipFile("out/OpenRecon_kray_kray_V1.2.3.zip")
assert sorted(z.namelist()) == ["OpenRecon_kray_kray_V1.2.3.pdf", "OpenRecon_kray_kray_V1.2.3.tar"], z.namelist()
z.extractall("out")
p = open("out/OpenRecon_kray_kray_V1.2.3.pdf", "rb").read()
assert p.startswith(b"%PDF-1.4") and p.endswith(b"%%EOF\n")
at = int(p.split(b"startxref\n")[1].split()[0])
assert p[at:at + 4] == b"xref"
for i, l in enumerate(p[at:].split(b"\n")[3:8]):
    assert p[int(l.split()[0]):].startswith(b"%d 0 obj" % (i + 1)), l'
check 'the image is whole, its name the digest of its configuration, which has the label' python 'import tarfile, json, base64, hashlib
t = tarfile.open("out/OpenRecon_kray_kray_V1.2.3.tar")
m = json.load(t.extractfile("manifest.json"))[0]
assert t.extractfile(m["Layers"][0]).read() == b"layer" and m["RepoTags"] == ["openrecon_kray_kray:v1.2.3"], m
c = t.extractfile(m["Config"]).read()
assert m["Config"] == hashlib.sha256(c).hexdigest() + ".json"
c = json.loads(c)["config"]
assert c["Cmd"] == ["kray", "serve"]
l = json.loads(base64.b64decode(c["Labels"]["com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"]))
assert l["general"]["version"] == "1.2.3" and l["reconstruction"]["port"] == 9002 and l["reconstruction"]["emitter"] == "raw"
values = {p["id"]: p["default"] for p in l["parameters"]}
json.dump({"version": "1.2.3", "parameters": values}, open("fire.json", "w"))
values.update(config="sense", iterations="7", pixels="float")
json.dump({"parameters": values}, open("other.json", "w"))
open("methods", "w").write("\n".join(v["id"] for p in l["parameters"] if p["id"] == "config" for v in p["values"]) + "\n")'
kray simulate shepplogan -q -o scan.h5 -m 32,32 --slices 1 --coils 3
kray convert scan.h5 -q -o scan.bin
stream() { kray stream -q -c "$(cat "$1")" <scan.bin >answer.bin && kray convert answer.bin -q -o "$2"; }
works '' stream fire.json preset.npy
works '' stream other.json sense.npy
kray recon scan.h5 -q -o want.npy --method sense --iterations 7
check 'the parameters are options of the method' cmp sense.npy want.npy
check 'every method of the list is one' bash -c "while read -r m; do [ \$m = auto ] || \"$KR_BUILD/tools/kray\" recon --method list | grep -q \"^\$m \" || exit 1; done <methods"
tar cf plain.tar methods
refuses 1 "is no docker archive" python3 "$script" plain.tar
refuses 2 '--version is X.Y.Z' python3 "$script" kray.tar --version 1.2
