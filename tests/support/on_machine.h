// Plans as another machine would have them, for one scope.
#pragma once

#include "assumed_machine.h"
#include "fourfold/plan.h"

namespace fourfold::test {

/// Until its end machine() has these caches and this one's ISA level.
class OnMachine {
public:
    OnMachine(size_t l1_bytes, size_t l2_bytes, size_t l3_bytes)
        : here_(machine()) {
        MachineInfo there = here_;
        there.cpu = "assumed";
        there.l1_bytes = l1_bytes;
        there.l2_bytes = l2_bytes;
        there.l3_bytes = l3_bytes;
        assume_machine(there);
    }
    ~OnMachine() {
        assume_machine(here_);
    }
    OnMachine(const OnMachine &) = delete;
    OnMachine &operator=(const OnMachine &) = delete;

private:
    const MachineInfo here_;
};

}  // namespace fourfold::test
