#include "device/plane_transforms.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "device/frequency_product.h"

namespace fourfold {
namespace {

/// One axis of a transform: how its points and those beside it lie.
struct Axis {
    int64_t length;
    int64_t step;           ///< floats between points
    Dim beside;             ///< independent transforms whose points are neighbours in memory
    Dim apart;              ///< and those that lie apart
    int64_t table;          ///< length of the table of twiddles, a multiple of length
    const float *twiddles;
};

class GeneratedTransforms final : public PlaneTransforms {
public:
    GeneratedTransforms(const DeviceRuntime &device, int64_t rows, int64_t columns, DeviceTables &tables)
        : PlaneTransforms(rows, columns), tables_(tables), real_(device_variant(device, "fft_real")), row_stages_(stages(device, columns / 2)), column_stages_(stages(device, rows)), row_twiddles_(tables.add(twiddles(columns))), column_twiddles_(tables.add(twiddles(rows))) {
    }

    const char *name() const override {
        return "generated";
    }
    bool in_place() const override {
        return false;
    }
    Result<size_t> scratch_bytes(const Batch &batch) const override {
        return static_cast<size_t>(batch.planes * batch.distance) * sizeof(float);
    }
    Status prepare(const Batch &) override {
        return Status();
    }
    int64_t passes() const override {
        return static_cast<int64_t>(row_stages_.size() + column_stages_.size()) + 1;
    }

    float *forward(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return in_reach(planes, distance, a, b, [&](float *x, float *y, int64_t n) {
            const bool ok = run(row_stages_, rows(), false, x, y, n, distance, context) && real(false, x, y, n, distance, context) && run(column_stages_, columns(), false, x, y, n, distance, context);
            return ok ? x : nullptr;
        });
    }
    float *inverse(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return in_reach(planes, distance, a, b, [&](float *x, float *y, int64_t n) {
            const bool ok = run(column_stages_, columns(), true, x, y, n, distance, context) && real(true, x, y, n, distance, context) && run(row_stages_, rows(), true, x, y, n, distance, context);
            return ok ? x : nullptr;
        });
    }

private:
    struct Stage {
        int64_t radix;
        const Variant *variant;
    };

    /// The largest radices first: the fewest launches.
    static std::vector<Stage> stages(const DeviceRuntime &device, int64_t length) {
        std::vector<Stage> list;
        for (const Variant *variant : device_variants_of(device, "fft_stage")) {
            const int64_t radix = variant->parameter("radix", 2);
            for (; length % radix == 0; length /= radix) {
                list.push_back({radix, variant});
            }
        }
        return list;
    }

    /// exp(-2 pi i k / n) for all k.
    static std::vector<float> twiddles(int64_t n) {
        std::vector<float> table;
        for (int64_t k = 0; k < n; k++) {
            const double angle = -2.0 * M_PI * static_cast<double>(k) / static_cast<double>(n);
            table.push_back(static_cast<float>(std::cos(angle)));
            table.push_back(static_cast<float>(std::sin(angle)));
        }
        return table;
    }

    /// Rows are transforms of half the length, of pairs of neighbours.
    Axis rows() const {
        return {n1 / 2, 2, {1, 0}, {n0, row_floats()}, n1, tables_.floats(row_twiddles_)};
    }
    Axis columns() const {
        return {n0, row_floats(), {n1 / 2 + 1, 2}, {1, 0}, n0, tables_.floats(column_twiddles_)};
    }

    /// As many planes at once as 32-bit indices reach and a grid's second dimension counts; each part ends in the same one of a and b.
    template<typename Part>
    static float *in_reach(int64_t planes, int64_t distance, float *a, float *b, const Part &part) {
        const int64_t at_once = std::clamp<int64_t>(((int64_t{1} << 29) - 1) / distance, 1, 65535);
        float *result = nullptr;
        for (int64_t p = 0; p < planes; p += at_once) {
            float *const x = a + p * distance, *const y = b + p * distance;
            float *const at = part(x, y, std::min(at_once, planes - p));
            if (at == nullptr) {
                return nullptr;
            }
            result = at == x ? a : b;
        }
        return result;
    }

