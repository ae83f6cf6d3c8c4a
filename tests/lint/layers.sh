#!/bin/bash
# layers.sh: who may include whom, and other rules of the house that a search can check.
. "$(dirname "$0")/tap.sh"

# Each public header belongs to a folder; each folder may use those named here and itself. The data wing (image, scan, io)
# and the mathematics wing (op, prox, solve, nn) know nothing of each other; they meet in recon. Phantoms may not use op: what
# is measured by the operator that later inverts it proves nothing.
owner()
{
    case $1 in
    base|opt|pages) echo base ;;
    array|dealt|select) echo array ;;
    fourier|la|lanes|nufft|rowfilter|segments|wavelet|rays) echo math ;;
    linop|offres|slabs) echo op ;;
    prox) echo prox ;;
    solve|diffusion) echo solve ;;
    nn|net|graph|weights|train|volume|ridge) echo nn ;;
    image|metric|segment|thermometry) echo image ;;
    scan|trajectory|sampling) echo scan ;;
    io|picture|wire|projections|pulseq) echo io ;;
    mrd) echo mrd ;;
    recon|segmenter|ct|regularisers|lesson|noref|range) echo recon ;;
    phantom) echo phantoms ;;
    learn) echo learn ;;
    *) echo "unknown" ;;
    esac
}

uses()
{
    case $1 in
    base) echo base ;;
    array) echo base array ;;
    math) echo base array math ;;
    op) echo base array math op ;;
    prox) echo base array math op prox ;;
    solve) echo base array math op prox solve ;;
    nn) echo base array math op prox solve nn ;;
    image) echo base array math image ;;
    scan) echo base array math image scan ;;
    io) echo base array math image scan io ;;
    mrd) echo base array math image scan io mrd ;;
    phantoms) echo base array math image scan io phantoms ;;
    recon) echo base array math op prox solve nn image scan io mrd recon ;;
    learn) echo base array math op prox solve nn image scan io mrd recon phantoms learn ;;
    tools) echo base array math op prox solve nn image scan io mrd recon phantoms learn tools ;;
    esac
}

unowned=$(for h in include/kray/*.h; do n=$(basename "$h" .h); [ "$(owner "$n")" = unknown ] && echo "$h: say in layers.sh which folder it belongs to"; done)
holds "every public header belongs to a folder" "$unowned"

check_folder()   # folder, its layer
{
    local allowed file header from
    allowed=" $(uses "$2") "
    grep -rHnoE '#include "kray/[a-z0-9_]+\.h"' "$1" --include='*.c' --include='*.h' | while IFS=: read -r file line header; do
        header=${header#*kray/}
        from=$(owner "${header%.h\"}")
        case $allowed in *" $from "*) ;; *) echo "$file:$line: $2 may not include ${header%\"}, which is $from's" ;; esac
    done
}

for d in src/* recon phantoms tools; do
    [ -d "$d" ] || continue
    layer=$(basename "$d")
    [ -n "$(uses "$layer")" ] || { holds "$d has a place among the layers" "$d is unknown to layers.sh"; continue; }
    holds "$d includes only what is below it" "$(check_folder "$d" "$layer")"
done
for h in include/kray/*.h; do
    layer=$(owner "$(basename "$h" .h)")
    [ "$layer" = unknown ] || holds "$h includes only what is below it" "$(check_folder "$h" "$layer")"
done

sources=$(find src recon phantoms tools include -name '*.[ch]')
all=$(find . \( -name 'build*' -o -name .git -o -name demo -type d \) -prune -o -type f -print | grep -vE '\.(png|gz|npy|h5|cfl|mat)$|^\./tests/lint/')
holds "base names are unique" "$(for f in $sources; do basename "$f"; done | sort | uniq -d)"
holds "no misc, util, common or helpers" "$(echo "$all" | grep -iE '(^|[/_])(misc|utils?|common|helpers?)([._/]|$)')"
holds "no work is left for later in a comment" "$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' $all | grep -vE 'SKIP\|TODO|# TODO')"
holds "no path of one machine" "$(grep -nE '(^|[^a-z.])/(home/[a-z]|root/|Users/)' $all; grep -nF "$PWD/" $all)"
holds "no trailing blanks or tabs in the sources" "$(grep -nE '[[:blank:]]+$|	' $sources)"

# Libraries and privileges have one place each.
only()   # words, pattern, where it may be
{
    holds "$1" "$(grep -nE "$2" $sources | grep -vE "^($3)")"
}
only "memory is taken by mem.c alone" '[^a-z_.>](malloc|calloc|realloc|strdup|strndup|asprintf|aligned_alloc) ?\(' 'src/base/mem\.c'
only "threads are started by thread.c alone" '#pragma omp|pthread_create' 'src/base/thread\.c'
only "FFTW is behind fourier.h" '<fftw' 'src/math/'
only "LAPACK and BLAS are behind la.h" '<(lapacke|cblas)' 'src/math/la\.c'
only "oneDNN has one place" '<(dnnl|oneapi)' 'src/nn/'
only "HDF5 is known to files and weights only" '<hdf5' 'src/(io|nn)/'
only "complex.h, which takes the name I, serves LAPACK alone" '<complex\.h>' 'src/math/la\.c'
only "the environment is read in few places" 'getenv\("([^K]|K[^R])' 'src/base/|tools/|src/math/fft'

# What differs between the entries of a table stands in the entries, so that a new one needs no look at the rest of the code.
listed()   # meson.build, its lists
{
    for l in $2; do awk "/^$l = \[/ { on = 1 } on { print } /\]/ { on = 0 }" "$1/meson.build"; done | grep -oE "'[a-z0-9_]+'" | tr -d "'"
}
entries=$( (listed recon 'recons regs models'; listed src/solve solvers; listed src/scan 'coil_methods'; listed src/nn nets; listed src/io formats
            ls recon/around_*.c | sed 's:.*around_::; s:\.c::') | sort -u)
holds "the lists of the tables are found" "$([ "$(echo "$entries" | wc -l)" -gt 80 ] || echo "$entries" | wc -l)"
either=$(for e in $entries; do echo "$e"; echo "$e" | tr _ -; done | sort -u | paste -sd'|')
holds "no entry of a table is known by its name" "$(grep -nE "cmp\\([^;]*(->|\\.)(name|around|network|method|solver|coils|format|by)\\b[^;\"]*, \"($either)\"" $sources)"
