#include "plane_layout.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "arena.h"

namespace fourfold {
namespace {

/// The cheapest length of at least `least` (exactly, when cyclic) that the backend does well; 0 when there is none.
int64_t good_length(const FftBackendEntry &backend, int64_t least, bool last, bool exact) {
    if (exact) {
        return backend.size_penalty(least, last) > 0 ? least : 0;
    }
    int64_t best = 0;
    double best_cost = 0.0;
    for (int64_t n = std::max<int64_t>(least, 1); n <= 2 * least + 16; n++) {
        const double penalty = backend.size_penalty(n, last);
        const double least_cost = static_cast<double>(n) * std::log2(static_cast<double>(n) + 1.0), cost = penalty * least_cost;
        if (penalty > 0 && (best == 0 || cost < best_cost)) {
            best = n;
            best_cost = cost;
        }
        // No penalty is below 1.
        if (best != 0 && (least_cost >= best_cost || static_cast<double>(n) > 1.6 * static_cast<double>(best))) {
            break;
        }
    }
    return best;
}

std::vector<int32_t> wrapped_places(const AxisTaps &taps, FilterMode mode, int64_t n) {
    return taps.filter_places(mode, [n](int64_t shift) { return ((-shift) % n + n) % n; });
}

}  // namespace

AxisLayout AxisLayout::make(int64_t in, int64_t out, int64_t filter, int64_t stride, int64_t dilation, int64_t before, bool implicit, bool cyclic) {
    // Implicit: tap positions relative to the image's first element, the padding supplied by wrapped zeros.
    AxisLayout a{AxisTaps(tap_positions(filter, dilation, implicit || cyclic ? before : 0), stride), implicit || cyclic ? 0 : before, 0, cyclic};
    if (cyclic) {
        a.length = in;
        return a;
    }
    a.length = std::max(out + a.taps.shift_max, out);
    if (implicit) {
        // Reads before the image wrap to the end, where the transform must hold zeros and not the image's last rows.
        a.length = std::max(a.length, ceil_div(in, stride) - std::min<int64_t>(0, a.taps.shift_min));
    }
    return a;
}

std::vector<int32_t> PlaneLayout::row_places(FilterMode mode) const {
    return wrapped_places(rows.taps, mode, fft->n0);
}

std::vector<int32_t> PlaneLayout::column_places(FilterMode mode) const {
    return wrapped_places(columns.taps, mode, fft->n1);
}

Result<PlaneLayout> PlaneLayout::make(const Conv2dProblem &p, FftBackend wanted, FftRigor rigor) {
    const FftBackendEntry *backend = nullptr;
    for (const FftBackendEntry &e : fft_backend_entries()) {
        if (backend == nullptr && (wanted == FftBackend::kAuto || wanted == e.backend)) {
            backend = &e;
        }
    }
    if (backend == nullptr) {
        return Status(StatusCode::kUnsupported, std::string("this build has no FFT library") + (wanted == FftBackend::kAuto ? "" : std::string(" '") + to_string(wanted) + "'"));
    }

    const int64_t o0 = p.out_height(), o1 = p.out_width();
    const bool cyclic = p.padding_mode == PaddingMode::kCircular && p.stride_h == 1 && p.stride_w == 1 && o0 <= p.in_height && o1 <= p.in_width && good_length(*backend, p.in_height, false, true) > 0 && good_length(*backend, p.in_width, true, true) > 0;
    const bool implicit = p.padding_mode == PaddingMode::kZeros;
    AxisLayout rows = AxisLayout::make(p.in_height, o0, p.filter_height, p.stride_h, p.dilation_h, p.pad_top, implicit, cyclic);
    AxisLayout columns = AxisLayout::make(p.in_width, o1, p.filter_width, p.stride_w, p.dilation_w, p.pad_left, implicit, cyclic);
    if (rows.length > (int64_t{1} << 30) || columns.length > (int64_t{1} << 30)) {
        return Status(StatusCode::kUnsupported, "a transform of " + std::to_string(rows.length) + "x" + std::to_string(columns.length) + " is beyond the FFT libraries");
    }
    // Lengths are looked for only where they can fit: the search takes a second near 2^28.
    const int64_t reach = int64_t{1} << 29;
    const bool fits = rows.length <= reach / std::max<int64_t>(1, columns.length);
    const int64_t n0 = fits ? good_length(*backend, rows.length, false, cyclic) : 0;
    const int64_t n1 = fits ? good_length(*backend, columns.length, true, cyclic) : 0;
    if (n0 == 0 || n1 == 0 || n0 > reach / n1) {
        return Status(StatusCode::kUnsupported, "a transform of at least " + std::to_string(rows.length) + "x" + std::to_string(columns.length) + " is 2^31 bytes or more, beyond a kernel call's reach");
    }
    Result<std::shared_ptr<const PlaneFft>> fft = backend->plan(n0, n1, rigor);
    if (!fft) {
        return fft.status();
    }
    return PlaneLayout{std::move(rows), std::move(columns), *fft};
}

}  // namespace fourfold
