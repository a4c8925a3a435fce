// Stores of whole vectors without a mask, where a schedule masks all of them.
#pragma once

#include "Halide.h"

namespace fourfold::cpu {

/// Turns each masked store into a choice between a plain one, taken where all lanes are stored, and the masked one.
///
/// Why: AVX2's vmaskmovps to memory is microcode on AMD's Zen 1 to 3 (LLVM's pull request 214187): 6.0 ns a store into L1 on Zen 3
/// (EPYC 7003, 2026-11-27), where vmovups takes 0.9. Loop partitioning cannot help: it does not know PredicateStores' conditions. Both branches
/// store the value, so that LLVM has no branch to sink its computation into, as it does with an if around a store alone.
///
/// in_parts: where the first lanes alone are stored, they are so by vectors of half as many, a quarter and so on, without any masked store.
class WholeStores : public Halide::Internal::IRMutator {
public:
    explicit WholeStores(bool in_parts)
        : in_parts_(in_parts) {
    }
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
        const Ramp *index = op->index.as<Ramp>();
        if (in_parts_ && index != nullptr && is_const_one(index->stride) && index->base.type().is_scalar() && first_lanes(op->predicate)) {
            const int lanes = op->value.type().lanes();
            return LetStmt::make(name, op->value, IfThenElse::make(is_stored(op, lanes - 1), store(op, value, 0, lanes), store_first(op, value, 0, lanes)));
        }
        const Stmt plain = Store::make(op->name, value, op->index, op->param, const_true(op->value.type().lanes()), op->alignment);
        const Stmt masked = Store::make(op->name, value, op->index, op->param, op->predicate, op->alignment);
        return LetStmt::make(name, op->value, IfThenElse::make(whole, plain, masked));
    }

    /// Whether each lane that is stored has all before it stored: an end of vectors that count up, and whatever all lanes share.
    static bool first_lanes(const Halide::Expr &predicate) {
        using namespace Halide::Internal;
        const auto ascends = [](const Halide::Expr &e) {
            const Ramp *ramp = e.as<Ramp>();
            return ramp != nullptr && ramp->base.type().is_scalar() && is_positive_const(ramp->stride);
        };
        if (const And *both = predicate.as<And>()) {
            return first_lanes(both->a) && first_lanes(both->b);
        }
        if (const LT *less = predicate.as<LT>()) {
            return (ascends(less->a) || less->a.as<Broadcast>() != nullptr) && less->b.as<Broadcast>() != nullptr;
        }
        if (const LE *less = predicate.as<LE>()) {
            return (ascends(less->a) || less->a.as<Broadcast>() != nullptr) && less->b.as<Broadcast>() != nullptr;
        }
        return predicate.as<Broadcast>() != nullptr;
    }

    /// Stores lanes [begin, begin + count) without a mask.
    static Halide::Internal::Stmt store(const Halide::Internal::Store *op, const Halide::Expr &value, int begin, int count) {
        using namespace Halide::Internal;
        const Halide::Expr from = op->index.as<Ramp>()->base + begin;
        if (count == op->value.type().lanes()) {
            return Store::make(op->name, value, op->index, op->param, const_true(count), op->alignment);
        }
        if (count == 1) {
            return Store::make(op->name, Shuffle::make_extract_element(value, begin), from, op->param, const_true(), ModulusRemainder());
        }
        return Store::make(op->name, Shuffle::make_slice(value, begin, 1, count), Ramp::make(from, 1, count), op->param, const_true(count), ModulusRemainder());
    }

    /// Stores those of lanes [begin, begin + count) that are to be, which the last is not. No statement where there are none.
    static Halide::Internal::Stmt store_first(const Halide::Internal::Store *op, const Halide::Expr &value, int begin, int count) {
        using namespace Halide::Internal;
        if (count == 1) {
            return Stmt();
        }
        const int half = count / 2;
        const Stmt rest = store_first(op, value, begin + half, count - half), fewer = store_first(op, value, begin, half);
        const Stmt first = store(op, value, begin, half);
        return IfThenElse::make(is_stored(op, begin + half - 1), rest.defined() ? Block::make(first, rest) : first, fewer);
    }

    static Halide::Expr is_stored(const Halide::Internal::Store *op, int lane) {
        return Halide::Internal::simplify(Halide::Internal::extract_lane(op->predicate, lane));
    }

    const bool in_parts_;
};

/// Where masks are dear: x86 with AVX but without AVX-512.
inline bool masked_stores_are_dear(const Halide::Target &target) {
    return target.arch == Halide::Target::X86 && target.has_feature(Halide::Target::AVX) && !target.has_feature(Halide::Target::AVX512);
}

inline void choose_whole_stores(Halide::Pipeline pipeline, const Halide::Target &target, bool in_parts = false) {
    if (masked_stores_are_dear(target)) {
        pipeline.add_custom_lowering_pass(new WholeStores(in_parts));
    }
}

}  // namespace fourfold::cpu
