/* libfourfold_c.so as a host of plugins treats it: loaded, used on several threads, closed while they still wait for work, and loaded again. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fourfold/fourfold_c.h"

enum { kImages = 8,
       kSize = 32,
       kInputs = kImages * kSize * kSize,
       kOutputs = kImages * (kSize - 2) * (kSize - 2) };

static void *symbol(void *library, const char *name) {
    void *address = dlsym(library, name);
    if (address == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return address;
}

/* Sums of 3x3 ones. */
static int convolve(void *library) {
    static float x[kInputs], w[9], y[kOutputs];
    fourfold_status (*parse)(fourfold_problem *, size_t, const char *);
    fourfold_status (*create)(const fourfold_problem *, const fourfold_plan_options *, fourfold_plan **);
    fourfold_status (*query)(const fourfold_plan *, fourfold_plan_info *);
    fourfold_status (*execute)(const fourfold_plan *, const fourfold_tensors *, void *, size_t, const fourfold_context *);
    void (*destroy)(fourfold_plan *);
    void *(*allocate)(size_t);
    void (*release)(void *);
    /* POSIX lets a function's address pass through void *; ISO C has no cast for it. */
    *(void **)&parse = symbol(library, "fourfold_problem_parse");
    *(void **)&create = symbol(library, "fourfold_plan_create");
    *(void **)&query = symbol(library, "fourfold_plan_query");
    *(void **)&execute = symbol(library, "fourfold_plan_execute");
    *(void **)&destroy = symbol(library, "fourfold_plan_destroy");
    *(void **)&allocate = symbol(library, "fourfold_alloc");
    *(void **)&release = symbol(library, "fourfold_free");

    for (int i = 0; i < kInputs; i++) {
        x[i] = 1.0f;
    }
    for (int i = 0; i < 9; i++) {
        w[i] = 1.0f;
    }
    for (int i = 0; i < kOutputs; i++) {
        y[i] = -1.0f;
    }
    fourfold_problem problem;
    fourfold_plan *plan = NULL;
    fourfold_plan_info info = {.struct_size = sizeof info};
    if (parse(&problem, sizeof problem, "b8 ic1 i32 oc1 f3") != FOURFOLD_OK || create(&problem, NULL, &plan) != FOURFOLD_OK || query(plan, &info) != FOURFOLD_OK) {
        return 0;
    }
    void *workspace = allocate(info.workspace_bytes_unpacked);
    fourfold_tensors tensors = {.struct_size = sizeof tensors, .input = {.data = x}, .filters = {.data = w}, .output = {.data = y}};
    const int ok = execute(plan, &tensors, workspace, info.workspace_bytes_unpacked, NULL) == FOURFOLD_OK;
    release(workspace);
    destroy(plan);
    for (int i = 0; i < kOutputs; i++) {
        if (y[i] < 8.999f || y[i] > 9.001f) {
            return 0;
        }
    }
    return ok;
}

int main(int argc, char **argv) {
    for (int round = 0; round < 3; round++) {
        void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
        if (library == NULL || !convolve(library) || dlclose(library) != 0) {
            fprintf(stderr, "round %d: %s\n", round, library == NULL ? dlerror() : "wrong");
            return 1;
        }
        /* Long enough for threads of the pool to run on. */
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return 0;
}
