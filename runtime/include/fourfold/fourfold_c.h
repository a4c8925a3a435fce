/* @file
 * fourfold's C interface: C11, for C, Rust, Julia and whatever else calls C. The semantics are those of the C++ headers
 * (problem.h, plan.h, layer.h, spectral.h, training.h, device.h, staged_plan.h, tuning.h, profile.h, executor.h), which hold the equations.
 *
 *     fourfold_problem problem;
 *     fourfold_problem_parse(&problem, sizeof problem, "b8 ic64 i56 oc64 f3 p1 relu");
 *     fourfold_plan *plan;
 *     if (fourfold_plan_create(&problem, NULL, &plan) != FOURFOLD_OK) puts(fourfold_last_error());
 *
 * Every function that can fail returns a status; the sentence that goes with it is fourfold_last_error(). Nothing throws,
 * nothing aborts; a null pointer where none is allowed is FOURFOLD_INVALID_ARGUMENT.
 *
 * Binary compatibility: structs whose first member is struct_size may grow at their end. Callers set it to the sizeof that
 * they were compiled with (the _init and _parse functions do); members beyond it keep their defaults, and a struct larger than
 * this library knows is refused. Structs without struct_size do not change within one FOURFOLD_ABI_VERSION. Enumerations are
 * stored as int32_t.
 */
#ifndef FOURFOLD_C_H
#define FOURFOLD_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------- version and errors */

/* Grows when a program compiled against an older header would no longer work. The shared library's name has it: libfourfold_c.so.1. */
#define FOURFOLD_ABI_VERSION 1

/* Every workspace and packed-filter block starts at a multiple of this many bytes; see fourfold_alloc(). */
#define FOURFOLD_ALIGNMENT 64

/* The library's version, "major.minor.patch". */
const char *fourfold_version(void);
/* The FOURFOLD_ABI_VERSION that the library was built with. */
int32_t fourfold_abi_version(void);

/* How a call ended. */
typedef enum fourfold_status {
    FOURFOLD_OK = 0,                 /* done */
    FOURFOLD_INVALID_ARGUMENT = 1,   /* a size, pointer, stride or token is wrong; the message names it and its value */
    FOURFOLD_UNSUPPORTED = 2,        /* valid, but the named algorithm, device or build cannot do it */
    FOURFOLD_RESOURCE_EXHAUSTED = 3, /* does not fit the workspace, packed-filter or memory limit */
    FOURFOLD_INTERNAL = 4            /* a generated kernel or a library refused */
} fourfold_status; /* as enum fourfold_status */

/* The message of the last call on this thread that did not return FOURFOLD_OK; "" before the first. Valid until the next
 * such call on this thread. */
const char *fourfold_last_error(void);
/* "ok", "invalid argument", "unsupported", "resource exhausted", "internal". */
const char *fourfold_status_name(int32_t status);

/* ------------------------------------------------------------------------------------------------------------ problem */

/* What a problem computes: Operation of problem.h. */
enum fourfold_operation {
    FOURFOLD_FORWARD = 0,
    FOURFOLD_BACKWARD_DATA = 1,
    FOURFOLD_BACKWARD_FILTERS = 2,
    FOURFOLD_UNFOLD = 3,
    FOURFOLD_FOLD = 4,
    FOURFOLD_SPECTRAL = 5
};
/* What x reads as outside the image: PaddingMode of problem.h. */
enum fourfold_padding_mode {
    FOURFOLD_ZEROS = 0,
    FOURFOLD_CONSTANT = 1,
    FOURFOLD_REFLECT = 2,
    FOURFOLD_SYMMETRIC = 3,
    FOURFOLD_REPLICATE = 4,
    FOURFOLD_CIRCULAR = 5
};
/* Correlation, as networks have it, or the filter flipped. */
enum fourfold_filter_mode { FOURFOLD_CORRELATION = 0,
                            FOURFOLD_CONVOLUTION = 1 };
/* Order of the dimensions in memory. */
enum fourfold_layout { FOURFOLD_NCHW = 0,
                       FOURFOLD_NHWC = 1 };
/* Applied to every result last: PostOp of problem.h. */
enum fourfold_post_op { FOURFOLD_POST_NONE = 0,
                        FOURFOLD_POST_RELU = 1,
                        FOURFOLD_POST_CLAMP = 2 };

/* What to compute: Conv2dProblem of problem.h, member by member. Sizes in elements. */
typedef struct fourfold_problem {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t operation;    /* enum fourfold_operation */
    int32_t padding_mode; /* enum fourfold_padding_mode */
    int32_t filter_mode;  /* enum fourfold_filter_mode */
    int32_t layout;       /* enum fourfold_layout */
    int32_t post_op;      /* enum fourfold_post_op */
    int32_t residual;     /* not 0: adds a tensor of the result's shape before the post-op */
    int64_t batch;         /* b, images */
    int64_t in_channels;   /* ic, of x */
    int64_t in_height;     /* i0, rows of x */
    int64_t in_width;      /* i1, columns of x */
    int64_t out_channels;  /* oc, of y */
    int64_t filter_height; /* f0, taps */
    int64_t filter_width;  /* f1, taps */
    int64_t stride_h;      /* s0, rows of x from one row of y to the next */
    int64_t stride_w;      /* s1, the same of columns */
    int64_t pad_top;       /* rows before x */
    int64_t pad_bottom;    /* rows behind it */
    int64_t pad_left;      /* columns before x */
    int64_t pad_right;     /* columns behind it */
    int64_t dilation_h;    /* d0, rows of x from one tap to the next */
    int64_t dilation_w;    /* d1, the same of columns */
    int64_t groups;        /* of channels, each on its own */
    float padding_value;   /* for FOURFOLD_CONSTANT */
    float clamp_lo;        /* least value, for FOURFOLD_POST_CLAMP */
    float clamp_hi;        /* greatest value, for FOURFOLD_POST_CLAMP */
} fourfold_problem;

