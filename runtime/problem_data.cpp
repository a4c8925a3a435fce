#include "problem_data.h"

namespace fourfold {
namespace {

/// SplitMix64 (Steele et al. 2014) to floats uniform on [-1, 1].
void fill_uniform(float *data, int64_t elements, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u;
    for (int64_t i = 0; i < elements; ++i) {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        data[i] = static_cast<float>(static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-52 - 1.0);
    }
}

}  // namespace

std::unique_ptr<ProblemData> ProblemData::make(const Conv2dProblem &p, uint64_t seed, bool rank_one) {
    auto data = std::make_unique<ProblemData>();
    auto fill = [&, stream = seed * 8](FloatBuffer &buffer, int64_t elements) mutable {
        buffer = FloatBuffer(elements);
        if (buffer.data() != nullptr) {
            fill_uniform(buffer.data(), elements, ++stream);
        }
        return buffer.data() != nullptr;
    };
    if (p.moves_columns()) {
        const bool unfold = p.operation == Operation::kUnfold;
        return fill(data->input, unfold ? p.input_elements() : p.column_elements()) && fill(data->output, result_elements(p)) ? std::move(data) : nullptr;
    }
    const bool forward = p.operation == Operation::kForward;
    bool ok = p.operation == Operation::kBackwardData || fill(data->input, p.input_elements());
    ok = ok && (p.operation == Operation::kBackwardFilters || fill(data->filters, p.filter_elements()));
    for (int64_t plane = 0, taps = p.filter_height * p.filter_width; rank_one && ok && data->filters.data() != nullptr && plane < p.filter_elements(); plane += taps) {
        float *w = data->filters.data() + plane;
        for (int64_t i = taps; i-- > 0;) {
            w[i] = w[i / p.filter_width * p.filter_width] * w[i % p.filter_width];
        }
    }
    ok = ok && (forward ? fill(data->bias, p.out_channels) : fill(data->grad_output, p.output_elements()));
    ok = ok && fill(data->output, result_elements(p)) && (!p.residual || fill(data->residual, result_elements(p)));
    return ok ? std::move(data) : nullptr;
}

int64_t ProblemData::result_elements(const Conv2dProblem &p) {
    switch (p.operation) {
    case Operation::kBackwardData:
    case Operation::kFold:
        return p.input_elements();
    case Operation::kUnfold:
        return p.column_elements();
    case Operation::kBackwardFilters:
        return p.filter_elements();
    default:
        return p.output_elements();
    }
}

double ProblemData::bytes(const Conv2dProblem &p) {
    if (p.moves_columns()) {
        return 4.0 * (static_cast<double>(p.input_elements()) + static_cast<double>(p.column_elements()));
    }
    return 4.0 * (static_cast<double>(p.input_elements()) + static_cast<double>(p.filter_elements()) + static_cast<double>(p.output_elements()) + (p.residual ? static_cast<double>(result_elements(p)) : 0.0));
}

ConstView ProblemData::filter_view(const Conv2dProblem &p) const {
    const int64_t plane = p.filter_height * p.filter_width;
    return {filters.data(), p.in_channels / p.groups * plane, plane, p.filter_width, 1};
}

Tensors ProblemData::tensors(const Conv2dProblem &p, const AlignedBuffer &packed, float *result) const {
    const int64_t plane = p.filter_height * p.filter_width;
    Tensors t;
    t.input = input.data();
    t.filters = packed.data() != nullptr ? Filters(packed) : Filters(filter_view(p));
    t.bias = bias.data();
    t.residual = p.residual ? ConstView(residual.data()) : ConstView();
    t.grad_output = grad_output.data();
    t.output = result;
    t.grad_input = result;
    t.grad_filters = MutableView(result, p.in_channels / p.groups * plane, plane, p.filter_width, 1);
    return t;
}

}  // namespace fourfold
