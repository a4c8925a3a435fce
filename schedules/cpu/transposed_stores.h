// Transpositions in registers, where rows of a block are stored as columns.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "Halide.h"

namespace fourfold::cpu {

/// Turns stores of interleaved vectors, 8 or 16 of 8 or 16 lanes, into transpositions: 4 x 4 within 128 bits by unpacking, as every lane
/// of a vector does at once, then of the 128-bit parts.
///
/// Why: LLVM 21 takes 69 shuffles for 8 x 8 of what Halide makes of such stores, where 24 do.
class TransposedStores : public Halide::Internal::IRMutator {
public:
    using IRMutator::mutate;

private:
    using Expr = Halide::Expr;
    using Stmt = Halide::Internal::Stmt;
    using IRMutator::visit;

    /// Vectors of the block, and where the stored ones go.
    struct Lets {
        std::vector<std::pair<std::string, Expr>> list;
        Expr keep(const Expr &value) {
            const std::string name = Halide::Internal::unique_name("turned");
            list.emplace_back(name, value);
            return Halide::Internal::Variable::make(value.type(), name);
        }
        Stmt around(Stmt body) const {
            for (auto let = list.rbegin(); let != list.rend(); ++let) {
                body = Halide::Internal::LetStmt::make(let->first, let->second, body);
            }
            return body;
        }
    };

    Stmt visit(const Halide::Internal::Store *op) override {
        using namespace Halide::Internal;
        const Shuffle *block = op->value.as<Shuffle>();
        const Ramp *index = op->index.as<Ramp>();
        if (block == nullptr || index == nullptr || !block->is_interleave() || !is_const_one(index->stride) || !is_const_one(op->predicate)) {
            return IRMutator::visit(op);
        }
        const int count = static_cast<int>(block->vectors.size());
        return block_of(count, block->vectors[0].type()) ? transposed(op, block->vectors, index->base, count) : IRMutator::visit(op);
    }

    /// Stores at a distance of more than their number, which Halide leaves alone. All values are computed before the first is stored: they must not
    /// read what is stored here, and no stage that is scheduled so does.
    Stmt visit(const Halide::Internal::Block *op) override {
        using namespace Halide::Internal;
        std::vector<Stmt> all;
        for (const Block *b = op; b != nullptr; b = b->rest.as<Block>()) {
            all.push_back(b->first);
            if (b->rest.as<Block>() == nullptr) {
                all.push_back(b->rest);
            }
        }
        std::vector<Stmt> result;
        for (size_t i = 0; i < all.size();) {
            const Store *first = all[i].as<Store>();
            const Ramp *from = first == nullptr ? nullptr : first->index.as<Ramp>();
            std::vector<Expr> rows;
            for (size_t at = i; from != nullptr && at < all.size() && rows.size() < 16; at++) {
                const Store *store = all[at].as<Store>();
                const Ramp *to = store == nullptr ? nullptr : store->index.as<Ramp>();
                if (to == nullptr || store->name != first->name || store->value.type() != first->value.type() || !is_const_one(store->predicate) || !is_const(to->stride, 16) || !is_const(simplify(to->base - from->base), static_cast<int>(rows.size()))) {
                    break;
                }
                rows.push_back(store->value);
            }
            rows.resize(rows.size() / 8 * 8);
            if (!rows.empty() && block_of(static_cast<int>(rows.size()), rows[0].type())) {
                result.push_back(transposed(first, rows, from->base, 16));
                i += rows.size();
            } else {
                result.push_back(mutate(all[i++]));
            }
        }
        return Block::make(result);
    }

    static bool block_of(int count, const Halide::Type &type) {
        return type.is_float() && type.bits() == 32 && (type.lanes() == 8 || type.lanes() == 16) && (count == 8 || count == 16);
    }

