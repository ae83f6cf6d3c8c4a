/* What must hold for every network of the table: there is a small one to try; turned, it makes of turned data the turned image; an image does not depend on the threads. */
#include "netweights.h"

enum { H = 24, W = 20, COILS = 3, N = H * W };
struct data { kr_cfloat *k, *s, *start; float *mask, *acs, *image, *noise; };

static void fill(struct data *d)
{
    *d = (struct data){ malloc(COILS * N * sizeof(kr_cfloat)), malloc(COILS * N * sizeof(kr_cfloat)), malloc(N * sizeof(kr_cfloat)), malloc(N * sizeof(float)), malloc(N * sizeof(float)),
                        malloc(N * sizeof(float)), malloc(N * sizeof(float)) };
    for (int i = 0; i < N; i++) {
        int y = i / W, x = i % W;
        d->acs[i] = abs(x - W / 2) < 3 && abs(y - H / 2) < 4;
        d->mask[i] = d->acs[i] != 0 || kr_rand_uniform(3, 0, (uint64_t)i) < 0.4;
        d->image[i] = (float)kr_rand_uniform(3, 1, (uint64_t)i);
        d->noise[i] = 0.1f;
    }
    for (int i = 0; i < COILS * N; i++) {
        double z[4];
        kr_rand_normal2(3, 2, (uint64_t)i, z);
        kr_rand_normal2(3, 3, (uint64_t)i, z + 2);
        d->k[i] = d->mask[i % N] * kr_c((float)z[0], (float)z[1]);
        d->s[i] = kr_c((float)(0.5 + 0.2 * z[2]), (float)(0.2 * z[3]));
        if (i < N)
            d->start[i] = kr_c((float)z[3], (float)z[0]);
    }
}

static void drop(struct data *d)
{
    free(d->k); free(d->s); free(d->start); free(d->mask); free(d->acs); free(d->image); free(d->noise);
}

/* `planes` planes of H x W items as planes of W x H. */
static void transpose(void *p, size_t size, int planes)
{
    char *from = p, *to = malloc(size * (size_t)(planes * N));
    for (int i = 0; i < planes * N; i++)
        memcpy(to + size * (size_t)(i / N * N + i % W * H + i % N / W), from + size * (size_t)i, size);
    memcpy(p, to, size * (size_t)(planes * N));
    free(to);
}

static void run(kr_cfloat *image, kr_net *net, const struct data *d, bool turned)
{
    kr_net_input in = { .coils = COILS, .h = turned ? W : H, .w = turned ? H : W, .kspace = d->k, .mask = d->mask, .acs = d->acs, .sens = d->s, .image = d->image, .scaling = 0.7,
                        .squared_scale = 1.7, .kspace_unit = 1.3, .centred = true, .adjoint = d->start, .noise = d->noise };
    for (int i = 0; i < 2; i++) {                            /* networks that must be given an image to begin with say so */
        if (!kr_net_run(net, image, &in, NULL))
            return;
        in.start = d->start;
    }
    fail_msg("%s", kr_error());
}

/* Sums of 10^2 to 10^4 products in another order, of which instance norms magnify what was rounded: what the golden files are held to. */
static void turned_twins(void **state)
{
    (void)state;
    for (int kind = 0; kind < kinds(); kind++) {
        kr_weights *w = small(kind);
        struct data d, t;
        fill(&d);
        fill(&t);
        transpose(t.k, sizeof *t.k, COILS);
        transpose(t.s, sizeof *t.s, COILS);
        transpose(t.start, sizeof *t.start, 1);
        transpose(t.mask, sizeof *t.mask, 1);
        transpose(t.acs, sizeof *t.acs, 1);
        transpose(t.image, sizeof *t.image, 1);
        kr_cfloat a[N], b[N];
        double top = 0, off = 0;
        kr_net *net[2] = { kr_net_new(word_of(kind), w, false), kr_net_new(word_of(kind), w, true) };
        if (!net[0] || !net[1])
            fail_msg("%s: %s", word_of(kind), kr_error());
        bool never = kr_net_kind_of(net[0])->own_axes;
        run(a, net[0], &d, false);
        run(b, net[1], &t, true);
        transpose(a, sizeof *a, 1);
        for (int i = 0; i < N; i++) {
            top = fmax(top, sqrt((double)kr_cabs2(a[i])));
            off = fmax(off, sqrt((double)kr_cabs2(a[i] - b[i])));
        }
        print_message("%-16s turned: %.1e of the largest value%s\n", word_of(kind), off / top, never ? " (its axes are Kray's: it is never turned)" : "");
        assert_true(top > 0);
        assert_true(never ? off > 1e-3 * top : off < 1e-4 * top);
        for (int i = 0; i < 2; i++)
            kr_net_unref(&net[i]);
        kr_weights_unref(&w);
        drop(&d);
        drop(&t);
    }
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    int before = kr_threads();
    struct data d;
    fill(&d);
    for (int kind = 0; kind < kinds(); kind++) {
        kr_weights *w = small(kind);
        kr_net *net = kr_net_new(word_of(kind), w, false);
        kr_cfloat a[N], b[N];
        for (int t = 1; t < 4; t++) {
            kr_threads_set(t);
            run(t > 1 ? b : a, net, &d, false);
            if (t > 1 && memcmp(a, b, sizeof a))
                fail_msg("%s: other bits with %d threads", word_of(kind), t);
        }
        kr_net_unref(&net);
        kr_weights_unref(&w);
    }
    drop(&d);
    kr_threads_set(before);
}

/* A network that no test makes is one that no test tries. */
static void each_has_a_small_one(void **state)
{
    (void)state;
    for (int i = 0; kr_nets[i]; i++) {
        bool there = kr_nets[i]->rays_alone;                             /* tried by test_netrays */
        for (int kind = 0; kind < kinds(); kind++)
            there |= !strcmp(word_of(kind), kr_nets[i]->name);
        if (!there)
            fail_msg("the network %s names no small one to be tried (kr_net_kind.small)", kr_nets[i]->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_has_a_small_one), cmocka_unit_test(turned_twins), cmocka_unit_test(threads_do_not_matter) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