/* The defaults: forward, every size 1, no padding. struct_size is sizeof(fourfold_problem) as the caller knows it. */
fourfold_status fourfold_problem_init(fourfold_problem *problem, size_t struct_size);
/* Reads the one-line form, e.g. "fwd b8 ic64 i56x56 oc64 f3x3 p1". Does not validate the sizes. */
fourfold_status fourfold_problem_parse(fourfold_problem *problem, size_t struct_size, const char *text);
/* Writes the one-line form, at most capacity bytes with its final NUL, into buffer (which may be null when capacity is 0).
 * length, unless null, becomes the whole text's length without the NUL: at capacity or above, the text was cut. */
fourfold_status fourfold_problem_print(const fourfold_problem *problem, char *buffer, size_t capacity, size_t *length);
/* FOURFOLD_OK, or FOURFOLD_INVALID_ARGUMENT with a message that names the offending values. */
fourfold_status fourfold_problem_validate(const fourfold_problem *problem);
/* o0 and o1 of the forward convolution; 0 where the filter does not fit. Validates nothing. */
fourfold_status fourfold_problem_output_size(const fourfold_problem *problem, int64_t *height, int64_t *width);
/* 2*b*oc*o0*o1*(ic/groups)*f0*f1: multiply-adds of the direct algorithm times two. */
fourfold_status fourfold_problem_flops(const fourfold_problem *problem, double *flops);

/* Padding by name. */
enum fourfold_padding { FOURFOLD_VALID = 0,
                        FOURFOLD_FULL = 1,
                        FOURFOLD_SAME = 2 };
/* Sets the four paddings by name: none; every overlap of filter and image; o = ceil(i / stride), the odd one after. */
fourfold_status fourfold_problem_set_padding(fourfold_problem *problem, int32_t padding);

/* A transposed convolution in the terms of PyTorch's ConvTranspose2d: Conv2dProblem::Transposed of problem.h. */
typedef struct fourfold_transposed {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int64_t batch;            /* images */
    int64_t in_channels;      /* of the layer's input */
    int64_t in_height;        /* of the layer's input */
    int64_t in_width;         /* of the layer's input */
    int64_t out_channels;     /* of the layer's output */
    int64_t filter_height;    /* f0, taps */
    int64_t filter_width;     /* f1, taps */
    int64_t stride_h;         /* output rows from where one input row goes to where the next does */
    int64_t stride_w;         /* the same of columns */
    int64_t padding_h;        /* rows cut from the output at top and bottom */
    int64_t padding_w;        /* columns cut from it left and right */
    int64_t output_padding_h; /* rows added at its bottom, at least 0 and less than max(stride_h, dilation_h) */
    int64_t output_padding_w; /* columns added at its right, at least 0 and less than max(stride_w, dilation_w) */
    int64_t dilation_h;       /* output rows from one tap to the next */
    int64_t dilation_w;       /* the same of columns */
    int64_t groups;           /* of channels, each on its own */
} fourfold_transposed;
/* The defaults: every size 1, no padding. */
fourfold_status fourfold_transposed_init(fourfold_transposed *layer, size_t struct_size);
/* The layer as the bwd-data problem that it is: its input is grad_output, its output grad_input. A layer that cannot be makes a
   problem that fourfold_problem_validate refuses. */
fourfold_status fourfold_problem_transposed(fourfold_problem *problem, size_t struct_size, const fourfold_transposed *layer);

/* ------------------------------------------------------------------------------------------------------- plan: options */

/* How to compute a problem: Algorithm of plan.h, which names the sources. */
enum fourfold_algorithm {
    FOURFOLD_ALGORITHM_AUTO = 0,
    FOURFOLD_ALGORITHM_NAIVE = 1,
    FOURFOLD_ALGORITHM_DIRECT = 2,
    FOURFOLD_ALGORITHM_IM2COL = 3,
    FOURFOLD_ALGORITHM_FFT = 4,
    FOURFOLD_ALGORITHM_FFT_TILED = 5,
    FOURFOLD_ALGORITHM_WINOGRAD = 6
};
/* What drives the device that a plan computes on. */
enum fourfold_device { FOURFOLD_CPU = 0,
                       FOURFOLD_CUDA = 1,
                       FOURFOLD_OPENCL = 2 };
/* What FOURFOLD_ALGORITHM_AUTO may give up for speed: Accuracy of plan.h. */
enum fourfold_accuracy { FOURFOLD_ACCURACY_STRICT = 0,
                         FOURFOLD_ACCURACY_DEFAULT = 1,
                         FOURFOLD_ACCURACY_RELAXED = 2 };
/* Which library transforms whole planes. */
enum fourfold_fft_backend { FOURFOLD_FFT_AUTO = 0,
                            FOURFOLD_FFT_FFTW = 1,
                            FOURFOLD_FFT_KISSFFT = 2 };
/* FFTW's planning effort. */
enum fourfold_fft_rigor { FOURFOLD_FFT_ESTIMATE = 0,
                          FOURFOLD_FFT_MEASURE = 1,
                          FOURFOLD_FFT_PATIENT = 2 };
/* How plans are chosen: from tables and predictions, or by timing the likely ones when the plan is made. */
enum fourfold_effort { FOURFOLD_EFFORT_TABLE = 0,
                       FOURFOLD_EFFORT_MEASURE = 1 };
/* Whether what an execution reads is in the caches before. */
enum fourfold_cache { FOURFOLD_CACHE_WARM = 0,
                      FOURFOLD_CACHE_COLD = 1 };

/* "auto", "naive", "direct", "im2col", "fft", "fft_tiled", "winograd"; NULL for any other value. */
const char *fourfold_algorithm_name(int32_t algorithm);
/* The same back. */
fourfold_status fourfold_algorithm_parse(const char *name, int32_t *algorithm);

