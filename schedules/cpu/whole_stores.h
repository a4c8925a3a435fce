// Stores of whole vectors without a mask, where a schedule masks all of them.
#pragma once

#include "Halide.h"

namespace fourfold::cpu {

/// Turns each masked store into a choice between a plain one, taken where all lanes are stored, and the masked one.
///
/// Why: AVX2's vmaskmovps to memory is microcode on AMD's Zen 1 to 3 (LLVM's pull request 214187): 6.0 ns a store into L1 on Zen 3
/// (EPYC 7003, 2026-11-27), where vmovups takes 0.9. Loop partitioning cannot help: it does not know PredicateStores' conditions. Both branches
/// store the value, so that LLVM has no branch to sink its computation into, as it does with an if around a store alone.
class WholeStores : public Halide::Internal::IRMutator {
public:
    using IRMutator::mutate;

private:
    using IRMutator::visit;
    Halide::Internal::Stmt visit(const Halide::Internal::Store *op) override {
        using namespace Halide::Internal;
        if (op->value.type().is_scalar() || is_const_one(op->predicate)) {
            return IRMutator::visit(op);
        }
        const std::string name = unique_name("whole");
        const Halide::Expr value = Variable::make(op->value.type(), name);
        const Halide::Expr whole = VectorReduce::make(VectorReduce::And, op->predicate, 1);
        const Stmt plain = Store::make(op->name, value, op->index, op->param, const_true(op->value.type().lanes()), op->alignment);
        const Stmt masked = Store::make(op->name, value, op->index, op->param, op->predicate, op->alignment);
        return LetStmt::make(name, op->value, IfThenElse::make(whole, plain, masked));
    }
};

/// Where masks are dear: x86 with AVX but without AVX-512.
inline void choose_whole_stores(Halide::Pipeline pipeline, const Halide::Target &target) {
    if (target.arch == Halide::Target::X86 && target.has_feature(Halide::Target::AVX) && !target.has_feature(Halide::Target::AVX512)) {
        pipeline.add_custom_lowering_pass(new WholeStores);
    }
}

}  // namespace fourfold::cpu
