/* weights.h: the numbers of a trained network, whatever file they came from. */
#ifndef KRAY_WEIGHTS_H
#define KRAY_WEIGHTS_H
#include "kray/base.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { KR_TENSOR_DIMS = 8 };
typedef struct kr_tensor {           /* row-major, as PyTorch shows its shape                           */
    char *name;                      /* key of the state dict, "model." and the like kept               */
    int dims;
    long n[KR_TENSOR_DIMS];
    float *data;                     /* float32, whatever the file had; product of n numbers            */
    bool lent;                       /* data belongs to the tensor of other weights                     */
    bool *read;                      /* has a network asked for it? One answer for a tensor and those that lend it */
} kr_tensor;
typedef struct kr_weights {
    long count, room;
    kr_tensor *tensor;
    kr_meta *meta;                   /* what the file says of itself: network, hyper-parameters ("hyper.NAME"), training, licence */
    char digest[65];                 /* SHA-256 over names, shapes and numbers in the order of the file  */
    struct wt_names *names;          /* where each name is; private                                      */
    bool half;                       /* all numbers are bfloat16: kr_weights_write writes them as such   */
    size_t held, most;               /* bytes of numbers so far, and allowed (0: any): private           */
} kr_weights;

/* Reads PyTorch .pt/.pth/.ckpt (zip, and the older layout), ATOMMIC .atommic (tar), .safetensors, NumPy .npz; recognised by
 * content. A pickle may only build tensors, dictionaries, lists, numbers and strings: no code is ever run, and a file that
 * asks for anything else is refused with the name of what it asked for. Owner: the caller. */
int kr_weights_read(kr_weights **out, const char *path) KR_MUST_USE;
/* Kray's own file: .safetensors, with meta as its metadata. Written beside and renamed into place. */
int kr_weights_write(const kr_weights *w, const char *path) KR_MUST_USE;
/* A state dict as torch.save writes it (zip, float32), for torch.load: the names stay, and those that begin with "state_dict.", "model.",
 * "sensitivity_model." or "mask_model." become entries of a dictionary of that name, as PyTorch Lightning and DIRECT have them. Without meta.
 * Source: PyTorch, torch/serialization.py; Python, pickle protocol 2. */
int kr_weights_write_torch(const kr_weights *w, const char *path) KR_MUST_USE;
/* All numbers to the nearest bfloat16 (8 bits of precision), which kr_weights_write then writes, in half of the room. The digest is to be made anew. */
void kr_weights_round(kr_weights *w);
void kr_weights_unref(kr_weights **w);

/* Hyper-parameters that shapes do not tell, from a YAML of DIRECT (model:, additional_models:, physics:) or ATOMMIC: they become
 * the meta "network" and "hyper.NAME"; what the file says of data (the section nearest to running: inference, else validation, else
 * training) becomes "hyper.data.PATH". A null becomes "none". .atommic archives bring theirs with them. kr_net_new refuses, key by key,
 * what does not agree with the shapes. */
int kr_weights_config(kr_weights *w, const char *path) KR_MUST_USE;
/* The YAML that lies beside a file of weights: of its name, config.yaml, model_config.yaml, hparams.yaml, or the only one in
 * the folder. NULL: none. Owner: the caller. */
char *kr_weights_config_beside(const char *weights) KR_MUST_USE;
/* What the weights' file or their configuration says of a hyper-parameter, or of a key of the data by its name or the end of its path;
 * NULL: nothing. */
const char *kr_weights_told(const kr_weights *w, const char *name);

kr_weights *kr_weights_new(void) KR_MUST_USE;
/* Adds a tensor (zero numbers) and returns it; refuses absurd shapes and a name that is there already. */
kr_tensor *kr_weights_add(kr_weights *w, const char *name, int dims, const long *n) KR_MUST_USE;
void kr_weights_digest(kr_weights *w);                     /* sets w->digest */
const kr_tensor *kr_weights_find(const kr_weights *w, const char *name);   /* NULL: not there */
long kr_tensor_count(const kr_tensor *t);
/* Those whose names begin with `prefix`, without it; none is a refusal that lists some of the names there are. Their numbers stay
 * those of w, which must live as long. */
kr_weights *kr_weights_under(const kr_weights *w, const char *prefix) KR_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
