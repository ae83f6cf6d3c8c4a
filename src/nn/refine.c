/* refine.c: what DIRECT's engine does to coil maps before any of its networks sees them (NETWORKS 1.6). */
#include "parts.h"

int refinement_of(unet **u, const kr_weights *all)
{
    static const char first[] = "sensitivity_model.down_sample_layers.0.layers.0.weight";
    if (!net_has(all, first))
        return 0;
    kr_scoped(weights) w = net_weights(all, first);
    return w && (*u = unet_new(w, "sensitivity_model.", 2)) ? 0 : kr_error_code();
}

int refine(mri *m, unet *u, const kr_net_watch *watch)
{
    if (!u)
        return 0;
    if (m->coils > 1 && refine_maps(m, u, false))
        return kr_error_code();
    if (m->coils == 1)                               /* no other coil to learn from */
        mri_normalise_maps(m);
    net_see(watch, m->sens, 2 * m->n * m->coils, 0, 1, "sensitivity_map_refined");
    return 0;
}
