/* lowres.c: coil images of low resolution, divided by the root of their sum of squares. Sources: Roemer et al., Magn Reson
 * Med 16:192 (1990); McKenzie et al., Magn Reson Med 47:529 (2002). The image's own phase goes with the virtual coil's. */
#include "coils.h"
#include "kray/fourier.h"
#include <math.h>
#include <string.h>

enum { D = 3 };

int kr_coils_blur(kr_cfloat *image, const long n[D], const kr_array *x)
{
    long coils = x->n[KR_COIL], m[D], total = n[0] * n[1] * n[2];
    kr_auto float *window = kr_alloc((size_t)(x->n[0] + x->n[1] + x->n[2]), sizeof *window);
    kr_fft *fft = kr_fft_new(KR_SHAPE([KR_X] = n[0], [KR_Y] = n[1], [KR_Z] = n[2], [KR_COIL] = coils),
                             KR_ON(KR_X) | KR_ON(KR_Y) | KR_ON(KR_Z), KR_CENTRED);
    if (!window || !fft) {
        kr_fft_unref(&fft);
        return kr_error_code();
    }
    float *w[D] = { window, window + x->n[0], window + x->n[0] + x->n[1] };
    for (int d = 0; d < D; d++) {
        m[d] = x->n[d];
        for (long i = 0; i < m[d]; i++) {                /* 0 half a sample outside of the block */
            double c = cos(M_PI * (double)(i - m[d] / 2) / (double)(m[d] + 1));
            w[d][i] = m[d] < n[d] ? (float)(c * c) : 1;
        }
    }
    memset((void *)image, 0, (size_t)(total * coils) * sizeof *image);
    for (long i = 0; i < m[0] * m[1] * m[2] * coils; i++) {
        long a = i % m[0], b = i / m[0] % m[1], c = i / m[0] / m[1] % m[2], coil = i / m[0] / m[1] / m[2];
        kr_cfloat v = KR_C(x)[a * x->step[KR_X] + b * x->step[KR_Y] + c * x->step[KR_Z] + coil * x->step[KR_COIL]];
        float f = w[0][a] * w[1][b] * w[2][c];
        long to = ((c + n[2] / 2 - m[2] / 2) * n[1] + b + n[1] / 2 - m[1] / 2) * n[0] + a + n[0] / 2 - m[0] / 2;
        image[coil * total + to] = kr_c(f * kr_re(v), f * kr_im(v));
    }
    kr_fft_inverse(fft, image);
    kr_fft_unref(&fft);
    return 0;
}

struct lowres { kr_array *maps; const kr_array *block; const kr_coils_opts *o; };
struct lines { kr_cfloat *x; const kr_cfloat *u; long n, count, coils, step; float least, sure; float *largest; };

/* The largest sum of squares of one line. */
static int measure(void *self, long line)
{
    const struct lines *s = self;
    const kr_cfloat *x = s->x + line * s->n;
    float top = 0;
    for (long i = 0; i < s->n; i++) {
        float sum = 0;
        for (long c = 0; c < s->coils; c++)
            sum += kr_cabs2(x[c * s->step + i]);
        top = sum > top ? sum : top;
    }
    s->largest[line] = top;
    return 0;
}

/* S_c = x_c conj(phase of u^H x) / sqrt(sum |x|^2), as a prior at most divided by what is sure to be signal. */
static int divide(void *self, long line)
{
    const struct lines *s = self;
    kr_cfloat *x = s->x + line * s->n;
    for (long i = 0; i < s->n; i++) {
        float sum = 0;
        kr_cfloat p = 0;
        for (long c = 0; c < s->coils; c++) {
            sum += kr_cabs2(x[c * s->step + i]);
            p += kr_cmulc(s->u[c], x[c * s->step + i]);
        }
        float size = sqrtf(kr_cabs2(p)), f = sum > s->least ? 1 / sqrtf(sum > s->sure ? sum : s->sure) : 0;
        kr_cfloat turn = size > 0 ? kr_c(f * kr_re(p) / size, f * kr_im(p) / size) : kr_c(f, 0);
        for (long c = 0; c < s->coils; c++)
            x[c * s->step + i] = kr_cmulc(turn, x[c * s->step + i]);
    }
    return 0;
}

static int one_slice(void *self, long slice)
{
    const struct lowres *job = self;
    const kr_array *maps = job->maps;
    long coils = maps->n[KR_COIL], lines = maps->n[1] * maps->n[2];
    kr_scoped(array) block = kr_array_at(job->block, KR_SLICE, slice);
    kr_auto kr_cfloat *u = kr_alloc((size_t)coils, sizeof *u);
    kr_auto float *largest = kr_alloc((size_t)lines, sizeof *largest);
    kr_cfloat *x = KR_C(maps) + slice * maps->step[KR_SLICE];
    if (!block || !u || !largest || kr_coils_principal(u, block) || kr_coils_blur(x, maps->n, block))
        return kr_error_code();
    struct lines s = { x, u, maps->n[0], lines, coils, maps->n[0] * lines, 0, 0, largest };
    float top = 0, least = (float)kr_coils_least(job->o);
    if (kr_for(lines, measure, &s))
        return kr_error_code();
    for (long i = 0; i < lines; i++)
        top = largest[i] > top ? largest[i] : top;
    s.least = least * least * top;
    s.sure = job->o->prior ? KR_SIGNAL * KR_SIGNAL * top : 0;
    return kr_for(lines, divide, &s);
}

static int estimate_all(kr_array *maps, const kr_array *block, const kr_coils_opts *o, const kr_trace *trace)
{
    struct lowres job = { maps, block, o };
    if (o->maps > 1)
        return kr_fail(KR_EREFUSED, "images of low resolution give one set of maps, %ld are asked for; espirit gives several", o->maps);
    return kr_coils_slices(block->n[KR_SLICE], one_slice, &job, maps, NULL, trace);
}

const kr_coil_method kr_coil_method_lowres = { "lowres", "low-resolution coil images over their root of the sum of squares", "McKenzie et al., MRM 47:529 (2002)", estimate_all };