/* PlanOptions of plan.h. */
typedef struct fourfold_plan_options {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t algorithm;          /* enum fourfold_algorithm */
    int32_t device;             /* enum fourfold_device */
    int32_t threads;            /* at most this many at a time; 0: one per hardware thread. Results do not depend on it. */
    int32_t accuracy;           /* enum fourfold_accuracy: what auto may give up for speed */
    int32_t fft_backend;        /* enum fourfold_fft_backend */
    int32_t fft_rigor;          /* enum fourfold_fft_rigor */
    size_t workspace_limit;     /* bytes, filters packed; SIZE_MAX: none */
    size_t packed_filter_limit; /* bytes; SIZE_MAX: none */
    const char *variant;        /* forces the main stage's variant by name; NULL: chosen */
    const char *choice;         /* forces a plan by what fourfold_plan_info's choice said of it; replaces algorithm and variant; NULL */
    int32_t effort;             /* enum fourfold_effort */
    int32_t cache;              /* enum fourfold_cache: whose records to follow */
    int32_t choose_for_threads; /* not 0: prefer what was measured with as many threads; otherwise choices, and with them every bit
                                   of the results, are the ones for one thread */
    int32_t packs_each_time;    /* not 0: filters come unpacked with every execution, and plans are ranked with that time */
    const char *const *blocked; /* names of algorithms and variants that auto must not pick, others are refused; NULL when blocked_count is 0 */
    size_t blocked_count;       /* of names */
    int32_t device_ordinal;     /* which of its kind, from 0: Device of device.h */
} fourfold_plan_options;
/* The defaults: everything is left to the library. */
fourfold_status fourfold_plan_options_init(fourfold_plan_options *options, size_t struct_size);

/* --------------------------------------------------------------------------------------------------- plan: life, queries */

/* Algorithm, variants and workspace layout for one problem. Immutable: any number of threads may use one at once. */
typedef struct fourfold_plan fourfold_plan;

/* *plan becomes a new plan, or NULL on failure. options may be NULL: the defaults. */
fourfold_status fourfold_plan_create(const fourfold_problem *problem, const fourfold_plan_options *options, fourfold_plan **plan);
/* NULL is allowed. */
void fourfold_plan_destroy(fourfold_plan *plan);

/* What decided for a plan: Tier of plan.h; tuning.h has their order. */
enum fourfold_tier {
    FOURFOLD_TIER_CALLER = 0,
    FOURFOLD_TIER_ENVIRONMENT = 1,
    FOURFOLD_TIER_RECORD = 2,
    FOURFOLD_TIER_NEIGHBOURS = 3,
    FOURFOLD_TIER_FAMILY = 4,
    FOURFOLD_TIER_COST_MODEL = 5,
    FOURFOLD_TIER_REFERENCE = 6,
    FOURFOLD_TIER_MEASURED = 7
};

/* What a plan needs and what was chosen for it. */
typedef struct fourfold_plan_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    const char *variant;             /* the main stage's variant; the plan owns it */
    int32_t algorithm;               /* enum fourfold_algorithm */
    int32_t threads;                 /* of execute, at most */
    size_t workspace_bytes;          /* that execute needs when filters are packed */
    size_t workspace_bytes_unpacked; /* when they are not; enough for pack_filters too */
    size_t packed_filter_bytes;      /* 0 where there are no filters to pack */
    double predicted_seconds;        /* of one execution, by the cost model */
    const char *choice;              /* all that was chosen, as fourfold_plan_options takes it; the plan owns it */
    const char *decided_by;          /* what decided, in words; the plan owns it */
    int32_t tier;                    /* enum fourfold_tier: what decided */
    int32_t device;                  /* enum fourfold_device: where the tensors, packed filters and workspace of an execution must lie */
    int32_t device_ordinal;          /* which of its kind */
} fourfold_plan_info;
/* The caller sets info->struct_size = sizeof(fourfold_plan_info). */
fourfold_status fourfold_plan_query(const fourfold_plan *plan, fourfold_plan_info *info);
/* The problem that the plan was made for. */
fourfold_status fourfold_plan_problem(const fourfold_plan *plan, fourfold_problem *problem, size_t struct_size);
/* Several lines for people; buffer, capacity and length as in fourfold_problem_print. */
fourfold_status fourfold_plan_describe(const fourfold_plan *plan, char *buffer, size_t capacity, size_t *length);

/* ---------------------------------------------------------------------------------------------------------- execution */

/* Rank-4 views of the caller's float32 memory: element (a, b, c, d) at data[a*strides[0] + ... + d*strides[3]], the dimensions
 * being (n, channel, row, column) or (oc, ic/groups, row, column) whatever the layout in memory. Strides count elements and are
 * positive. strided == 0: dense in the problem's layout, strides ignored. See tensor.h for what is allowed. */
typedef struct fourfold_const_view {
    const float *data;  /* the first element; NULL: left out */
    int64_t strides[4]; /* elements between neighbours in each dimension */
    int32_t strided;    /* not 0: by the strides above */
} fourfold_const_view;
/* The same, to be written. */
typedef struct fourfold_view {
    float *data;        /* the first element; NULL: left out */
    int64_t strides[4]; /* elements between neighbours in each dimension */
    int32_t strided;    /* not 0: by the strides above */
} fourfold_view;

/* The arguments of one execution; zero for what the operation does not use. Inputs may not overlap outputs.
 *
 *     fwd           input, filters, bias, residual -> output
 *     bwd-data      grad_output, filters, bias, residual -> grad_input
 *     bwd-filters   input, grad_output -> grad_filters, and grad_bias where it is given
 *     unfold        input -> output, the columns as (b, ic, f0*f1, o0*o1)
 *     fold          input, the columns -> output, of x's shape */
