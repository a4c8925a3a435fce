/* fourfold from C11: a small layer, planned, packed once, executed; then its gradient in the filters; a transposed convolution; unfold and fold. */
#include <stdio.h>
#include <stdlib.h>

#include "fourfold/fourfold_c.h"

static int failed(const char *what, fourfold_status status) {
    if (status != FOURFOLD_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, fourfold_status_name(status), fourfold_last_error());
    }
    return status != FOURFOLD_OK;
}

static void fill(float *data, size_t count, float value) {
    for (size_t i = 0; i < count; i++) {
        data[i] = value;
    }
}

/* y = x conv w, every x 1 and every w 0.5; then gw of gy = 1. Returns whether both are what they must be. */
static int run(const fourfold_plan *forward, const fourfold_plan *gradient, float *x, float *w, float *y, float *gw) {
    fourfold_plan_info info = {.struct_size = sizeof info}, gradient_info = {.struct_size = sizeof gradient_info};
    if (failed("query", fourfold_plan_query(forward, &info)) || failed("query", fourfold_plan_query(gradient, &gradient_info))) {
        return 0;
    }
    size_t bytes = info.workspace_bytes_unpacked > gradient_info.workspace_bytes ? info.workspace_bytes_unpacked : gradient_info.workspace_bytes;
    void *workspace = fourfold_alloc(bytes), *packed = fourfold_alloc(info.packed_filter_bytes);
    fourfold_const_view filters = {.data = w};
    fourfold_tensors tensors = {.struct_size = sizeof tensors, .input = {.data = x}, .packed_filters = packed, .packed_filter_bytes = info.packed_filter_bytes, .output = {.data = y}};
    fourfold_tensors gradient_tensors = {.struct_size = sizeof tensors, .input = {.data = x}, .grad_output = {.data = y}, .grad_filters = {.data = gw}};
    int ok = workspace != NULL && packed != NULL &&
             !failed("pack_filters", fourfold_plan_pack_filters(forward, &filters, packed, info.packed_filter_bytes, workspace, bytes, NULL)) &&
             !failed("execute", fourfold_plan_execute(forward, &tensors, workspace, bytes, NULL));
    /* Without padding every y sums 8 channels x 9 taps of 1 * 0.5. */
    ok = ok && y[0] == 36.0f && y[2 * 16 * 14 * 14 - 1] == 36.0f;
    if (ok) {
        fill(y, 2 * 16 * 14 * 14, 1.0f);
        ok = !failed("execute", fourfold_plan_execute(gradient, &gradient_tensors, workspace, bytes, NULL));
    }
    /* Every gw sums 2 images x 14 x 14 pixels of 1 * 1. */
    ok = ok && gw[0] == 392.0f && gw[16 * 8 * 9 - 1] == 392.0f;
    printf("forward by %s (%s), gradient by %s: %s\n", fourfold_algorithm_name(info.algorithm), info.variant, fourfold_algorithm_name(gradient_info.algorithm), ok ? "ok" : "WRONG");
    fourfold_free(packed);
    fourfold_free(workspace);
    return ok;
}

/* PyTorch's ConvTranspose2d(4, 3, 2, stride=2) of 5x6 pixels, every x 1 and every w 0.5, as a layer that owns its memory. Returns whether
 * every y sums 4 channels x 1 tap of 1 * 0.5. */
static int transposed(void) {
    fourfold_transposed size;
    fourfold_transposed_init(&size, sizeof size);
    size.in_channels = 4;
    size.in_height = 5;
    size.in_width = 6;
    size.out_channels = 3;
    size.filter_height = size.filter_width = size.stride_h = size.stride_w = 2;
    float x[4 * 5 * 6], w[4 * 3 * 2 * 2], y[3 * 10 * 12];
    fill(x, sizeof x / sizeof *x, 1.0f);
    fill(w, sizeof w / sizeof *w, 0.5f);
    fourfold_problem problem;
    fourfold_layer *layer = NULL;
    fourfold_const_view input = {.data = x}, filters = {.data = w};
    fourfold_view output = {.data = y};
    int ok = !failed("transposed", fourfold_problem_transposed(&problem, sizeof problem, &size)) &&
             !failed("layer", fourfold_layer_create(&problem, &filters, NULL, NULL, &layer)) &&
             !failed("run", fourfold_layer_run(layer, &input, &output, NULL, NULL));
    for (size_t i = 0; ok && i < sizeof y / sizeof *y; i++) {
        ok = y[i] > 1.9999f && y[i] < 2.0001f;
    }
    fourfold_layer_destroy(layer);
    return ok;
}

