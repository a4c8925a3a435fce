#include "device_bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "clock.h"

namespace fourfold::cli {
namespace {

constexpr size_t kChunk = size_t{4} << 20;
constexpr size_t kRotated = size_t{128} << 20;  ///< bytes of images beyond what a GPU's second-level cache holds
constexpr int kMostCopies = 64;

size_t bytes_of(int64_t elements) {
    return static_cast<size_t>(elements) * sizeof(float);
}

size_t rounded(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

}  // namespace

Status DeviceBench::GuardedBlock::allocate(Device device, size_t bytes) {
    buffer_ = DeviceBuffer();  // first, so that both need not fit
    Result<DeviceBuffer> buffer = DeviceBuffer::allocate(device, bytes + 2 * kGuard);
    if (!buffer) {
        return buffer.status();
    }
    buffer_ = std::move(*buffer);
    bytes_ = bytes;
    const std::vector<unsigned char> guard(kGuard, kGuardByte);
    Status status = copy_to_device(device, buffer_.data(), guard.data(), kGuard);
    status = status ? copy_to_device(device, data() + bytes, guard.data(), kGuard) : status;
    return status ? fill(device) : status;
}

Status DeviceBench::GuardedBlock::fill(Device device) const {
    const std::vector<unsigned char> nan(std::min(bytes_, kChunk), 0xff);
    Status status;
    for (size_t at = 0; at < bytes_ && status; at += kChunk) {
        status = copy_to_device(device, data() + at, nan.data(), std::min(kChunk, bytes_ - at));
    }
    return status;
}

bool DeviceBench::GuardedBlock::intact(Device device) const {
    std::vector<unsigned char> guard(kGuard);
    for (const std::byte *at : {data() - kGuard, data() + bytes_}) {
        if (!copy_to_host(device, guard.data(), at, kGuard) || std::any_of(guard.begin(), guard.end(), [](unsigned char c) { return c != kGuardByte; })) {
            return false;
        }
    }
    return true;
}

std::byte *DeviceBench::GuardedBlock::data() const {
    return static_cast<std::byte *>(buffer_.data()) + kGuard;
}

DeviceBench::DeviceBench(const Conv2dProblem &problem, Device device, uint64_t seed, int result_file, size_t workspace_limit)
    : CandidateBench(result_file, now), problem_(problem), device_(device), workspace_limit_(workspace_limit), data_(ProblemData::make(problem, seed)) {
    status_ = data_ != nullptr ? send() : Status(StatusCode::kResourceExhausted, "memory ran out");
}

/// The arrays to the device.
Status DeviceBench::send() {
    const Result<DeviceInfo> info = device_info(device_);
    if (!info) {
        return info.status();
    }
    const auto size = [](const FloatBuffer &buffer, int64_t elements) { return buffer.data() != nullptr ? bytes_of(elements) : 0; };
    const size_t input = size(data_->input, problem_.operation == Operation::kFold ? problem_.column_elements() : problem_.input_elements());
    const size_t grad_output = size(data_->grad_output, problem_.output_elements()), residual = size(data_->residual, ProblemData::result_elements(problem_));
    grad_output_ = rounded(input);
    residual_ = grad_output_ + rounded(grad_output);
    copy_bytes_ = residual_ + rounded(residual);
    const size_t most = std::max(size_t{1}, std::min(kRotated, info->memory_bytes / 16) / copy_bytes_);
    copies_ = static_cast<int>(std::clamp<size_t>(most, 2, kMostCopies));
    Result<DeviceBuffer> images = DeviceBuffer::allocate(device_, copy_bytes_ * static_cast<size_t>(copies_));
    if (!images) {
        copies_ = 1;
        images = DeviceBuffer::allocate(device_, copy_bytes_);
    }
    Result<DeviceBuffer> filters = DeviceBuffer::allocate(device_, size(data_->filters, problem_.filter_elements()));
    Result<DeviceBuffer> bias = DeviceBuffer::allocate(device_, size(data_->bias, problem_.out_channels));
    for (const Status &status : {images.status(), filters.status(), bias.status(), result_.allocate(device_, bytes_of(ProblemData::result_elements(problem_)))}) {
        if (!status) {
            return status;
        }
    }
    images_ = std::move(*images);
    filters_ = std::move(*filters);
    bias_ = std::move(*bias);
    Status status = copy_to_device(device_, filters_.data(), data_->filters.data(), filters_.bytes());
    status = status ? copy_to_device(device_, bias_.data(), data_->bias.data(), bias_.bytes()) : status;
    for (int i = 0; i < copies_ && status; ++i) {
        std::byte *const at = static_cast<std::byte *>(images_.data()) + copy_bytes_ * static_cast<size_t>(i);
        status = copy_to_device(device_, at, data_->input.data(), input);
        status = status ? copy_to_device(device_, at + grad_output_, data_->grad_output.data(), grad_output) : status;
        status = status ? copy_to_device(device_, at + residual_, data_->residual.data(), residual) : status;
    }
    return status;
}

std::string DeviceBench::add(const std::string &choice) {
    PlanOptions options;
    options.device = device_;
    options.choice = choice;
    options.workspace_limit = workspace_limit_;
    const Result<Plan> plan = Plan::create(problem_, options);
    if (!plan) {
        return "refused " + plan.status().message();
    }
    const bool packs = plan->packed_filter_bytes() > 0;
    const size_t needed = std::max(plan->workspace_bytes(), packs ? plan->workspace_bytes_unpacked() : 0);
    Status status = workspace_.bytes() < needed || added_.empty() ? workspace_.allocate(device_, needed) : workspace_.fill(device_);
    Result<DeviceBuffer> packed = DeviceBuffer::allocate(device_, plan->packed_filter_bytes());
    status = status ? packed.status() : status;
    if (!status) {
        return "refused " + status.message();
    }
    if (packs) {
        ConstView filters = data_->filter_view(problem_);
        filters.data = filters_.floats();
        status = plan->pack_filters(filters, *packed, {workspace_.data(), workspace_.bytes()});
        status = status ? synchronize(device_) : status;
        status = status ? workspace_.fill(device_) : status;
    }
    added_.push_back({*plan, std::move(*packed)});
    status = status ? result_.fill(device_) : status;
    status = status ? run(added_.size() - 1) : status;
    status = status ? synchronize(device_) : status;
    if (!status) {
        return "wrong " + status.message();
    }
    if (!intact()) {
        return kOutside;
    }
    return ready(result_.bytes(), [&](void *memory) { return copy_to_host(device_, memory, result_.data(), result_.bytes()); });
}

Status DeviceBench::settle() {
    return synchronize(device_);
}

Status DeviceBench::wait() {
    return synchronize(device_);
}

Status DeviceBench::run(size_t which) {
    const Added &candidate = added_[which];
    std::byte *const at = static_cast<std::byte *>(images_.data()) + copy_bytes_ * static_cast<size_t>(next_);
    next_ = (next_ + 1) % copies_;
    // As on the host, with the device's addresses for those arrays that the operation has.
    Tensors t = data_->tensors(problem_, AlignedBuffer(), reinterpret_cast<float *>(result_.data()));
    const auto there = [](const float *host, const void *device) { return host != nullptr ? static_cast<const float *>(device) : nullptr; };
    t.input.data = there(t.input.data, at);
    t.grad_output.data = there(t.grad_output.data, at + grad_output_);
    t.residual.data = there(t.residual.data, at + residual_);
    t.bias = there(t.bias, bias_.data());
    t.filters = candidate.packed.bytes() > 0 ? Filters(ConstMemoryBlock(candidate.packed)) : Filters();
    return candidate.plan.execute(t, {workspace_.data(), candidate.plan.workspace_bytes()});
}

}  // namespace fourfold::cli
