/* plan.h: the inside of a graph, for graph.c, which builds it, and plan.c, which runs it. Private to src/nn. */
#ifndef KRAY_PLAN_H
#define KRAY_PLAN_H
#include "lay.h"

struct graph_node { kr_layer *l; int x[KR_INS], y[KR_OUTS], segment; };      /* l NULL: an input of the graph */
struct graph_value { kr_extent n; int node, out; };
struct graph_input { char *name; int value; bool must; };
struct graph_name { char *name; int value, layer, layers; };
struct kr_graph {
    kr_graph *root;                  /* whose parameters these are: itself, or the outermost graph */
    unsigned how;
    int failed, segments;
    struct graph_node *node; long nodes, node_room;
    struct graph_value *value; long values, value_room;
    kr_layer **layer; long layers, layer_room;
    struct graph_input *input; long inputs, input_room;
    struct graph_name *name; long names, name_room;
    int *output; long outputs, output_room;
    kr_param *param; kr_tensor *source; long params, param_room, source_room;      /* source: as given, until packed */
};
#endif