typedef struct fourfold_tensors {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    fourfold_const_view input;       /* x, or columns */
    fourfold_const_view filters;     /* w, as they are; ignored when packed_filters is given */
    const void *packed_filters;      /* a block that fourfold_plan_pack_filters wrote, or NULL */
    size_t packed_filter_bytes;      /* of that block */
    const float *bias;               /* one value for each channel of what is computed, or NULL */
    fourfold_const_view residual;    /* of the shape of what is computed, when problem.residual */
    fourfold_view output;            /* y, or columns, or what is folded from them */
    fourfold_const_view grad_output; /* y's shape */
    fourfold_view grad_input;        /* x's shape */
    fourfold_view grad_filters;      /* w's shape */
    float *grad_bias;                /* oc values, or NULL */
} fourfold_tensors;

/* Calls job(argument, i) once for each i in [0, jobs), in any order and on any threads, and returns when all have returned.
 * jobs is at most the plan's threads. Jobs never wait for each other. Must not unwind through the library. */
typedef void (*fourfold_job)(void *argument, int index);
/* Where parallel work runs: calls job as said above. executor_data is fourfold_context's. */
typedef void (*fourfold_executor)(void *executor_data, int jobs, fourfold_job job, void *argument);

/* The times of stages; see below. */
typedef struct fourfold_profile fourfold_profile;

/* Where one execution runs, and what it reports to. */
typedef struct fourfold_context {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    fourfold_executor executor; /* where parallel work runs; NULL: the library's own pool */
    void *executor_data;        /* given to it as it is */
    fourfold_profile *profile;  /* filled when given */
    void *stream;               /* a GPU's stream; unused on the CPU */
} fourfold_context;

/* Brings filters into the form that execute reads. The block may be saved and reused by an equal plan of the same build.
 * Blocks and workspaces are aligned to FOURFOLD_ALIGNMENT. context may be NULL. */
fourfold_status fourfold_plan_pack_filters(const fourfold_plan *plan, const fourfold_const_view *filters, void *packed, size_t packed_bytes,
                                           void *workspace, size_t workspace_bytes, const fourfold_context *context);
/* Computes the problem. Allocates nothing unless it fails; writes only to the outputs and the workspace, which must not be
 * shared with a concurrent call. context may be NULL. After FOURFOLD_INVALID_ARGUMENT the outputs are untouched. */
fourfold_status fourfold_plan_execute(const fourfold_plan *plan, const fourfold_tensors *tensors, void *workspace, size_t workspace_bytes,
                                      const fourfold_context *context);

/* -------------------------------------------------------------------------------------------------------------- layer */

/* A convolution that owns plan, packed filters and workspace: Conv2dLayer of layer.h. It sees the filters' values, so filters of
 * rank one (blurs, Sobel) are computed as two passes where records or the cost model say that is faster. One call of fourfold_layer_run at a time. */
typedef struct fourfold_layer fourfold_layer;
/* *layer becomes a new layer for a forward or bwd-data problem, or NULL on failure. filters (oc, ic/groups, f0, f1) and bias (one value
 * for each channel of the result, or NULL) are read here and not needed afterwards. options may be NULL: the defaults. */
fourfold_status fourfold_layer_create(const fourfold_problem *problem, const fourfold_const_view *filters, const float *bias,
                                      const fourfold_plan_options *options, fourfold_layer **layer);
/* NULL is allowed. */
void fourfold_layer_destroy(fourfold_layer *layer);

/* What a layer owns and how it computes. */
typedef struct fourfold_layer_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    size_t workspace_bytes;     /* that the layer owns */
    size_t packed_filter_bytes; /* the same of filters; 0 where separable */
    double predicted_seconds;   /* of one run, by the cost model */
    int32_t separable;          /* whether the filters are of rank one and computed as two passes */
} fourfold_layer_info;
/* The caller sets info->struct_size = sizeof(fourfold_layer_info). */
fourfold_status fourfold_layer_query(const fourfold_layer *layer, fourfold_layer_info *info);
/* Several lines for people; buffer, capacity and length as in fourfold_problem_print. */
fourfold_status fourfold_layer_describe(const fourfold_layer *layer, char *buffer, size_t capacity, size_t *length);
/* fwd: x -> y, bwd-data: gy -> gx. residual, of the output's shape, is needed where the problem says so and NULL otherwise. Allocates
 * nothing unless it fails. context may be NULL. After FOURFOLD_INVALID_ARGUMENT the output is untouched. */
fourfold_status fourfold_layer_run(fourfold_layer *layer, const fourfold_const_view *input, const fourfold_view *output,
                                   const fourfold_const_view *residual, const fourfold_context *context);

/* --------------------------------------------------------------------------------------------------- spectral product */

/* Products of complex64 half spectra that the caller keeps, summed over channels, and their gradients: SpectralPlan of spectral.h.
 * Complex numbers are pairs of floats, real part first; a frequency is a pair (row, column) of `height` x `half_width`.
 *
 *     FOURFOLD_FORWARD            y[b,f,k] = sum_c x[b,f,c] w[f,c,k]
 *     FOURFOLD_BACKWARD_DATA      gx[b,f,c] = sum_k gy[b,f,k] conj(w[f,c,k])
 *     FOURFOLD_BACKWARD_FILTERS   gw[f,c,k] = sum_b conj(x[b,f,c]) gy[b,f,k] */
