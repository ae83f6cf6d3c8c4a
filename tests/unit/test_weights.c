#include "test.h"
#include "files.h"
#include "kray/weights.h"

static const char *put(const char *name, const void *bytes, size_t n)
{
    const char *path = scratch(name);
    spill(path, bytes, (long)n);
    return path;
}

/* The same tensors under `prefix` in both. */
static void assert_same(const kr_weights *a, const char *prefix, const kr_weights *b)
{
    assert_true(b->count > 0);
    for (long i = 0; i < b->count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, b->tensor[i].name);
        const kr_tensor *t = kr_weights_find(a, name);
        assert_non_null(t);
        assert_int_equal(kr_tensor_count(t), kr_tensor_count(&b->tensor[i]));
        assert_memory_equal(t->data, b->tensor[i].data, (size_t)kr_tensor_count(t) * sizeof(float));
    }
}

static void published_files(void **state)
{
    (void)state;
    NEED_SHARED("data/weights");
    const char *pair[][3] = { { "data/weights/cirim_1c_64f_l1_nodc_epoch19.ckpt", "state_dict.", "data/weights/cirim_1c_64f_l1_nodc_epoch19.npz" },
                              { "data/weights/js3611_crnn_mri_d5_c5.pth", "", "data/weights/js3611_crnn_mri_d5_c5.npz" } };
    for (int i = 0; i < 2; i++) {
        kr_weights *a = NULL, *b = NULL;
        assert_int_equal(kr_weights_read(&a, shared(pair[i][0])), 0);
        assert_int_equal(kr_weights_read(&b, shared(pair[i][2])), 0);
        assert_same(a, pair[i][1], b);
        if (!i) {
            assert_string_equal(kr_meta_get(a->meta, "hyper_parameters.cfg.recurrent_layer"), "IndRNN");
            assert_string_equal(kr_meta_get(a->meta, "hyper_parameters.cfg.time_steps"), "8");
        }
        kr_weights_unref(&a);
        kr_weights_unref(&b);
    }
    assert_int_equal(kr_mem_now(), 0);
}

static void samples(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays");
    kr_weights *w = NULL;
    assert_int_equal(kr_weights_read(&w, shared("samples/arrays/tiny.safetensors")), 0);
    assert_int_equal(w->count, 7);
    assert_string_equal(kr_meta_get(w->meta, "format"), "pt");
    kr_weights_unref(&w);
    assert_true(kr_weights_read(&w, shared("samples/arrays/bad_headerlen.safetensors")) < 0);
    assert_refused(KR_EFORMAT, "announces");
    assert_true(kr_weights_read(&w, shared("samples/arrays/bad_truncated.safetensors")) < 0);
    assert_refused(KR_EFORMAT, "should lie at");
    assert_int_equal(kr_weights_read(&w, shared("samples/arrays/torch_like_state_dict.pt")), 0);
    const kr_tensor *k = kr_weights_find(w, "k");            /* complex becomes a last axis of 2 */
    assert_non_null(k);
    assert_int_equal(k->n[k->dims - 1], 2);
    kr_weights_unref(&w);
}

static kr_weights *small(void)
{
    kr_weights *w = kr_weights_new();
    kr_tensor *t = kr_weights_add(w, "a.weight", 3, (long[]){ 2, 3, 4 });
    for (int i = 0; i < 24; i++)
        t->data[i] = (float)(i - 12) / 7;
    t = kr_weights_add(w, "b", 0, NULL);
    t->data[0] = 3;
    kr_meta_set(w->meta, "network", "test \"quoted\"");
    kr_weights_digest(w);
    return w;
}

static void own_file(void **state)
{
    (void)state;
    kr_weights *w = small(), *r = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("own.safetensors"));
    assert_int_equal(kr_weights_write(w, path), 0);
    assert_int_equal(kr_weights_read(&r, path), 0);
    assert_same(r, "", w);
    assert_string_equal(r->digest, w->digest);
    assert_string_equal(kr_meta_get(r->meta, "network"), "test \"quoted\"");
    kr_weights_unref(&r);
    long n;
    unsigned char *b = slurp(path, &n);
    b[n - 6] ^= 1;                                            /* one bit of one number */
    assert_true(kr_weights_read(&r, put("damaged.safetensors", b, n)) < 0);
    assert_refused(KR_EFORMAT, "digest differs");
    free(b);
    kr_weights *u = kr_weights_under(w, "a.");
    assert_int_equal(u->count, 1);
    assert_string_equal(u->tensor[0].name, "weight");
    kr_weights_unref(&u);
    assert_null(kr_weights_under(w, "c."));
    assert_refused(KR_EFORMAT, "no tensor begins with 'c.'");
    assert_null(kr_weights_add(w, "b", 0, NULL));
    assert_refused(KR_EFORMAT, "twice");
    assert_null(kr_weights_add(w, "d", 2, (long[]){ 1L << 30, 1L << 30 }));
    assert_refused(KR_EFORMAT, "impossible shape");
    assert_true(kr_weights_write(w, "/nowhere/x.safetensors") < 0);
    assert_refused(KR_EFILE, "/nowhere");
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

