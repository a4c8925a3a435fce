#include "single_channel.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fourfold {
namespace {

/// Whether the view is a plane of NCHW, columns next to each other and rows apart; then with the stride that its one channel has there.
template<typename T>
bool is_plane(Strided<T> &view, int64_t height, int64_t width) {
    if (view.data == nullptr) {
        return true;
    }
    if ((width > 1 && view.s[3] != 1) || (height > 1 && view.s[2] < width)) {
        return false;
    }
    view.s[3] = 1;
    view.s[1] = height * view.s[2];
    return true;
}

class SingleChannelPlan final : public AlgorithmPlan {
public:
    SingleChannelPlan(const Conv2dProblem &problem, std::unique_ptr<AlgorithmPlan> rows, std::shared_ptr<const AlgorithmPlan> apart)
        : problem_(problem), rows_(std::move(rows)), apart_(std::move(apart)) {
        const auto most = [&](size_t AlgorithmPlan::*bytes) { return std::max((*rows_).*bytes, apart_ != nullptr ? (*apart_).*bytes : 0); };
        workspace_bytes = most(&AlgorithmPlan::workspace_bytes);
        serial_workspace_bytes = most(&AlgorithmPlan::serial_workspace_bytes);
        pack_workspace_bytes = most(&AlgorithmPlan::pack_workspace_bytes);
        packed_bytes = rows_->packed_bytes + (apart_ != nullptr ? apart_->packed_bytes : 0);
        serial_seconds = rows_->serial_seconds;
        predicted_seconds = rows_->predicted_seconds;
        ranked_seconds = rows_->ranked_seconds;
        pack_rate = rows_->pack_rate;
        variant = rows_->variant;
        choice = rows_->choice;
        layout = "nchw [" + rows_->layout + "]" + (apart_ != nullptr ? " [" + apart_->layout + "]" : "");
        details = "one channel: read as NCHW, or where columns lie apart by " + (apart_ != nullptr ? apart_->variant : std::string("nothing")) + "; " + rows_->details;
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        // The last bytes may be alignment only; saved blocks must not carry old memory.
        if (rows_->packed_bytes >= kAlignment) {
            std::memset(packed + rows_->packed_bytes - kAlignment, 0, kAlignment);
        }
        Status status = rows_->pack(filters, packed, workspace, execution);
        return status.ok() && apart_ != nullptr ? apart_->pack(filters, packed + rows_->packed_bytes, workspace, execution) : status;
    }

    Status forward(const ForwardTensors &tensors, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        ForwardTensors t = tensors;
        if (are_planes(t)) {
            return rows_->forward(t, packed, workspace, execution);
        }
        return apart_ != nullptr ? apart_->forward(tensors, packed + rows_->packed_bytes, workspace, execution) : refused();
    }

    /// Only the plan that the views need packs: the workspace of unpacked filters has room for both plans' blocks.
    bool takes_unpacked(const StridedIn &) const override {
        return true;
    }
    Status forward_unpacked(const ForwardTensors &tensors, const StridedIn &filters, std::byte *workspace, const Execution &execution) const override {
        ForwardTensors planes = tensors;
        const bool in_rows = are_planes(planes);
        if (!in_rows && apart_ == nullptr) {
            return refused();
        }
        const AlgorithmPlan &plan = in_rows ? *rows_ : *apart_;
        const ForwardTensors &t = in_rows ? planes : tensors;
        if (plan.takes_unpacked(filters)) {
            return plan.forward_unpacked(t, filters, workspace, execution);
        }
        std::byte *scratch = workspace + plan.packed_bytes;
        const Status status = plan.pack(filters, workspace, scratch, execution);
        return status.ok() ? plan.forward(t, workspace, scratch, execution) : status;
    }

    Status filter_gradient(const FilterGradientTensors &tensors, std::byte *workspace, const Execution &execution) const override {
        FilterGradientTensors t = tensors;
        const bool planes = is_plane(t.input, problem_.in_height, problem_.in_width) && is_plane(t.grad_output, problem_.out_height(), problem_.out_width());
        if (planes) {
            return rows_->filter_gradient(t, workspace, execution);
        }
        return apart_ != nullptr ? apart_->filter_gradient(tensors, workspace, execution) : refused();
    }

private:
    bool are_planes(ForwardTensors &t) const {
        const Conv2dProblem &p = problem_;
        const auto is_input = [&](auto &view) { return is_plane(view, p.in_height, p.in_width); };
        const auto is_output = [&](auto &view) { return is_plane(view, p.out_height(), p.out_width()); };
        switch (p.operation) {
        case Operation::kBackwardData:
            return is_output(t.input) && is_input(t.residual) && is_input(t.output);
        case Operation::kUnfold:
            return is_input(t.input);
        case Operation::kFold:
            return is_input(t.output);
        default:
            return is_input(t.input) && is_output(t.residual) && is_output(t.output);
        }
    }
    static Status refused() {
        return Status(StatusCode::kUnsupported, "columns lie apart, for which this library has no kernel");
    }

    const Conv2dProblem problem_;
    const std::unique_ptr<AlgorithmPlan> rows_;
    const std::shared_ptr<const AlgorithmPlan> apart_;  ///< other algorithms' plans may share it
};

}  // namespace

std::unique_ptr<AlgorithmPlan> single_channel_plan(const Conv2dProblem &problem, std::unique_ptr<AlgorithmPlan> rows, std::shared_ptr<const AlgorithmPlan> apart) {
    return std::make_unique<SingleChannelPlan>(problem, std::move(rows), std::move(apart));
}

}  // namespace fourfold