enum fourfold_spectral_order {
    FOURFOLD_BIJC = 0, /* x (b, i0, i1h, ic)   w (i0, i1h, ic, oc)   y (b, i0, i1h, oc) */
    FOURFOLD_BCIJ = 1  /* x (b, ic, i0, i1h)   w (oc, ic, i0, i1h)   y (b, oc, i0, i1h) */
};
/* A product of half spectra: SpectralProblem of spectral.h. */
typedef struct fourfold_spectral_problem {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t operation; /* enum fourfold_operation: forward or one of the gradients */
    int32_t order;     /* enum fourfold_spectral_order */
    int64_t batch;        /* images */
    int64_t in_channels;  /* of x */
    int64_t height;       /* rows of a spectrum: those of the image */
    int64_t half_width;   /* columns of a half spectrum: width / 2 + 1 */
    int64_t out_channels; /* of y */
} fourfold_spectral_problem;
/* The defaults: forward, FOURFOLD_BIJC, every size 1. */
fourfold_status fourfold_spectral_problem_init(fourfold_spectral_problem *problem, size_t struct_size);
/* Reads the one-line form, e.g. "spectral b128 ic32 i28x15 oc64 bcij"; as fourfold_problem_parse. */
fourfold_status fourfold_spectral_problem_parse(fourfold_spectral_problem *problem, size_t struct_size, const char *text);
/* Writes it; as fourfold_problem_print. */
fourfold_status fourfold_spectral_problem_print(const fourfold_spectral_problem *problem, char *buffer, size_t capacity, size_t *length);
/* FOURFOLD_OK, or FOURFOLD_INVALID_ARGUMENT with a message that names the offending values. */
fourfold_status fourfold_spectral_problem_validate(const fourfold_spectral_problem *problem);
/* 8*b*ic*oc*i0*i1h operations of real numbers: a complex multiplication with its addition has eight. */
fourfold_status fourfold_spectral_problem_flops(const fourfold_spectral_problem *problem, double *flops);

/* How a spectral plan computes. */
typedef struct fourfold_spectral_options {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t threads;     /* as of a plan */
    const char *variant; /* of complex_gemm or, for FOURFOLD_BCIJ, complex_multiply, by name; NULL: chosen */
} fourfold_spectral_options;
/* The defaults: all threads, the variant chosen. */
fourfold_status fourfold_spectral_options_init(fourfold_spectral_options *options, size_t struct_size);

/* Immutable: any number of threads may use one at once. */
typedef struct fourfold_spectral_plan fourfold_spectral_plan;
/* *plan becomes a new plan, or NULL on failure, FOURFOLD_UNSUPPORTED where a block-list leaves no variant. options may be NULL: the defaults. */
fourfold_status fourfold_spectral_plan_create(const fourfold_spectral_problem *problem, const fourfold_spectral_options *options, fourfold_spectral_plan **plan);
/* NULL is allowed. */
void fourfold_spectral_plan_destroy(fourfold_spectral_plan *plan);

/* What a spectral plan says of itself. */
typedef struct fourfold_spectral_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    const char *variant; /* the plan owns it */
    int32_t threads;                 /* of execute, at most */
    size_t workspace_bytes;          /* filters packed */
    size_t workspace_bytes_unpacked; /* filters as they are */
    size_t packed_filter_bytes;      /* 0 for FOURFOLD_BACKWARD_FILTERS */
} fourfold_spectral_info;
/* The caller sets info->struct_size = sizeof(fourfold_spectral_info). */
fourfold_status fourfold_spectral_plan_query(const fourfold_spectral_plan *plan, fourfold_spectral_info *info);

/* Several lines for people; buffer, capacity and length as in fourfold_problem_print. */
fourfold_status fourfold_spectral_plan_describe(const fourfold_spectral_plan *plan, char *buffer, size_t capacity, size_t *length);

/* Views (n, channel, row, column), filters (oc, ic, row, column), whatever the order in memory; strides count complex numbers.
 * strided == 0: dense in the problem's order. See spectral.h for what is allowed. */
typedef struct fourfold_const_spectrum {
    const float *data;  /* pairs (real, imaginary); NULL: left out */
    int64_t strides[4]; /* complex numbers between neighbours in each dimension */
    int32_t strided;    /* not 0: by the strides above */
} fourfold_const_spectrum;
/* Complex numbers to write, as fourfold_const_spectrum. */
typedef struct fourfold_spectrum {
    float *data;        /* pairs (real, imaginary); NULL: left out */
    int64_t strides[4]; /* complex numbers between neighbours in each dimension */
    int32_t strided;    /* not 0: by the strides above */
} fourfold_spectrum;

/* Zero for what the operation does not use. Inputs may not overlap outputs.
 *
 *     forward       input, filters -> output
 *     bwd-data      grad_output, filters -> grad_input
 *     bwd-filters   input, grad_output -> grad_filters */
typedef struct fourfold_spectral_tensors {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    fourfold_const_spectrum input;       /* x */
    fourfold_const_spectrum filters;     /* w; ignored when packed_filters is given */
    const void *packed_filters;          /* a block that fourfold_spectral_plan_pack_filters wrote, or NULL */
    size_t packed_filter_bytes;          /* of that block */
    fourfold_spectrum output;            /* y */
    fourfold_const_spectrum grad_output; /* gy */
    fourfold_spectrum grad_input;        /* gx */
    fourfold_spectrum grad_filters;      /* gw */
    int32_t accumulate;                  /* not 0: adds to what the result holds */
} fourfold_spectral_tensors;

/* As fourfold_plan_pack_filters; needs no workspace, and the block serves equal plans of any batch. context may be NULL. */
fourfold_status fourfold_spectral_plan_pack_filters(const fourfold_spectral_plan *plan, const fourfold_const_spectrum *filters, void *packed,
                                                    size_t packed_bytes, const fourfold_context *context);
/* Computes the problem; as fourfold_plan_execute. context may be NULL. */
fourfold_status fourfold_spectral_plan_execute(const fourfold_spectral_plan *plan, const fourfold_spectral_tensors *tensors, void *workspace,
                                               size_t workspace_bytes, const fourfold_context *context);

