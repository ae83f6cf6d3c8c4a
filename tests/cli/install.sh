# install.sh: what `meson install` puts into a prefix works from there, wherever that lies, in an empty environment.
. "$(dirname "$0")/lib.sh"
command -v meson >/dev/null || { skip 'the installed command' 'no meson'; exit; }
check 'everything is installed' env DESTDIR="$work/root" meson install -C "$KR_BUILD" --no-rebuild --quiet
command=$(find root -name kray -path '*/bin/*')
mv "$(realpath "$(dirname "${command:-root/none}")/..")" moved      # another prefix than the one that was configured
works 'kray ' env -i "$work/moved/bin/kray" --version
kray simulate brain -o scan.h5 --matrix 32,32 --coils 2 -q
works 'scan.h5' env -i "$work/moved/bin/kray" recon scan.h5 -o image.nii.gz
check 'the documents are there' [ -s moved/share/doc/kray/docs/example.c ]
check 'the manual is there' [ -s moved/share/man/man1/kray-recon.1 ]

# The example, built as its first lines say.
pc=$(dirname "$(find moved -name kray.pc)")
if ! command -v pkg-config >/dev/null; then skip 'the example' 'no pkg-config'
elif [ "$KR_SANITIZE" != none ]; then skip 'the example' 'the library is built with a sanitizer'
else
    flags=$(env -i PATH="$PATH" PKG_CONFIG_LIBDIR="$work/$pc" pkg-config --define-variable=prefix="$work/moved" --cflags --libs kray 2>"$err")
    check 'pkg-config needs no other package' [ -n "$flags" ]
    check 'the example builds' ${CC:-cc} moved/share/doc/kray/docs/example.c -o example $flags
    works 'image {x=32 y=32 slice=8}' env -i ./example scan.h5 example.nii.gz
fi
