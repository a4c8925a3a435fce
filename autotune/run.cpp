// fourfold run: one convolution of arrays or of an image.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "bad.h"
#include "commands.h"
#include "files.h"
#include "fourfold/layer.h"
#include "fourfold/staged_plan.h"
#include "image.h"
#include "image_strips.h"
#include "named_filters.h"
#include "npy.h"
#include "shapes.h"
#include "text.h"

namespace fourfold::cli {
namespace {

struct RunFlags {
    std::string problem, input, filters, bias, residual, output, bias_output;
    bool problem_given = false;
    std::string algorithm = "auto";
    std::string stride = "1", dilation = "1", padding, padding_mode, filter_mode = "correlation", layout = "nchw";
    std::string mode, boundary;  ///< SciPy's names of padding and padding mode
    double fill_value = 0.0;
    int64_t groups = 1;
    bool groups_given = false, layout_given = false;
    bool raw = false, absolute = false;
    std::string device_memory;
    PlanFlags plan;
};

using Shape4 = std::vector<int64_t>;

Shape4 image_shape(Layout layout, int64_t n, int64_t c, int64_t h, int64_t w) {
    return layout == Layout::kNchw ? Shape4{n, c, h, w} : Shape4{n, h, w, c};
}
Shape4 input_shape(const Conv2dProblem &p) {
    return image_shape(p.layout, p.batch, p.in_channels, p.in_height, p.in_width);
}
Shape4 output_shape(const Conv2dProblem &p) {
    return image_shape(p.layout, p.batch, p.out_channels, p.out_height(), p.out_width());
}
Shape4 filter_shape(const Conv2dProblem &p) {
    return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
}

/// Columns in a file: (b, ic*f0*f1, o0*o1).
Shape4 column_shape(const Conv2dProblem &p) {
    return {p.batch, p.in_channels * p.filter_height * p.filter_width, p.out_height() * p.out_width()};
}

/// What the files of an operation hold: fwd: x, w -> y. bwd-data: gy, w -> gx. bwd-filters: x, gy -> gw. unfold: x -> columns.
/// fold: columns -> x.
struct Roles {
    Shape4 input, filters, output;
    int64_t channels;  ///< of the bias, read or written
};
Roles roles(const Conv2dProblem &p) {
    switch (p.operation) {
    case Operation::kBackwardData:
        return {output_shape(p), filter_shape(p), input_shape(p), p.in_channels};
    case Operation::kBackwardFilters:
        return {input_shape(p), output_shape(p), filter_shape(p), p.out_channels};
    case Operation::kUnfold:
        return {input_shape(p), {}, column_shape(p), 0};
    case Operation::kFold:
        return {column_shape(p), {}, input_shape(p), 0};
    default:
        return {input_shape(p), filter_shape(p), output_shape(p), p.out_channels};
    }
}

/// Filters in a file have one order, whatever the images' layout: say so with strides.
template<typename T>
TensorView<T> filter_view(const Conv2dProblem &p, T *data) {
    const Shape4 w = filter_shape(p);
    return p.layout == Layout::kNchw ? TensorView<T>(data) : TensorView<T>(data, w[1] * w[2] * w[3], w[2] * w[3], w[3], 1);
}

Status expect_shape(const std::string &file, const Shape4 &actual, const Shape4 &expected, const Conv2dProblem &p) {
    if (actual == expected) {
        return {};
    }
    return bad(fmt::format("'{}' has shape {}; expected {} for '{}'", file, shape_text(actual), shape_text(expected), p.to_string()));
}

/// What --input and --filters hold; of each pair one is set.
struct Inputs {
    std::optional<Array> array;
    std::optional<Image> image;
    std::optional<NamedFilter> named;
    std::optional<Array> filters;
};

Result<Inputs> read_inputs(const RunFlags &flags) {
    Inputs in;
    const Result<std::string> bytes = read_file(flags.input);
    if (!bytes) {
        return bytes.status();
    }
    if (looks_like_image(*bytes)) {
        Result<Image> image = decode_image(*bytes, flags.input);
        if (!image) {
            return image.status();
        }
        in.image = std::move(*image);
        if (in.image->more_pages) {
            fmt::print(stderr, "fourfold: '{}' has several pages; the first is taken\n", flags.input);
        }
    } else if (has_image_extension(flags.input)) {
        return bad(fmt::format("'{}': not a PNG, JPEG, PGM, PPM or TIFF image", flags.input));
    } else if (const std::string e = lower_extension(flags.input); bytes->rfind("\x93NUMPY", 0) != 0 && e != "npy" && !e.empty()) {
        return bad(fmt::format("'{}' is neither an array (.npy) nor a PNG, JPEG, PGM, PPM or TIFF image", flags.input));
    } else {
        Result<Array> array = parse_npy(*bytes, flags.input);
        if (!array) {
            return array.status();
        }
        in.array = std::move(*array);
    }
    if (flags.filters.empty()) {
        return in;
    }
    if (is_filter_name(flags.filters)) {
        Result<NamedFilter> named = make_named_filter(flags.filters);
        if (!named) {
            return named.status();
        }
        in.named = std::move(*named);
        return in;
    }
    Result<Array> filters = read_npy(flags.filters);
    if (!filters) {
        return lower_extension(flags.filters) == "npy" ? filters.status() : bad(fmt::format("{} (as a name, --filters takes {})", filters.status().message(), filter_names()));
    }
    in.filters = std::move(*filters);
    if (in.image && in.filters->shape.size() == 2) {
        in.filters->shape.insert(in.filters->shape.begin(), {1, 1});
    }
    return in;
}

/// SciPy's "same" is the middle of "full". With an even filter ours has the odd row or column of padding on the other side, and
/// with a stride it starts elsewhere.
Status check_scipy_same(const Conv2dProblem &p) {
    const bool even = p.dilation_h * (p.filter_height - 1) % 2 != 0 || p.dilation_w * (p.filter_width - 1) % 2 != 0;
    if (!even && p.stride_h == 1 && p.stride_w == 1) {
        return {};
    }
    return bad(fmt::format("--mode same is SciPy's only for odd filters and stride 1; for {}x{} with stride {}x{} give --padding top,bottom,left,right, or --padding same for TensorFlow's", p.filter_height,
                           p.filter_width, p.stride_h, p.stride_w));
}

/// Fills what is not in the input: filter sizes, strides, modes, padding.
Status apply_flags(const RunFlags &flags, const Inputs &in, Conv2dProblem &p) {
    if (in.named) {
        p.filter_height = in.named->height;
        p.filter_width = in.named->width;
    } else {
        p.filter_height = in.filters->shape[2];
        p.filter_width = in.filters->shape[3];
    }
    const auto stride = parse_pair(flags.stride, "stride"), dilation = parse_pair(flags.dilation, "dilation");
    if (!stride || !dilation) {
        return stride ? dilation.status() : stride.status();
    }
    std::tie(p.stride_h, p.stride_w) = *stride;
    std::tie(p.dilation_h, p.dilation_w) = *dilation;
    if (flags.filter_mode == "convolution" || flags.filter_mode == "conv") {
        p.filter_mode = FilterMode::kConvolution;
    } else if (flags.filter_mode != "correlation") {
        return bad(fmt::format("filter mode '{}' is neither correlation nor convolution", flags.filter_mode));
    }
    const std::string padding = !flags.padding.empty() ? flags.padding : !flags.mode.empty() ? flags.mode : in.image ? "same" : "valid";
    if (Status status = parse_padding(padding, p); !status) {
        return status;
    }
    if (flags.mode == "same") {
        if (Status status = check_scipy_same(p); !status) {
            return status;
        }
    }
    if (!flags.padding_mode.empty()) {
        return parse_padding_mode(flags.padding_mode, p);
    }
    if (!flags.boundary.empty()) {
        p.padding_mode = flags.boundary == "wrap" ? PaddingMode::kCircular : flags.boundary == "symm" ? PaddingMode::kSymmetric : flags.fill_value != 0.0 ? PaddingMode::kConstant : PaddingMode::kZeros;
        p.padding_value = p.padding_mode == PaddingMode::kConstant ? static_cast<float>(flags.fill_value) : 0.0f;
        return {};
    }
    if (in.image) {
        // Reflect needs one more pixel than it pads.
        const bool reflects = std::max(p.pad_top, p.pad_bottom) < p.in_height && std::max(p.pad_left, p.pad_right) < p.in_width;
        const bool mirrors = std::max(p.pad_top, p.pad_bottom) <= p.in_height && std::max(p.pad_left, p.pad_right) <= p.in_width;
        p.padding_mode = reflects ? PaddingMode::kReflect : mirrors ? PaddingMode::kSymmetric : PaddingMode::kReplicate;
    }
    return {};
}

Result<Conv2dProblem> problem_of_image(const RunFlags &flags, const Inputs &in) {
    if (flags.groups_given || flags.layout_given) {
        return bad("--groups and --layout are for arrays; each colour channel of an image is convolved alone");
    }
    Conv2dProblem p;
    p.batch = in.image->colours();
    p.in_height = in.image->height;
    p.in_width = in.image->width;
    if (in.filters && (in.filters->shape.size() != 4 || in.filters->shape[0] != 1 || in.filters->shape[1] != 1)) {
        return bad(fmt::format("'{}' has shape {}; for an image, (f0, f1) or (1, 1, f0, f1) is expected", flags.filters, shape_text(in.filters->shape)));
    }
    if (Status status = apply_flags(flags, in, p); !status) {
        return status;
    }
    return p;
}

Result<Conv2dProblem> problem_of_arrays(const RunFlags &flags, const Inputs &in) {
    Conv2dProblem p;
    if (flags.layout == "nhwc") {
        p.layout = Layout::kNhwc;
    } else if (flags.layout != "nchw") {
        return bad(fmt::format("layout '{}' is neither nchw nor nhwc", flags.layout));
    }
    const bool nchw = p.layout == Layout::kNchw;
    const Shape4 &x = in.array->shape;
    if (x.size() != 4) {
        return bad(fmt::format("'{}' has shape {}; four sizes {} are expected", flags.input, shape_text(x), nchw ? "(b, ic, i0, i1)" : "(b, i0, i1, ic)"));
    }
    p.batch = x[0];
    p.in_channels = nchw ? x[1] : x[3];
    p.in_height = nchw ? x[2] : x[1];
    p.in_width = nchw ? x[3] : x[2];
    if (in.named) {
        if (flags.groups_given && flags.groups != p.in_channels) {
            return bad(fmt::format("a named filter works on each channel alone; --groups must be {} or left out", p.in_channels));
        }
        p.groups = p.out_channels = p.in_channels;
    } else {
        const Shape4 &w = in.filters->shape;
        if (w.size() != 4) {
            return bad(fmt::format("'{}' has shape {}; four sizes (oc, ic/groups, f0, f1) are expected", flags.filters, shape_text(w)));
        }
        p.groups = flags.groups;
        p.out_channels = w[0];
        if (p.groups < 1 || p.in_channels % p.groups != 0 || w[1] != p.in_channels / p.groups) {
            return bad(fmt::format("'{}' has shape {}, that is {} input channels a group; '{}' has {} input channels in {} group{}", flags.filters, shape_text(w), w[1], flags.input,
                                   p.in_channels, p.groups, p.groups == 1 ? "" : "s"));
        }
    }
    if (Status status = apply_flags(flags, in, p); !status) {
        return status;
    }
    return p;
}

/// Whether the given problem describes this image: its colour channels as batch times channels.
Status expect_image(const RunFlags &flags, const Image &image, const Conv2dProblem &p) {
    if (p.layout == Layout::kNhwc) {
        return bad("an image needs a problem in the NCHW layout");
    }
    if (p.in_height != image.height || p.in_width != image.width || p.batch * p.in_channels != image.colours()) {
        return bad(fmt::format("'{}' has {} colour channels of {}x{} pixels; '{}' has {} of {}x{}", flags.input, image.colours(), image.height, image.width, p.to_string(),
                               p.batch * p.in_channels, p.in_height, p.in_width));
    }
    return {};
}

/// The filters as (oc, ic/groups, f0, f1); a named one is repeated for every channel.
Result<std::vector<float>> filters_of(const RunFlags &flags, Inputs &in, const Conv2dProblem &p) {
    if (p.moves_columns()) {
        return std::vector<float>();
    }
    if (in.filters) {
        if (Status status = expect_shape(flags.filters, in.filters->shape, roles(p).filters, p); !status) {
            return status;
        }
        return std::move(in.filters->data);
    }
    if (p.groups != p.in_channels || p.filter_height != in.named->height || p.filter_width != in.named->width) {
        return bad(fmt::format("filter '{}' is {}x{} and works on each channel alone; '{}' has filters {}x{} and {} input channels in {} groups", flags.filters, in.named->height,
                               in.named->width, p.to_string(), p.filter_height, p.filter_width, p.in_channels, p.groups));
    }
    std::vector<float> taps;
    for (int64_t k = 0; k < p.out_channels; ++k) {
        taps.insert(taps.end(), in.named->taps.begin(), in.named->taps.end());
    }
    return taps;
}

Result<AlignedBuffer> allocate(size_t bytes, const char *what) {
    AlignedBuffer buffer(bytes);
    if (bytes > 0 && buffer.data() == nullptr) {
        return Status(StatusCode::kInternal, fmt::format("memory ran out: {} for {}", bytes_text(bytes), what));
    }
    return buffer;
}

/// Plans an operation that reads no filters, and executes it once on the CPU.
Status execute(const Conv2dProblem &problem, const PlanOptions &options, const Tensors &tensors) {
    const Result<Plan> plan = Plan::create(problem, options);
    if (!plan) {
        return plan_failure(plan.status(), options.algorithm);
    }
    const Result<AlignedBuffer> workspace = allocate(plan->workspace_bytes(), "the workspace");
    return workspace ? plan->execute(tensors, *workspace) : workspace.status();
}

/// The same on a GPU, of any operation.
Status execute_on_device(const Conv2dProblem &problem, const PlanOptions &options, size_t device_bytes, const Tensors &tensors) {
    Result<StagedPlan> staged = StagedPlan::create(problem, options, device_bytes);
    return staged ? staged->execute(tensors) : plan_failure(staged.status(), options.algorithm);
}

/// The result as an image of the input's depth. Alpha is kept; where the size changes, each output pixel takes the alpha
/// under its filter's middle.
Image to_image(const Conv2dProblem &p, const Image &source, const std::vector<float> &y) {
    Image image;
    image.height = p.out_height();
    image.width = p.out_width();
    image.bits = source.bits;
    image.channels = p.batch * p.out_channels + (source.has_alpha() ? 1 : 0);
    image.data = y;
    if (image.colours() == source.colours()) {
        image.colour_profile = source.colour_profile;
    }
    if (source.has_alpha()) {
        const float *alpha = source.data.data() + source.colours() * source.height * source.width;
        for (int64_t row = 0; row < image.height; ++row) {
            const int64_t from_row = std::clamp<int64_t>(row * p.stride_h + p.dilation_h * (p.filter_height - 1) / 2 - p.pad_top, 0, source.height - 1);
            for (int64_t column = 0; column < image.width; ++column) {
                const int64_t from_column = std::clamp<int64_t>(column * p.stride_w + p.dilation_w * (p.filter_width - 1) / 2 - p.pad_left, 0, source.width - 1);
                image.data.push_back(alpha[from_row * source.width + from_column]);
            }
        }
    }
    return image;
}

Result<Array> read_optional(const std::string &path, const Shape4 &shape, const Conv2dProblem &p) {
    if (path.empty()) {
        return Array{};
    }
    Result<Array> array = read_npy(path);
    if (array) {
        if (Status status = expect_shape(path, array->shape, shape, p); !status) {
            return status;
        }
    }
    return array;
}

Status run(const RunFlags &flags) {
    Result<PlanOptions> options = to_plan_options(flags.plan, true);
    if (!options) {
        return options.status();
    }
    const Result<Algorithm> algorithm = parse_algorithm(flags.algorithm);
    if (!algorithm) {
        return algorithm.status();
    }
    options->algorithm = *algorithm;
    size_t device_bytes = std::numeric_limits<size_t>::max();
    if (!flags.device_memory.empty()) {
        const Result<size_t> bytes = parse_bytes(flags.device_memory);
        if (!bytes || options->device == Device::kCpu) {
            return bad("--device-memory: " + (bytes ? "device 'cpu' has no memory of its own" : bytes.status().message()));
        }
        device_bytes = *bytes;
    }

    Conv2dProblem problem;
    if (flags.problem_given) {
        const Result<Conv2dProblem> parsed = parse_valid_problem(flags.problem);
        if (!parsed) {
            return parsed.status();
        }
        problem = *parsed;
    }
    const bool forward = problem.operation == Operation::kForward, columns = problem.moves_columns();
    if (problem.operation == Operation::kSpectral) {
        // The planner knows why.
        const Result<Plan> plan = Plan::create(problem, *options);
        return plan ? Status(StatusCode::kUnsupported, "'run' does not do the spectral product") : plan_failure(plan.status(), *algorithm);
    }
    if (flags.filters.empty() != columns) {
        return bad(columns ? fmt::format("'{}' reads no --filters", problem.to_string()) : "--filters is required, except by unfold and fold");
    }

    Result<Inputs> in = read_inputs(flags);
    if (!in) {
        return in.status();
    }
    if (!flags.problem_given) {
        const Result<Conv2dProblem> inferred = in->image ? problem_of_image(flags, *in) : problem_of_arrays(flags, *in);
        if (!inferred) {
            return inferred.status();
        }
        problem = *inferred;
    } else if (Status status = in->image ? expect_image(flags, *in->image, problem) : expect_shape(flags.input, in->array->shape, roles(problem).input, problem); !status) {
        return status;
    }
    if (!forward && (in->image || in->named)) {
        return bad(fmt::format("'{}' works on arrays; images and named filters are for fwd", problem.to_string()));
    }
    if (columns && !(flags.bias.empty() && flags.residual.empty())) {
        return bad(fmt::format("'{}' reads no {}", problem.to_string(), flags.bias.empty() ? "--residual" : "--bias"));
    }
    const bool filter_gradient = problem.operation == Operation::kBackwardFilters;
    if (!flags.bias_output.empty() && !filter_gradient) {
        return bad("--bias-output is the bias gradient of bwd-filters");
    }
    if (!flags.bias.empty() && filter_gradient) {
        return bad("bwd-filters reads no --bias; --bias-output receives its gradient");
    }
    problem.residual = problem.residual || !flags.residual.empty();
    if (problem.residual && flags.residual.empty()) {
        return bad(fmt::format("'{}' adds a residual; give it with --residual", problem.to_string()));
    }
    if (Status status = problem.validate(); !status) {
        return status;
    }

    const Result<std::vector<float>> filters = filters_of(flags, *in, problem);
    const Roles shapes = roles(problem);
    const Result<Array> bias = read_optional(flags.bias, {shapes.channels}, problem);
    const Result<Array> residual = read_optional(flags.residual, shapes.output, problem);
    for (const Status &status : {filters.status(), bias.status(), residual.status()}) {
        if (!status) {
            return status;
        }
    }
    if (flags.absolute && !in->image) {
        return bad("--abs is for images");
    }
    const bool as_image = in->image && !flags.raw && lower_extension(flags.output) != "npy";
    if (as_image) {
        if (Status status = check_image_format(flags.output, problem.batch * problem.out_channels + (in->image->has_alpha() ? 1 : 0)); !status) {
            return status;
        }
    } else if (has_image_extension(flags.output)) {
        return bad(fmt::format("'{}': {} written as .npy", flags.output, flags.raw ? "--raw results are" : "an array's result is"));
    }
    for (const std::string &path : {flags.output, flags.bias_output}) {
        if (Status status = path.empty() ? Status() : check_writable(path); !status) {
            return status;
        }
    }

    int64_t elements = 1;
    for (int64_t size : shapes.output) {
        elements *= size;
    }
    std::vector<float> y(static_cast<size_t>(elements)), bias_gradient(static_cast<size_t>(shapes.channels));
    const float *x = in->image ? in->image->data.data() : in->array->data.data();
    const bool on_device = options->device != Device::kCpu;
    if (filter_gradient || columns || on_device) {
        Tensors tensors;
        if (filter_gradient) {
            tensors.input = x;
            tensors.grad_output = filters->data();
            tensors.grad_filters = filter_view(problem, y.data());
            tensors.grad_bias = flags.bias_output.empty() ? nullptr : bias_gradient.data();
        } else if (columns) {
            tensors.input = x;
            tensors.output = y.data();
        } else {
            (forward ? tensors.input : tensors.grad_output) = x;
            (forward ? tensors.output : tensors.grad_input) = y.data();
            tensors.filters = Filters(filter_view(problem, filters->data()));
            tensors.bias = flags.bias.empty() ? nullptr : bias->data.data();
            tensors.residual = flags.residual.empty() ? ConstView() : ConstView(residual->data.data());
        }
        if (Status status = on_device ? execute_on_device(problem, *options, device_bytes, tensors) : execute(problem, *options, tensors); !status) {
            return status;
        }
    } else {
        const float *own_bias = flags.bias.empty() ? nullptr : bias->data.data();
        const ConstView taps = filter_view(problem, filters->data()), added = flags.residual.empty() ? ConstView() : ConstView(residual->data.data());
        // The naive loop needs no workspace; an image is rather done in strips.
        PlanOptions generated = *options;
        if (in->image) {
            generated.blocked.push_back("naive");
        }
        Result<Conv2dLayer> layer = Conv2dLayer::create(problem, taps, own_bias, generated);
        const auto is_exhausted = [](const Status &s) { return s.code() == StatusCode::kResourceExhausted; };
        Status status = layer ? layer->run(x, y.data(), added) : layer.status();
        if (in->image && is_exhausted(status)) {
            status = convolve_in_strips(problem, taps, own_bias, generated, x, y.data(), added);
        }
        if (in->image && *algorithm == Algorithm::kAuto && (is_exhausted(status) || status.code() == StatusCode::kUnsupported)) {
            const std::string why = status.message();
            layer = Conv2dLayer::create(problem, taps, own_bias, *options);
            if (layer) {
                fmt::print(stderr, "fourfold: only the naive loop, which is slow, can do this: {}\n", why);
            }
            status = layer ? layer->run(x, y.data(), added) : layer.status();
        }
        if (!status) {
            return plan_failure(status, *algorithm);
        }
    }

    if (!flags.bias_output.empty()) {
        if (Status status = write_npy(flags.bias_output, {shapes.channels}, bias_gradient.data()); !status) {
            return status;
        }
    }
    if (!in->image) {
        return write_npy(flags.output, shapes.output, y.data());
    }
    if (flags.absolute) {
        std::transform(y.begin(), y.end(), y.begin(), [](float v) { return std::fabs(v); });
    }
    const Image image = to_image(problem, *in->image, y);
    return as_image ? write_image(flags.output, image) : write_npy(flags.output, {image.channels, image.height, image.width}, image.data.data());
}

}  // namespace

Action add_run(CLI::App &verb) {
    auto flags = std::make_shared<RunFlags>();
    CLI::Option *problem = verb.add_option("--problem", flags->problem, "the one-line form, e.g. \"b8 ic64 i56 oc64 f3 p1\" ('_' may stand for a blank); default: from the arrays' shapes");
    verb.add_option("--input", flags->input, "x: .npy float32 (b, ic, i0, i1), or a PNG, JPEG, PGM, PPM or TIFF image, turned upright as its EXIF or TIFF orientation says; bwd-data: the gradient of y; fold: columns (b, ic*f0*f1, o0*o1)")->required();
    verb.add_option("--filters", flags->filters, std::string("w: .npy float32 (oc, ic/groups, f0, f1), (f0, f1) for an image, or one of ") + filter_names() + "; bwd-filters: the gradient of y; not for unfold and fold");
    verb.add_option("--bias", flags->bias, ".npy float32 (oc,); bwd-data, a transposed convolution's: (ic,)");
    verb.add_option("--bias-output", flags->bias_output, "bwd-filters: where the gradient of the bias goes, .npy float32 (oc,)");
    verb.add_option("--residual", flags->residual, ".npy float32 of the output's shape, added before the post-op");
    verb.add_option("--output", flags->output, "y: .npy (bwd-data: the gradient of x, bwd-filters: of w; unfold: columns, fold: x); for an image also .png, .jpg, .pgm, .ppm, .tif, clamped to [0, 1] and rounded to the input's bit depth (JPEG: 8; floats stay floats in a .tif and become 16 bits elsewhere)")->required();
    verb.add_flag("--abs", flags->absolute, "absolute values of an image's result: edges of both directions, from sobel-x, laplacian, log");
    verb.add_flag("--raw", flags->raw, "write an image's result as it is: .npy float32 (channels, height, width), not clamped");
    verb.add_option("--algorithm", flags->algorithm, "auto, naive, direct, im2col, fft, fft_tiled or winograd")->capture_default_str();
    add_plan_flags(verb, flags->plan);
    verb.add_option("--device-memory", flags->device_memory, "of a GPU at most so many bytes: 4G; a forward convolution that needs more, or more than is free, is done in pieces");
    CLI::Option *groups = verb.add_option("--groups", flags->groups, "groups of channels (a named filter: one per channel)")->capture_default_str();
    CLI::Option *layout = verb.add_option("--layout", flags->layout, "nchw or nhwc, of input and output")->capture_default_str();
    CLI::Option *padding = verb.add_option("--padding", flags->padding, "one number, top,bottom,left,right, or valid, same, full (default: valid; same for an image)");
    CLI::Option *padding_mode = verb.add_option("--padding-mode", flags->padding_mode,
                                                "zeros, constant:VALUE, reflect, symmetric, replicate or circular (default: zeros; for an image reflect; symmetric, then replicate, where it is too small); "
                                                "scipy.ndimage's constant (grid-constant), nearest, mirror and wrap (grid-wrap) are zeros, replicate, reflect and circular, and its reflect (grid-mirror) is symmetric here; scipy.signal's fill and symm are zeros and symmetric; "
                                                "NumPy's edge is replicate");
    CLI::Option *mode = verb.add_option("--mode", flags->mode, "SciPy's name for the padding: full, same or valid")->check(CLI::IsMember({"full", "same", "valid"}))->excludes(padding);
    CLI::Option *boundary = verb.add_option("--boundary", flags->boundary, "SciPy's name for the padding mode: fill (zeros, or --fill-value), wrap (circular) or symm (symmetric)")->check(CLI::IsMember({"fill", "wrap", "symm"}))->excludes(padding_mode);
    CLI::Option *const others[] = {
        groups,
        padding,
        padding_mode,
        mode,
        boundary,
        verb.add_option("--fill-value", flags->fill_value, "what --boundary fill fills with")->needs(boundary)->capture_default_str(),
        layout,
        verb.add_option("--stride", flags->stride, "one number or rows x columns: 2, 2x1")->capture_default_str(),
        verb.add_option("--dilation", flags->dilation, "one number or rows x columns")->capture_default_str(),
        verb.add_option("--filter-mode", flags->filter_mode, "correlation, or convolution (filters flipped)")->capture_default_str(),
    };
    for (CLI::Option *other : others) {
        other->excludes(problem);
    }
    verb.footer("Each colour channel of an image is convolved alone, with samples in [0, 1] (floats as they are); alpha is kept. Filters of rank one\n"
                "are computed as two passes where that is predicted faster. Where a plan exceeds --workspace-max, an image is done in strips.\n"
                "scipy.signal's convolve2d flips the filter: --filter-mode convolution; its correlate2d, and scipy.ndimage's correlate, do not.\n"
                "Examples:\n"
                "  fourfold run --input x.npy --filters w.npy --bias b.npy --padding same --output y.npy\n"
                "  fourfold run --input photo.png --filters gaussian:15 --output blurred.png\n"
                "  fourfold run --input photo.png --filters unsharp:9,2 --output sharp.jpg\n"
                "  fourfold run --input photo.png --filters laplacian8 --abs --output edges.png\n"
                "  fourfold run --input photo.tif --filters sobel-x --mode same --boundary symm --raw --output derivative.npy");
    return [flags, problem, groups, layout] {
        flags->problem_given = problem->count() > 0;
        flags->groups_given = groups->count() > 0;
        flags->layout_given = layout->count() > 0;
        return run(*flags);
    };
}

}  // namespace fourfold::cli