/* A problem without filters. */
static int moved(const char *text, const float *from, float *to) {
    fourfold_problem problem;
    fourfold_plan *plan = NULL;
    fourfold_plan_info info = {.struct_size = sizeof info};
    if (failed("parse", fourfold_problem_parse(&problem, sizeof problem, text)) || failed("plan", fourfold_plan_create(&problem, NULL, &plan))) {
        return 0;
    }
    int ok = !failed("query", fourfold_plan_query(plan, &info));
    void *workspace = fourfold_alloc(info.workspace_bytes);
    fourfold_tensors tensors = {.struct_size = sizeof tensors, .input = {.data = from}, .output = {.data = to}};
    ok = ok && !failed("execute", fourfold_plan_execute(plan, &tensors, workspace, info.workspace_bytes, NULL));
    fourfold_free(workspace);
    fourfold_plan_destroy(plan);
    return ok;
}

/* The columns of an image of ones, folded again, count the windows in which a pixel lies: 4 at a corner, 9 inside. */
static int there_and_back(void) {
    float x[2 * 6 * 5], columns[2 * 9 * 6 * 5];
    fill(x, sizeof x / sizeof *x, 1.0f);
    int ok = moved("unfold b1 ic2 i6x5 f3 p1", x, columns) && moved("fold b1 ic2 i6x5 f3 p1", columns, x);
    return ok && x[0] == 4.0f && x[1] == 6.0f && x[6] == 9.0f && x[2 * 6 * 5 - 1] == 4.0f;
}

int main(void) {
    fourfold_problem problem;
    if (failed("parse", fourfold_problem_parse(&problem, sizeof problem, "b2 ic8 i16 oc16 f3"))) {
        return 1;
    }
    fourfold_plan_options options;
    fourfold_plan_options_init(&options, sizeof options);
    options.algorithm = FOURFOLD_ALGORITHM_DIRECT; /* sums of small integers by direct are exact */

    fourfold_plan *forward = NULL, *gradient = NULL;
    int planned = !failed("plan", fourfold_plan_create(&problem, &options, &forward));
    problem.operation = FOURFOLD_BACKWARD_FILTERS;
    planned = planned && !failed("plan", fourfold_plan_create(&problem, &options, &gradient));

    float *x = malloc(2 * 8 * 16 * 16 * sizeof(float)), *w = malloc(16 * 8 * 9 * sizeof(float));
    float *y = malloc(2 * 16 * 14 * 14 * sizeof(float)), *gw = malloc(16 * 8 * 9 * sizeof(float));
    int ok = 0;
    if (planned && x != NULL && w != NULL && y != NULL && gw != NULL) {
        fill(x, 2 * 8 * 16 * 16, 1.0f);
        fill(w, 16 * 8 * 9, 0.5f);
        ok = run(forward, gradient, x, w, y, gw);
    }

    int up = transposed(), back = there_and_back();
    printf("transposed convolution: %s, unfold and fold: %s\n", up ? "ok" : "WRONG", back ? "ok" : "WRONG");
    ok = ok && up && back;

    /* What goes wrong comes back as a code and a sentence. */
    problem.groups = 3;
    fourfold_plan *none = NULL;
    if (fourfold_plan_create(&problem, NULL, &none) != FOURFOLD_INVALID_ARGUMENT || none != NULL) {
        ok = 0;
    }
    printf("three groups of 8 channels: %s\n", fourfold_last_error());

    free(x);
    free(w);
    free(y);
    free(gw);
    fourfold_plan_destroy(forward);
    fourfold_plan_destroy(gradient);
    return ok ? 0 : 1;
}
