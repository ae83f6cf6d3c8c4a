/* nnunet_plans.h: what an nnU-Net v2 folder says of data: plans.json and dataset.json. Private to recon/. */
#ifndef KRAY_NNUNET_PLANS_H
#define KRAY_NNUNET_PLANS_H
#include "kray/base.h"

enum { NNUNET_CHANNELS = 64, NNUNET_LABELS = 1024 };
enum nnunet_norm { NORM_ZSCORE, NORM_CT, NORM_NONE, NORM_RESCALE, NORM_RGB };
/* Axes 0, 1, 2 of the volume are z, y, x (slowest first), as nnU-Net counts them. */
typedef struct nnunet_plans {
    char configuration[64];
    int dims, patch[3];              /* of the network, slowest first; 2D: patch[0] is 1                  */
    int forward[3];                  /* axis i of the network's volume is axis forward[i] of the image's   */
    double spacing[3];               /* 2D: spacing[0] is 0: that of the image                            */
    int order, order_z, order_back, order_back_z;            /* of splines: image, logits                 */
    int separate, separate_back;     /* 1: always, 0: never, -1: by the rule of anisotropy                */
    bool reorient;                   /* to the closest RAS axes first                                     */
    long channels;
    enum nnunet_norm norm[NNUNET_CHANNELS];
    bool masked[NNUNET_CHANNELS];    /* norm within what is not background                                */
    double mean[NNUNET_CHANNELS], sd[NNUNET_CHANNELS], low[NNUNET_CHANNELS], high[NNUNET_CHANNELS];
    bool regions;                    /* classes overlap: sigmoid, in this order                           */
    long classes, label[NNUNET_LABELS];                      /* the label that class i becomes            */
} nnunet_plans;
/* names: "label_N", "channel_N". configuration NULL: the only one, or that of told (from the checkpoint; may be NULL). Refuses by name what Kray
 * does not run. */
int nnunet_plans_read(nnunet_plans *p, kr_meta *names, const char *folder, const char *configuration, const char *told) KR_MUST_USE;
/* What the cross-validation found to help: rules that remove small pieces (nnunet_post.c). Of folder/postprocessing.json, of
 * folder/crossval_results_folds_A_B/ of these folds, or of the only such folder; none: no rules. Refuses rules that it does not know. */
typedef struct nnunet_rules { long count; struct nnunet_rule *rule; } nnunet_rules;
int nnunet_rules_read(nnunet_rules *r, const char *folder, char *const *fold, int folds) KR_MUST_USE;
int nnunet_rules_apply(const nnunet_rules *r, int32_t *labels, const long n[3]) KR_MUST_USE;
void nnunet_rules_clear(nnunet_rules *r);
/* Trainers that leave network and inference as they are. */
int nnunet_trainer(const char *name) KR_MUST_USE;
#endif