/* Images to half spectra and back, with the conventions of NumPy's rfft2 and irfft2: SpectralTransform of spectral.h. */
typedef struct fourfold_spectral_transform fourfold_spectral_transform;
/* How transforms are planned. */
typedef struct fourfold_spectral_transform_options {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t threads;     /* as of a plan */
    int32_t fft_backend; /* enum fourfold_fft_backend */
    int32_t fft_rigor;   /* enum fourfold_fft_rigor */
} fourfold_spectral_transform_options;
/* The defaults: all threads, the build's own library. */
fourfold_status fourfold_spectral_transform_options_init(fourfold_spectral_transform_options *options, size_t struct_size);
/* For images of height x width, spectra in `order` (enum fourfold_spectral_order). options may be NULL. */
fourfold_status fourfold_spectral_transform_create(int64_t height, int64_t width, int32_t order, const fourfold_spectral_transform_options *options,
                                                   fourfold_spectral_transform **transform);
/* NULL is allowed. */
void fourfold_spectral_transform_destroy(fourfold_spectral_transform *transform);
/* Bytes that each of the three below needs. */
fourfold_status fourfold_spectral_transform_workspace(const fourfold_spectral_transform *transform, size_t *bytes);
/* images (batch, channels, height, width), spectra in the transform's order, height x (width/2 + 1) frequencies; all dense. */
fourfold_status fourfold_spectral_transform_forward(const fourfold_spectral_transform *transform, const float *images, int64_t batch, int64_t channels,
                                                    float *spectra, void *workspace, size_t workspace_bytes, const fourfold_context *context);
/* The inverse of fourfold_spectral_transform_forward, with the factor 1/(height*width). */
fourfold_status fourfold_spectral_transform_inverse(const fourfold_spectral_transform *transform, const float *spectra, int64_t batch, int64_t channels,
                                                    float *images, void *workspace, size_t workspace_bytes, const fourfold_context *context);
/* Spectra of filters (oc, ic, f0, f1) of a problem with stride 1 and one group, for circular convolution. */
fourfold_status fourfold_spectral_transform_filters(const fourfold_spectral_transform *transform, const fourfold_problem *problem, const float *filters,
                                                    float *spectra, void *workspace, size_t workspace_bytes, const fourfold_context *context);

/* ------------------------------------------------------------------------------------------------------ training step */

/* Forward and both gradients on spectra that the caller keeps, so that x, w and gy are transformed once each: TrainingPlan of
 * training.h, which has the equations and says where it pays. Immutable: any number of threads may use one at once, each with a
 * workspace of its own. Spectra live in the caller's blocks, aligned to FOURFOLD_ALIGNMENT, as large as fourfold_training_info says;
 * each is marked with the step, any number from 0 on. The products refuse blocks of another kind or plan and two blocks of different
 * steps. */
typedef struct fourfold_training_plan fourfold_training_plan;
/* How a training plan computes. */
typedef struct fourfold_training_options {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t threads;        /* as of a plan */
    int32_t fft_backend;    /* enum fourfold_fft_backend */
    int32_t fft_rigor;      /* enum fourfold_fft_rigor */
    size_t workspace_limit; /* bytes, without the spectra; SIZE_MAX: none */
} fourfold_training_options;
/* The defaults: all threads, the build's own library, no limit. */
fourfold_status fourfold_training_options_init(fourfold_training_options *options, size_t struct_size);
/* For a forward problem without residual and post-op. *plan becomes a new plan, or NULL on failure. options may be NULL: the defaults. */
fourfold_status fourfold_training_plan_create(const fourfold_problem *problem, const fourfold_training_options *options, fourfold_training_plan **plan);
/* NULL is allowed. */
void fourfold_training_plan_destroy(fourfold_training_plan *plan);

/* What a training plan needs. */
typedef struct fourfold_training_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t threads;               /* at most so many at a time */
    int32_t fft_backend;           /* enum fourfold_fft_backend: the library that transforms */
    size_t input_spectra_bytes;    /* of the block X */
    size_t filter_spectra_bytes;   /* of the block W, which plans of other batches may share */
    size_t gradient_spectra_bytes; /* of the block G */
    size_t workspace_bytes;        /* enough for every call */
} fourfold_training_info;
/* The caller sets info->struct_size = sizeof(fourfold_training_info). */
fourfold_status fourfold_training_plan_query(const fourfold_training_plan *plan, fourfold_training_info *info);
/* Several lines for people; buffer, capacity and length as in fourfold_problem_print. */
fourfold_status fourfold_training_plan_describe(const fourfold_training_plan *plan, char *buffer, size_t capacity, size_t *length);

/* x (b, ic, i0, i1) -> X, marked with the step. context may be NULL in all six; after FOURFOLD_INVALID_ARGUMENT what would have been
 * written is untouched. */
fourfold_status fourfold_training_plan_transform_input(const fourfold_training_plan *plan, const fourfold_const_view *input, int64_t step,
                                                       void *input_spectra, size_t input_spectra_bytes, void *workspace, size_t workspace_bytes,
                                                       const fourfold_context *context);
/* w (oc, ic/groups, f0, f1) -> W, marked with the step. */
fourfold_status fourfold_training_plan_transform_filters(const fourfold_training_plan *plan, const fourfold_const_view *filters, int64_t step,
                                                         void *filter_spectra, size_t filter_spectra_bytes, void *workspace, size_t workspace_bytes,
                                                         const fourfold_context *context);
/* gy (b, oc, o0, o1) -> G, marked with the step. */
fourfold_status fourfold_training_plan_transform_gradient(const fourfold_training_plan *plan, const fourfold_const_view *grad_output, int64_t step,
                                                          void *gradient_spectra, size_t gradient_spectra_bytes, void *workspace,
                                                          size_t workspace_bytes, const fourfold_context *context);
/* X, W -> y (b, oc, o0, o1). bias: oc values, or NULL. */
fourfold_status fourfold_training_plan_forward(const fourfold_training_plan *plan, const void *input_spectra, size_t input_spectra_bytes,
                                               const void *filter_spectra, size_t filter_spectra_bytes, const float *bias, const fourfold_view *output,
                                               void *workspace, size_t workspace_bytes, const fourfold_context *context);
