#!/usr/bin/env python3
"""Makes an Open Recon package of Kray for Siemens scanners: a zip of the container's image, labelled with the parameters that the console shows, and a PDF.

    podman build -t kray -f docs/Containerfile . && podman save --format docker-archive kray -o kray.tar
    docs/openrecon.py kray.tar -o packages/

Names and fields as in public packages (label com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0; OpenRecon_VENDOR_NAME_VX.Y.Z.zip with .tar and
.pdf of that name). It was not tried on a scanner: check the label by the schema of the vendor's manual."""
import argparse, base64, hashlib, io, json, os, re, sys, tarfile, zipfile

LABEL = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"

def text(words):
    return {"en": words}

def choice(name, label, values, default, help):
    return {"id": name, "label": text(label), "type": "choice", "values": [{"id": v, "name": text(n)} for v, n in values], "default": default, "information": text(help)}

def line(name, label, help):
    # Empty: the method's own preset. Numbers as text, since Kray leaves out what is empty and refuses what a method does not have.
    return {"id": name, "label": text(label), "type": "string", "default": "", "information": text(help)}

# Ids are the keys of Kray's configuration (docs/scanner.md), so that the console's answer needs no translation.
def parameters(methods):
    return [
        choice("config", "Method", [(m, m) for m in methods], methods[0], "Reconstruction method"),
        choice("images", "Images", [("magnitude", "Magnitude"), ("magnitude,phase", "Magnitude and phase")], "magnitude", "What is sent back"),
        choice("pixels", "Pixels", [("ushort", "0 to 4095"), ("float", "Floating point")], "ushort", "Numbers of the images"),
        line("lambda", "Strength", "Strength of the regularisation; empty: the method's preset"),
        line("iterations", "Iterations", "Iterations at most; empty: the method's preset"),
        line("calib", "Calibration", "Largest width of the fully sampled centre that is used; empty: 24"),
        line("compress", "Virtual coils", "Compress to so many virtual coils; empty: all coils"),
        {"id": "sendoriginal", "label": text("Originals"), "type": "boolean", "default": False, "information": text("Send images that came back, too")},
    ]

def label(o):
    return {
        "general": {
            "name": text(o.name), "version": o.version, "vendor": o.vendor, "id": o.name, "information": text("Kray, reconstruction of MRD streams"),
            "regulatory_information": {
                "device_trade_name": o.name, "production_identifier": o.version, "manufacturer_address": o.address, "made_in": "", "manufacture_date": o.date,
                "material_number": f"{o.name}_{o.version}", "gtin": "", "udi": "", "safety_advices": "Research only, not for diagnosis",
                "special_operating_instructions": "", "additional_relevant_information": ""}},
        "reconstruction": {
            "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"}, "port": 9002, "emitter": "raw", "injector": "image", "can_process_adjustment_data": False,
            "can_use_gpu": False, "min_count_required_gpus": 0, "min_required_gpu_memory": 0, "min_required_memory": o.memory, "min_count_required_cpu_cores": o.cores,
            "content_qualification_type": "RESEARCH"},
        "parameters": parameters(o.methods)}

def pdf(lines):
    """One page of Courier."""
    def escape(s):
        return s.encode("latin-1", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    page = b"BT /F1 9 Tf 50 790 Td 12 TL\n" + b"".join(b"(" + escape(s) + b") Tj T*\n" for s in lines) + b"ET"
    parts = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
             b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
             b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>", b"<< /Length %d >>\nstream\n" % len(page) + page + b"\nendstream"]
    out, at = b"%PDF-1.4\n", []
    for i, p in enumerate(parts):
        at.append(len(out))
        out += b"%d 0 obj\n" % (i + 1) + p + b"\nendobj\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1) + b"".join(b"%010d 00000 n \n" % a for a in at)
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)

def with_label(source, target, tag, text_of_label):
    """Copies a docker archive; its configuration gets the label, and so another digest for a name."""
    with tarfile.open(source) as old:
        try:
            manifest = json.load(old.extractfile("manifest.json"))
        except KeyError:
            sys.exit(f"{source} is no docker archive (podman save --format docker-archive): it has no manifest.json")
        if len(manifest) != 1:
            sys.exit(f"{source} holds {len(manifest)} images, and one is wanted")
        was = manifest[0]["Config"]
        config = json.load(old.extractfile(was))
        if config.get("architecture") != "amd64":
            sys.exit(f"{source} is for {config.get('architecture')}, and scanners want amd64")
        config.setdefault("config", {}).setdefault("Labels", None)
        config["config"]["Labels"] = dict(config["config"]["Labels"] or {}, **{LABEL: text_of_label})
        body = json.dumps(config).encode()
        digest = hashlib.sha256(body).hexdigest()
        name = was.replace(re.sub(r"\.json$", "", os.path.basename(was)), digest)
        manifest[0].update(Config=name, RepoTags=[tag])
        with tarfile.open(target, "w") as new:
            for m in old:
                if m.name in (was, "manifest.json", "repositories", "index.json", "oci-layout"):
                    continue
                new.addfile(m, old.extractfile(m) if m.isfile() else None)
            for n, b in ((name, body), ("manifest.json", json.dumps(manifest).encode())):
                m = tarfile.TarInfo(n)
                m.size = len(b)
                new.addfile(m, io.BytesIO(b))

def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("image", help="the container's image, as podman save --format docker-archive or docker save writes it")
    p.add_argument("-o", "--output", default=".", help="folder")
    p.add_argument("--name", default="kray")
    p.add_argument("--vendor", default="kray")
    p.add_argument("--version", default="0.1.0", help="X.Y.Z")
    p.add_argument("--address", default="", help="of the manufacturer")
    p.add_argument("--date", default="", help="of manufacture, YYYY/MM/DD")
    p.add_argument("--memory", type=int, default=4096, help="MiB that the scanner has to have free")
    p.add_argument("--cores", type=int, default=2)
    p.add_argument("--methods", default="auto,rss,sense,grappa,spirit,wavelet,tv,nlinv", type=lambda s: s.split(","), help="to choose from; the first is the preset")
    o = p.parse_args()
    if not re.fullmatch(r"\d+\.\d+\.\d+", o.version) or not re.fullmatch(r"[A-Za-z0-9]+", o.name) or not re.fullmatch(r"[A-Za-z0-9]+", o.vendor):
        p.error("--version is X.Y.Z; --name and --vendor are letters and digits")
    base = f"OpenRecon_{o.vendor}_{o.name}_V{o.version}"
    os.makedirs(o.output, exist_ok=True)
    path = os.path.join(o.output, base)
    all_of_it = label(o)
    with_label(o.image, path + ".tar", f"openrecon_{o.vendor}_{o.name}:v{o.version}".lower(), base64.b64encode(json.dumps(all_of_it).encode()).decode())
    lines = [f"{o.name} {o.version}: reconstruction of MRD streams by Kray.", "Research only, not for diagnosis.", ""]
    for q in all_of_it["parameters"]:
        lines += [f"{q['label']['en']}: {q['information']['en']}"] + (["    one of: " + ", ".join(v["id"] for v in q["values"])] if "values" in q else [])
    with open(path + ".pdf", "wb") as f:
        f.write(pdf(lines))
    with zipfile.ZipFile(path + ".zip", "w", zipfile.ZIP_DEFLATED) as z:
        for suffix in (".tar", ".pdf"):
            z.write(path + suffix, base + suffix)
            os.remove(path + suffix)
    print(path + ".zip")

main()