    /// Of every 4 vectors, lane 4*g + j of each: four vectors j, whose 128 bits g these are.
    static void unpack(const Expr *a, Lets &lets, Expr *result) {
        const int lanes = a[0].type().lanes();
        const auto by_two = [&](const Expr &x, const Expr &y, int first, int width) {
            std::vector<int> indices;
            for (int g = 0; g < lanes; g += 4) {
                for (int i = first; i < first + 2; i += width) {
                    for (const int from : {0, lanes}) {
                        for (int k = 0; k < width; k++) {
                            indices.push_back(from + g + i + k);
                        }
                    }
                }
            }
            return lets.keep(Halide::Internal::Shuffle::make({x, y}, indices));
        };
        for (int half = 0; half < 2; half++) {
            const Expr low = by_two(a[0], a[1], 2 * half, 1), high = by_two(a[2], a[3], 2 * half, 1);
            result[2 * half] = by_two(low, high, 0, 2);
            result[2 * half + 1] = by_two(low, high, 2, 2);
        }
    }

    /// Some 128-bit parts of two vectors, counted through both.
    static Expr parts(const Expr &x, const Expr &y, const std::vector<int> &which, Lets &lets) {
        std::vector<int> indices;
        for (const int part : which) {
            for (int k = 0; k < 4; k++) {
                indices.push_back(part * 4 + k);
            }
        }
        return lets.keep(Halide::Internal::Shuffle::make({x, y}, indices));
    }

    /// Stores lane j of all rows at base + j*distance.
    Stmt transposed(const Halide::Internal::Store *op, const std::vector<Expr> &values, const Expr &base, int distance) {
        using namespace Halide::Internal;
        Lets lets;
        const int count = static_cast<int>(values.size()), lanes = values[0].type().lanes();
        std::vector<Expr> rows, columns(lanes);
        for (const Expr &value : values) {
            rows.push_back(lets.keep(mutate(value)));
        }
        if (count == 16 && lanes == 8) {
            // Vectors of 16 lanes: i is part 0 of vectors 0 to 3, part 1 of 4 to 7, and so on.
            for (int half = 0; half < 2; half++) {
                Expr a[4];
                for (int i = 0; i < 4; i++) {
                    const Expr low = parts(rows[i], rows[4 + i], {0, 1, 2, 3}, lets), high = parts(rows[8 + i], rows[12 + i], {0, 1, 2, 3}, lets);
                    a[i] = parts(low, high, {half, 2 + half, 4 + half, 6 + half}, lets);
                }
                unpack(a, lets, &columns[4 * half]);
            }
        } else {
            std::vector<Expr> unpacked(count);
            for (int i = 0; i < count; i += 4) {
                unpack(&rows[i], lets, &unpacked[i]);
            }
            for (int j = 0; j < 4; j++) {
                if (count == 8) {
                    const Expr &a = unpacked[j], &b = unpacked[4 + j];
                    const int groups = lanes / 4;
                    for (int g = 0; g < groups; g += lanes / 8) {
                        if (lanes == 8) {
                            columns[4 * g + j] = parts(a, b, {g, groups + g}, lets);
                            continue;
                        }
                        const Expr two = parts(a, b, {g, groups + g, g + 1, groups + g + 1}, lets);
                        columns[4 * g + j] = Shuffle::make_slice(two, 0, 1, 8);
                        columns[4 * g + 4 + j] = Shuffle::make_slice(two, 8, 1, 8);
                    }
                    continue;
                }
                for (int half = 0; half < 2; half++) {
                    const int g = 2 * half;
                    const Expr low = parts(unpacked[j], unpacked[4 + j], {g, g + 1, 4 + g, 5 + g}, lets), high = parts(unpacked[8 + j], unpacked[12 + j], {g, g + 1, 4 + g, 5 + g}, lets);
                    columns[4 * g + j] = parts(low, high, {0, 2, 4, 6}, lets);
                    columns[4 * g + 4 + j] = parts(low, high, {1, 3, 5, 7}, lets);
                }
            }
        }
        std::vector<Stmt> stores;
        for (int j = 0; j < lanes; j++) {
            stores.push_back(Store::make(op->name, columns[j], Ramp::make(simplify(base + j * distance), 1, count), op->param, const_true(count), ModulusRemainder()));
        }
        return lets.around(Block::make(stores));
    }
};

}  // namespace fourfold::cpu