/* G, W -> gx (b, ic, i0, i1). */
fourfold_status fourfold_training_plan_backward_data(const fourfold_training_plan *plan, const void *gradient_spectra, size_t gradient_spectra_bytes,
                                                     const void *filter_spectra, size_t filter_spectra_bytes, const fourfold_view *grad_input,
                                                     void *workspace, size_t workspace_bytes, const fourfold_context *context);
/* X, G -> gw (oc, ic/groups, f0, f1). grad_bias: oc values, or NULL. */
fourfold_status fourfold_training_plan_backward_filters(const fourfold_training_plan *plan, const void *input_spectra, size_t input_spectra_bytes,
                                                        const void *gradient_spectra, size_t gradient_spectra_bytes, const fourfold_view *grad_filters,
                                                        float *grad_bias, void *workspace, size_t workspace_bytes, const fourfold_context *context);

/* ------------------------------------------------------------------------------------------------------------- memory */

/* Memory aligned to FOURFOLD_ALIGNMENT, or NULL; to be freed by fourfold_free. */
void *fourfold_alloc(size_t bytes);
/* NULL is allowed. */
void fourfold_free(void *memory);

/* --------------------------------------------------------------------------------------------------------------- GPUs */

/* A plan of a GPU (fourfold_plan_options' device) reads and writes the device's memory: every pointer given to it is one of the device's,
 * and fourfold_context's stream, a CUstream or NULL for the device's own, has the work, unfinished, when fourfold_plan_execute returns.
 * device is an enum fourfold_device, ordinal which of its kind, from 0. See device.h for whose memory serves. */
typedef struct fourfold_device_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t device;        /* enum fourfold_device */
    int32_t ordinal;       /* which of its kind */
    const char *name;      /* "NVIDIA H100 80GB HBM3"; texts are valid during the call of `each` */
    const char *driver;    /* "CUDA 13.0", "OpenCL 3.0 PoCL ..." */
    size_t memory_bytes;   /* of the device's own memory */
    int32_t compute_units; /* multiprocessors */
    int32_t capability;    /* CUDA's compute capability, 90 for 9.0; 0 on OpenCL */
} fourfold_device_info;
/* Calls each(data, info) for every GPU that this build can use now. */
fourfold_status fourfold_list_devices(void (*each)(void *data, const fourfold_device_info *info), void *data);

/* Memory of a device: DeviceBuffer of device.h. */
typedef struct fourfold_device_buffer fourfold_device_buffer;
/* *buffer becomes new memory, or NULL on failure. FOURFOLD_UNSUPPORTED where there is no such device, with the reason. */
fourfold_status fourfold_device_buffer_create(int32_t device, int32_t ordinal, size_t bytes, fourfold_device_buffer **buffer);
/* The device's address, which the CPU must not read through; NULL when buffer is NULL or has no bytes. */
void *fourfold_device_buffer_data(const fourfold_device_buffer *buffer);
/* NULL is allowed. What still runs must not use it. */
void fourfold_device_buffer_destroy(fourfold_device_buffer *buffer);

/* Copies from the host to a device, in the order of the stream, and returns after the copy. */
fourfold_status fourfold_copy_to_device(int32_t device, int32_t ordinal, void *to, const void *from, size_t bytes, void *stream);
/* The other way. */
fourfold_status fourfold_copy_to_host(int32_t device, int32_t ordinal, void *to, const void *from, size_t bytes, void *stream);
/* Waits for all that was put into the stream, and reports what failed there. */
fourfold_status fourfold_synchronize(int32_t device, int32_t ordinal, void *stream);

/* A plan of a GPU for tensors of the host, with memory of its own on the device: StagedPlan of staged_plan.h. One call at a time. */
typedef struct fourfold_staged_plan fourfold_staged_plan;
/* *plan becomes a new plan, or NULL on failure, within device_bytes of the device's memory or what is free there (SIZE_MAX: that). A forward
 * convolution that needs more is done in pieces. options name the device. */
fourfold_status fourfold_staged_plan_create(const fourfold_problem *problem, const fourfold_plan_options *options, size_t device_bytes,
                                            fourfold_staged_plan **plan);
/* NULL is allowed. */
void fourfold_staged_plan_destroy(fourfold_staged_plan *plan);
/* How many pieces an execution has; 1 where everything is on the device at once. */
fourfold_status fourfold_staged_plan_pieces(const fourfold_staged_plan *plan, int64_t *pieces);
/* Several lines for people, of a piece's plan; buffer, capacity and length as in fourfold_problem_print. */
fourfold_status fourfold_staged_plan_describe(const fourfold_staged_plan *plan, char *buffer, size_t capacity, size_t *length);
/* Filters of the host to the device, packed there. context may be NULL. */
fourfold_status fourfold_staged_plan_pack_filters(fourfold_staged_plan *plan, const fourfold_const_view *filters, const fourfold_context *context);
/* As fourfold_plan_execute with all tensors in the host's memory; returns when the results are there. Where tensors->filters is given it is
 * packed first, otherwise fourfold_staged_plan_pack_filters must have been called. context may be NULL. */
fourfold_status fourfold_staged_plan_execute(fourfold_staged_plan *plan, const fourfold_tensors *tensors, const fourfold_context *context);

/* ------------------------------------------------------------------------------------------- profile, explain, listings */

/* The sum of one stage's calls. */
typedef struct fourfold_stage {
    const char *name; /* "pad", "gemm", ...; static */
    int64_t calls;    /* of its kernels */
    double seconds;   /* summed over threads */
} fourfold_stage;

