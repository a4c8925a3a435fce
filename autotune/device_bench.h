// Candidates of a problem on a GPU, as candidate.cpp has them on the CPU: the same answers to the same questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "candidate_bench.h"
#include "fourfold/device.h"
#include "fourfold/plan.h"
#include "problem_data.h"

namespace fourfold::cli {

class DeviceBench final : public CandidateBench {
public:
    /// `workspace_limit`: bytes; plans are made within it.
    DeviceBench(const Conv2dProblem &problem, Device device, uint64_t seed, int result_file, size_t workspace_limit = std::numeric_limits<size_t>::max());

    /// Not ok where the device or its memory cannot be had.
    const Status &status() const {
        return status_;
    }
    std::string add(const std::string &choice) override;

private:
    /// Memory of the device between guard bytes, filled with NaN.
    class GuardedBlock {
    public:
        Status allocate(Device device, size_t bytes);
        Status fill(Device device) const;
        bool intact(Device device) const;
        std::byte *data() const;
        size_t bytes() const {
            return bytes_;
        }

    private:
        DeviceBuffer buffer_;
        size_t bytes_ = 0;
    };
    struct Added {
        Plan plan;
        DeviceBuffer packed;
    };

    Status send();
    size_t added() const override {
        return added_.size();
    }
    /// Into the device's queue. Each run reads other copies of the images, as far as memory allows, so that no cache still holds them from
    /// the run before.
    Status run(size_t which) override;
    Status settle() override;
    Status wait() override;
    bool intact() const override {
        return workspace_.intact(device_) && result_.intact(device_);
    }

    const Conv2dProblem problem_;
    const Device device_;
    const size_t workspace_limit_;
    std::unique_ptr<ProblemData> data_;
    Status status_;
    DeviceBuffer images_;  ///< copies of (input, grad_output, residual), copy_bytes_ apart
    size_t copy_bytes_ = 0, grad_output_ = 0, residual_ = 0;
    int copies_ = 1, next_ = 0;
    DeviceBuffer filters_, bias_;
    GuardedBlock result_, workspace_;  ///< everybody's
    std::vector<Added> added_;
};

}  // namespace fourfold::cli
