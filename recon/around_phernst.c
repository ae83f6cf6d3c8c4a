/* around_phernst.c: the pipeline of phernst/pd-unet, of X-ray projections alone (net_rays.c): what its configuration says of data. */
#include "around.h"

static int read(void *to, const kr_weights *w, const kr_net_kind *kind)
{
    (void)kind;
    return around_number(to, w, "per99_img", 0, 1e-12, 1e12);
}

/* What it says of its training, of files and of how it made its projections has no effect: projections come with their geometry. */
static const kr_fact keys[] = {
    { .key = "per99_img" }, { .key = "per99_sino" }, { .key = "gtMax_img" }, { .key = "gtMax_sino" }, { .key = "parfan", .words = "parallel" }, { .key = "subtype" }, { .key = "sparsity" },
    { .key = "samplingtype" }, { .key = "firstNSpoke" }, { .key = "everyNSpoke" }, { .key = "fullspokes" }, { .key = "isGA" }, { .key = "angle_inc" }, { .key = "imsize" }, { .key = "sinosize" },
    { .key = "ds_dir" }, { .key = "train_path" }, { .key = "val_path" }, { .key = "test_path" }, { .key = "valid_dir" }, { .key = "log_dir" }, { .key = "test_out_dir" }, { .key = "run_prefix" },
    { .key = "run_name" }, { .key = "lr" }, { .key = "max_epochs" }, { .key = "batch_size" }, { .key = "accumulate_grad_batches" }, { .key = "use_amp" }, { .key = "workers" }, { .key = NULL } };

const around around_phernst = { .name = "phernst", .keys = keys, .facts_size = sizeof(double), .read = read };
