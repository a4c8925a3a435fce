// What the plans of bwd-filters share.
//
//     gw[k,c,r,s] = sum_{n,p,q} gy[n,k,p,q] * xpad[n,c, p*s0 + r*d0, q*s1 + s*d1]        gb[k] = sum_{n,p,q} gy[n,k,p,q]
//
// The sum runs over images and pixels, so it is cut where no thread count can move it: into parts that the plan fixes.
#pragma once

#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "geometry.h"
#include "parallel.h"

namespace fourfold {

/// Sums of gy over images and pixels, in double precision.
Status bias_gradient(const Conv2dProblem &problem, const StridedIn &grad_output, float *grad_bias, int threads, const Execution &execution);

/// Filters in memory order (k, c, tap) under way to the caller's view.
bool is_dense(const Conv2dProblem &problem, const StridedOut &filters);
/// filters = the sum of `parts` dense arrays, one after the other.
Status store_filters(const Conv2dProblem &problem, const float *parts, int64_t count, const StridedOut &filters, int threads, const Execution &execution);

/// Sums of many terms, in `rows` rows of `length` floats, `pitch` apart. Runs of terms are added up in float32; every run then
/// joins totals in double precision, since the rounding of many float32 additions would grow with their number.
class RunningSums {
public:
    /// `terms` are in the sums already. `totals` has total_bytes(all terms, rows*length).
    RunningSums(float *sums, int64_t rows, int64_t length, int64_t pitch, double *totals, int64_t terms = 0)
        : sums_(sums), rows_(rows), length_(length), pitch_(pitch), totals_(totals), terms_(terms) {
    }
    /// Whether so many terms need totals.
    static bool is_long(int64_t terms) {
        return terms > kRun;
    }
    static double total_bytes(int64_t terms, double elements) {
        return is_long(terms) ? sizeof(double) * elements : 0.0;
    }
    /// Before each term: whether it is added to the sums, which otherwise begin anew with it.
    bool next();
    /// After the last term: all of them to the sums.
    void finish();

private:
    static constexpr int64_t kRun = 64;

    void add_run(bool first);

    float *const sums_;
    const int64_t rows_, length_, pitch_;
    double *const totals_;
    int64_t terms_;
};

/// Of each tap of the caller's filter the distance in a strip from its output pixel.
std::vector<int32_t> filter_offsets(const StripGeometry &geometry, int64_t strip);

/// The gradient of taps that meet nothing but zero padding is 0, to which transforms add the rounding of other taps.
void clear_taps_outside(const Conv2dProblem &problem, const StridedOut &grad_filters);

/// Images that are summed in one accumulator: bounds the error of long sums.
constexpr int64_t kImagesOfASum = 512;
/// The forward problem in which images and input channels change places and gy is the filter, of `images` images of all groups
/// (backward_filters_fft.cpp). It may have a few outputs more than the filters, which nobody stores.
Conv2dProblem filter_gradient_problem(const Conv2dProblem &problem, int64_t images);

class BackwardFiltersPlan : public AlgorithmPlan {
public:
    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const final;
    Status forward(const ForwardTensors &, const std::byte *, std::byte *, const Execution &) const final;

protected:
    explicit BackwardFiltersPlan(const PlanRequest &request)
        : problem_(request.problem), threads_(request.options.threads) {
    }

    /// Both gradients from sum(target), which fills `parts` dense arrays of filters: `sums`, or where the sum has one part and
    /// the view its order the caller's memory.
    template<typename Sum>
    Status store_sum(const FilterGradientTensors &t, int64_t parts, float *sums, const Execution &execution, const Sum &sum) const {
        const bool in_place = parts == 1 && is_dense(problem_, t.grad_filters);
        float *target = in_place ? t.grad_filters.data : sums;
        Status status = sum(target);
        if (status.ok() && !in_place) {
            status = store_filters(problem_, target, parts, t.grad_filters, threads_, execution);
        }
        return status.ok() ? bias_gradient(problem_, t.grad_output, t.grad_bias, threads_, execution) : status;
    }

    /// store_sum of what tasks add up: task(sums, its slot's memory, index, context).
    template<typename Task>
    Status sum_by_tasks(const FilterGradientTensors &t, int64_t parts, std::byte *workspace, int slots, int64_t tasks, const Execution &execution, const Task &task) const {
        return store_sum(t, parts, floats_at(workspace, sums_offset_), execution, [&](float *sums) {
            return parallel_for(execution, slots, tasks, [&](int64_t index, int slot, KernelContext &context) {
                return task(sums, slot_at(workspace, slot), index, context);
            });
        });
    }
    /// The end of a layout: behind what tasks share, `slot` for each of those that run at once.
    void lay_out_slots(Arena &arena, const Arena &slot, int slots) {
        slot_bytes_ = slot.bytes();
        slots_offset_ = arena.reserve(static_cast<double>(slot_bytes_) * slots);
        workspace_bytes = arena.bytes();
    }
    std::byte *slot_at(std::byte *workspace, int slot) const {
        return workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
    }

    const Conv2dProblem problem_;
    const int threads_;
    size_t sums_offset_ = 0, slot_bytes_ = 0;

private:
    size_t slots_offset_ = 0;
};

}  // namespace fourfold