    /// All stages of an axis; x is where the data is, before and after.
    static bool run(const std::vector<Stage> &stages, const Axis &axis, bool inverse, float *&x, float *&y, int64_t planes, int64_t distance, KernelContext &context) {
        // An inverse transform exchanges real and imaginary parts.
        const int64_t first = inverse ? 1 : 0;
        const Dim part = {2, inverse ? -1 : 1};
        int64_t done = 1;
        for (const Stage &stage : stages) {
            const int64_t r = stage.radix, left = axis.length / (done * r);
            const KernelBuffer<float, 7> in(x + first, {part, axis.beside, {done, axis.step}, {left, axis.step * done}, {r, axis.step * (axis.length / r)}, axis.apart, {planes, distance}});
            const KernelBuffer<float, 7> out(y + first, {part, {r, axis.step * done}, axis.beside, {done, axis.step}, {left, axis.step * done * r}, axis.apart, {planes, distance}});
            const Floats<2> twiddles(axis.twiddles, {{2, 1}, {axis.table, 2}});
            if (!call(*stage.variant, context, in, twiddles, static_cast<int32_t>(axis.table / (done * r)), out)) {
                return false;
            }
            std::swap(x, y);
            done *= r;
        }
        return true;
    }

    /// Between half-length complex rows and the spectra of real ones.
    bool real(bool inverse, float *&x, float *&y, int64_t planes, int64_t distance, KernelContext &context) const {
        const int64_t half = n1 / 2;
        const Floats<4> in(x, {{2, 1}, {inverse ? half + 1 : half, 2}, {n0, row_floats()}, {planes, distance}});
        const Floats<4> out(y, {{2, 1}, {inverse ? half : half + 1, 2}, {n0, row_floats()}, {planes, distance}});
        const Floats<2> twiddles(tables_.floats(row_twiddles_), {{2, 1}, {n1, 2}});
        if (!call(real_, context, in, twiddles, static_cast<int32_t>(half), inverse ? 1.0f : -1.0f, inverse ? 1.0f : 0.5f, out)) {
            return false;
        }
        std::swap(x, y);
        return true;
    }

    const DeviceTables &tables_;
    const Variant &real_;
    const std::vector<Stage> row_stages_, column_stages_;
    const size_t row_twiddles_, column_twiddles_;
};

}  // namespace

std::unique_ptr<PlaneTransforms> generated_transforms(const DeviceRuntime &device, int64_t n0, int64_t n1, DeviceTables &tables) {
    return std::make_unique<GeneratedTransforms>(device, n0, n1, tables);
}

bool PlaneTransforms::forward_by_frequency(float *, float *, int64_t, int64_t, int64_t, void *, KernelContext &) const {
    return false;
}
bool PlaneTransforms::inverse_by_frequency(float *, float *, int64_t, int64_t, int64_t, void *, KernelContext &) const {
    return false;
}

#if !FOURFOLD_HAVE_CUDA
Result<std::unique_ptr<FrequencyProduct>> cublas_product(const DeviceRuntime &device) {
    return device_error(device.info().device, StatusCode::kUnsupported, "cuBLAS is not in this build: it was configured with FOURFOLD_CUDA=OFF");
}
Result<std::unique_ptr<PlaneTransforms>> cufft_transforms(const DeviceRuntime &device, int64_t, int64_t) {
    return device_error(device.info().device, StatusCode::kUnsupported, "cuFFT is not in this build: it was configured with FOURFOLD_CUDA=OFF");
}
#endif

int64_t transform_length(int64_t least, bool even) {
    for (int64_t n = std::max<int64_t>(least, even ? 2 : 1);; n++) {
        int64_t rest = n;
        for (const int64_t factor : {2, 3, 5}) {
            while (rest % factor == 0) {
                rest /= factor;
            }
        }
        if (rest == 1 && (!even || n % 2 == 0)) {
            return n;
        }
    }
}

}  // namespace fourfold