/* Adds up the time spent in each stage, over any number of executions and threads. */
fourfold_status fourfold_profile_create(fourfold_profile **profile);
/* NULL is allowed. */
void fourfold_profile_destroy(fourfold_profile *profile);
/* Back to no stages. Not while an execution uses it. */
fourfold_status fourfold_profile_reset(fourfold_profile *profile);
/* Writes at most capacity stages, in the order of first use; *count becomes the number of all. stages may be NULL when
 * capacity is 0. */
fourfold_status fourfold_profile_stages(const fourfold_profile *profile, fourfold_stage *stages, size_t capacity, size_t *count);

/* One algorithm's answer to a problem. */
typedef struct fourfold_candidate {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    int32_t algorithm; /* enum fourfold_algorithm */
    int32_t supported;   /* whether it can compute the problem */
    int32_t chosen;      /* whether fourfold_plan_create takes it */
    const char *reason;  /* why not; or what decided. Text is valid during the call of `each`. */
    const char *variant; /* the main stage's variant */
    double predicted_seconds;   /* by the cost model */
    size_t workspace_bytes;     /* as in fourfold_plan_info */
    size_t packed_filter_bytes; /* as in fourfold_plan_info */
    const char *choice;       /* as fourfold_plan_options takes it */
    double corrected_seconds; /* as measurements correct the prediction, for one thread: what candidates were ranked by */
} fourfold_candidate;
/* Calls each(data, candidate) for every algorithm. options may be NULL. */
fourfold_status fourfold_explain(const fourfold_problem *problem, const fourfold_plan_options *options,
                                 void (*each)(void *data, const fourfold_candidate *candidate), void *data);
/* Calls each(data, candidate) for every plan that the options admit, best prediction first: what a tuner times, each with the choice that
 * makes it again. options may be NULL. */
fourfold_status fourfold_list_choices(const fourfold_problem *problem, const fourfold_plan_options *options,
                                      void (*each)(void *data, const fourfold_candidate *candidate), void *data);

/* One compiled stage. */
typedef struct fourfold_variant {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    const char *name;       /* "<stage>_<isa>[_<parameters>]" */
    const char *stage;      /* the generator's stem */
    const char *isa;        /* "avx512", "avx2", "generic" */
    const char *parameters; /* "m=8 n=3" */
    int32_t runnable;       /* on this machine, under the environment's cap */
    const char *hash;       /* of its machine code: 16 hexadecimal digits */
} fourfold_variant;
/* Calls each(data, variant) for every variant in this build; the texts are valid during the call. */
fourfold_status fourfold_list_variants(void (*each)(void *data, const fourfold_variant *variant), void *data);

/* This machine, as plans are chosen for it. */
typedef struct fourfold_machine {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    const char *cpu;               /* texts are static */
    const char *microarchitecture; /* "zen5", ...; "x86-64" when unknown */
    const char *isa;               /* the highest rung in use, under the environment's FOURFOLD_ISA */
    int32_t hardware_threads;      /* that may run at a time */
    size_t l1_bytes;               /* data cache of a core */
    size_t l2_bytes;               /* cache of a core */
    size_t l3_bytes;               /* cache that cores share */
} fourfold_machine;
/* The caller sets machine->struct_size = sizeof(fourfold_machine). */
fourfold_status fourfold_machine_query(fourfold_machine *machine);

/* Writes at most capacity of those built in (enum fourfold_fft_backend), the default first; *count becomes the number of all. backends may
 * be NULL when capacity is 0. */
fourfold_status fourfold_fft_backends(int32_t *backends, size_t capacity, size_t *count);
/* FFTW's accumulated planning knowledge as text; buffer, capacity and length as in fourfold_problem_print. FOURFOLD_UNSUPPORTED in a build
 * without FFTW. */
fourfold_status fourfold_export_fft_wisdom(char *buffer, size_t capacity, size_t *length);
/* Takes what fourfold_export_fft_wisdom gave. */
fourfold_status fourfold_import_fft_wisdom(const char *wisdom);

/* -------------------------------------------------------------------------------------------- tables of measured plans */

/* One loaded table: TableInfo of tuning.h. */
typedef struct fourfold_table_info {
    size_t struct_size; /* sizeof this struct, as the caller knows it */
    const char *name;   /* the file; valid during the call of `each`, or what the caller named it */
    int32_t shipped;    /* whether it is built in */
    int32_t records;    /* in use */
    int32_t stale;      /* skipped: they name a variant that this build has not, or has with other contents */
    int32_t foreign;    /* skipped: of another ISA level, or of a GPU target that this build has not */
    int32_t unreadable; /* skipped: lines that are no records */
    int32_t torn;       /* whether the last line was cut off, and skipped */
} fourfold_table_info;
/* Loads a table, as `fourfold tune` writes it, on top of those there are: where it has records of a problem, they come first. Plans made
 * before keep their choices. info, unless NULL, becomes what was read, with the struct_size that the caller set. FOURFOLD_INVALID_ARGUMENT
 * when the file cannot be read or is no table; single lines that cannot be used are skipped and counted. */
fourfold_status fourfold_load_table(const char *path, fourfold_table_info *info);
/* The same from memory; name is what explanations will call it. */
fourfold_status fourfold_load_table_text(const char *name, const char *text, fourfold_table_info *info);
/* Back to no tables at all, or where keep_shipped is not 0 to the shipped ones. FOURFOLD_TABLE's are not loaded again. */
fourfold_status fourfold_unload_tables(int32_t keep_shipped);
/* Calls each(data, info) for those that decide now, in the order in which they were loaded; the last is asked first. */
fourfold_status fourfold_list_tables(void (*each)(void *data, const fourfold_table_info *info), void *data);
/* Bars algorithms and variants by name for the whole process, besides FOURFOLD_BLOCK and fourfold_plan_options' blocked; replaces what was
 * barred by an earlier call. names may be NULL when count is 0. */
fourfold_status fourfold_block_choices(const char *const *names, size_t count);

#ifdef __cplusplus
}
#endif

#endif