/* For PyTorch: the same names and numbers; dictionaries of DIRECT and of Lightning are dictionaries there. That torch.load reads it to the bit is shown
 * by tests/peers/published_nets.sh. Rounded to bfloat16: within 2^-8 of each number, and the same once more. */
static void written_otherwise(void **state)
{
    (void)state;
    kr_weights *w = small(), *r = NULL;
    kr_weights_add(w, "model.deep.weight", 1, (long[]){ 2 })->data[1] = 0.1f;
    kr_weights_add(w, "sensitivity_model.x", 1, (long[]){ 1 })->data[0] = -1e30f;
    kr_weights_digest(w);
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("own.pt"));
    assert_int_equal(kr_weights_write_torch(w, path), 0);
    if (kr_weights_read(&r, path))
        fail_msg("%s", kr_error());
    assert_int_equal(r->count, w->count);
    assert_same(r, "", w);
    kr_weights_unref(&r);
    assert_true(kr_weights_write_torch(w, "/nowhere/x.pt") < 0);
    assert_refused(KR_EFILE, "/nowhere");
    kr_weights_round(w);
    kr_weights_digest(w);
    snprintf(path, sizeof path, "%s", scratch("half.safetensors"));
    assert_int_equal(kr_weights_write(w, path), 0);
    if (kr_weights_read(&r, path))
        fail_msg("%s", kr_error());
    assert_string_equal(r->digest, w->digest);
    const float *v = kr_weights_find(r, "a.weight")->data;
    for (int i = 0; i < 24; i++)
        assert_true(fabsf(v[i] - (float)(i - 12) / 7) <= fabsf((float)(i - 12) / 7) / 256);
    kr_weights_unref(&r);
    kr_weights_unref(&w);
    assert_int_equal(kr_mem_now(), 0);
}

/* The older layout, as bytes: magic number, protocol, machine, then a pickle that asks for os.system. */
static void hostile(void **state)
{
    (void)state;
    static const char file[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." "\x80\x02M\xe9\x03." "\x80\x02}."
                               "\x80\x02" "cposix\nsystem\n(U\x04true" "tR.";
    kr_weights *w = NULL;
    assert_true(kr_weights_read(&w, put("hostile.pt", file, sizeof file - 1)) < 0);
    assert_refused(KR_EREFUSED, "posix.system");
    static const char eval[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." "\x80\x02M\xe9\x03." "\x80\x02}."
                               "\x80\x04\x8c\x08" "builtins\x8c\x04" "eval\x93.";
    assert_true(kr_weights_read(&w, put("hostile2.pt", eval, sizeof eval - 1)) < 0);
    assert_refused(KR_EREFUSED, "builtins.eval");
    assert_true(kr_weights_read(&w, put("text.pt", "hello there", 11)) < 0);
    assert_refused(KR_EFORMAT, "not a file of weights");
    assert_true(kr_weights_read(&w, put("nothing.pt", "", 0)) < 0);
    assert_refused(KR_EFORMAT, "not a file of weights");
}

/* Truncated at many lengths and with bytes changed: a refusal or tensors, never a crash or a leak. */
static void mutated(void **state)
{
    (void)state;
    NEED_SHARED("samples/arrays");
    const char *file[] = { "samples/arrays/torch_like_state_dict.pt", "samples/arrays/tiny.safetensors", "samples/arrays/two_deflated.npz",
                           "data/weights/js3611_crnn_mri_d5_c5.pth", "data/weights/cirim_1c_64f_l1_nodc_epoch19.ckpt" };
    for (int i = 0; i < 5; i++) {
        if (access(shared(file[i]), F_OK))
            continue;
        long n;
        unsigned char *b = slurp(shared(file[i]), &n), *c = malloc(n);
        bool large = n > 100000;
        for (long cut = 0; cut < n; cut += large ? n / 23 + 1 : 1) {
            kr_weights *w = NULL;
            if (kr_weights_read(&w, put("cut", b, (size_t)cut)))
                assert_true(strlen(kr_error()) > 0);
            kr_weights_unref(&w);
        }
        for (uint64_t k = 0; k < (large ? 60u : 1500u); k++) {
            memcpy(c, b, n);
            for (uint64_t j = 0; j < 1 + k % 4; j++)
                c[kr_rand_bits(7, k, 2 * j) % (uint64_t)(large ? 3000 : n)] = (unsigned char)kr_rand_bits(7, k, 2 * j + 1);
            kr_weights *w = NULL;
            if (kr_weights_read(&w, put("changed", c, n)))
                assert_true(strlen(kr_error()) > 0);
            kr_weights_unref(&w);
        }
        free(b);
        free(c);
        assert_int_equal(kr_mem_now(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(published_files), cmocka_unit_test(samples), cmocka_unit_test(own_file), cmocka_unit_test(written_otherwise),
                                        cmocka_unit_test(hostile), cmocka_unit_test(mutated) };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
