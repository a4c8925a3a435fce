// Hard inputs of the library: sizes, pointers, blocks.
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/prepared.h"
#include "hard/table.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

PlanOptions im2col() {
    PlanOptions options;
    options.algorithm = Algorithm::kIm2col;  // needs a workspace and packs filters
    options.threads = 1;
    return options;
}

/// A plan with its buffers, each row's to spoil.
struct Call {
    Prepared p;
    Tensors t;
    MemoryBlock workspace;

    explicit Call(const char *text)
        : p(prepare(parse_problem(text), im2col(), test_seed())), t(p.tensors()), workspace(p.workspace) {
    }
    Status execute() const {
        return p.plan.execute(t, workspace);
    }
};

struct Row {
    const char *input;
    StatusCode code;
    const char *says;  ///< part of the message
    std::function<Status()> call;
};

const char *const kProblem = "b2 ic6 i14x15 oc10 f3 p1";

/// Executes a sound problem after a change.
std::function<Status()> execute(const char *problem, std::function<void(Call &)> change) {
    return [=] {
        Call call(problem);
        change(call);
        return call.execute();
    };
}
std::function<Status()> execute(std::function<void(Call &)> change) {
    return execute(kProblem, std::move(change));
}

std::function<Status()> create(std::function<void(Conv2dProblem &, PlanOptions &)> change) {
    return [=] {
        Conv2dProblem problem = parse_problem(kProblem);
        PlanOptions options;
        change(problem, options);
        return Plan::create(problem, options).status();
    };
}

template<typename T>
T *shifted(const T *pointer, size_t bytes) {
    return const_cast<T *>(reinterpret_cast<const T *>(reinterpret_cast<const char *>(pointer) + bytes));
}

std::vector<Row> rows() {
    constexpr StatusCode invalid = StatusCode::kInvalidArgument, unsupported = StatusCode::kUnsupported, exhausted = StatusCode::kResourceExhausted;
    using P = Conv2dProblem;
    using O = PlanOptions;
    return {
        // Plan::create: sizes.
        {"`batch` 0", invalid, "batch is 0", create([](P &p, O &) { p.batch = 0; })},
        {"`in_channels` -6", invalid, "-6", create([](P &p, O &) { p.in_channels = -6; })},
        {"`stride_h` -7", invalid, "-7", create([](P &p, O &) { p.stride_h = -7; })},
        {"`pad_left` -1", invalid, "-1", create([](P &p, O &) { p.pad_left = -1; })},
        {"`groups` 4 of 6 channels", invalid, "4", create([](P &p, O &) { p.groups = 4; })},
        {"`filter_height` 17, padded input 16", invalid, "17x3", create([](P &p, O &) { p.filter_height = 17; })},
        {"`dilation_h` 2^62", invalid, "4611686018427387904", create([](P &p, O &) { p.dilation_h = int64_t{1} << 62; })},
        {"every size the largest int64", invalid, "9223372036854775807", create([](P &p, O &) { p.batch = p.in_channels = p.in_height = p.in_width = p.out_channels = std::numeric_limits<int64_t>::max(); })},
        {"a tensor of 2^61 elements", invalid, "2^60", create([](P &p, O &) { p.batch = int64_t{1} << 30, p.in_height = p.in_width = int64_t{1} << 15, p.in_channels = 2; })},
        {"planes of 2^31 bytes, by direct", unsupported, "2^31", create([](P &p, O &o) { p.in_height = p.in_width = int64_t{1} << 16, o.algorithm = Algorithm::kDirect; })},
        {"clamp from NaN", invalid, "clamp", create([](P &p, O &) { p.post_op = PostOp::kClamp, p.clamp_lo = std::numeric_limits<float>::quiet_NaN(); })},
        {"bwd-filters with a post-op", invalid, "post-op", create([](P &p, O &) { p.operation = Operation::kBackwardFilters, p.post_op = PostOp::kRelu; })},
        {"bwd-data with strides of 2048 and as many taps, by direct", unsupported, "2048x2048 phases", create([](P &p, O &o) { p = parse_problem("bwd-data b1 ic1 i4096 oc1 f2048 s2048"), o.algorithm = Algorithm::kDirect; })},
        {"bwd-data of 1,600 different phases, by direct", unsupported, "1600 different", create([](P &p, O &o) { p = parse_problem("bwd-data b1 ic1 i3000 oc1 f64 s40 d41"), o.algorithm = Algorithm::kDirect; })},
        // Plan::create: options.
        {"`threads` -2", invalid, "-2", create([](P &, O &o) { o.threads = -2; })},
        {"`threads` 5000", invalid, "5000", create([](P &, O &o) { o.threads = 5000; })},
        {"`variant` of no such name", invalid, "abacus", create([](P &, O &o) { o.variant = "abacus"; })},
        {"`choice` of no algorithm", invalid, "abacus", create([](P &, O &o) { o.choice = "abacus gemm"; })},
        {"`blocked` a name that nothing has", invalid, "'winogrd' is neither", create([](P &, O &o) { o.blocked = {"fft", "winogrd"}; })},
        {"winograd for a filter of 5x5", unsupported, "5x5", create([](P &p, O &o) { p.filter_height = p.filter_width = 5, o.algorithm = Algorithm::kWinograd; })},
        {"im2col in 64 bytes of workspace", exhausted, "workspace", create([](P &, O &o) { o.algorithm = Algorithm::kIm2col, o.workspace_limit = 64; })},
        {"fft in 64 bytes of packed filters", exhausted, "packed", create([](P &, O &o) { o.algorithm = Algorithm::kFft, o.packed_filter_limit = 64; })},
        // Plan::execute: pointers.
        {"input null", invalid, "input is null", execute([](Call &c) { c.t.input = nullptr; })},
        {"filters null", invalid, "filters", execute([](Call &c) { c.t.filters = Filters(); })},
        {"residual asked for and null", invalid, "residual is null", execute("b1 ic3 i9 oc4 f3 residual", [](Call &c) { c.t.residual = nullptr; })},
        {"input one byte off", invalid, "input", execute([](Call &c) { c.t.input = shifted(c.t.input.data, 1); })},
        {"output over the input", invalid, "overlap", execute("b1 ic1 i12 oc1 f3 p1", [](Call &c) { c.t.output = const_cast<float *>(c.t.input.data); })},
        {"rows of the input overlap", invalid, "input", execute([](Call &c) { c.t.input = ConstView(c.t.input.data, 6 * 14 * 15, 14 * 15, 14, 1); })},
        {"rows of the input backwards", invalid, "-15", execute([](Call &c) { c.t.input = ConstView(c.t.input.data, 6 * 14 * 15, 14 * 15, -15, 1); })},
        {"columns of the input apart", invalid, "2", execute([](Call &c) { c.t.input = ConstView(c.t.input.data, 6 * 14 * 15, 14 * 15, 15, 2); })},
        // Plan::execute: blocks.
        {"workspace null", invalid, "workspace is null", execute([](Call &c) { c.workspace = {}; })},
        {"workspace a byte short", invalid, "workspace has", execute([](Call &c) { c.workspace.bytes = c.p.plan.workspace_bytes() - 1; })},
        {"workspace 4 bytes off", invalid, "64 bytes", execute([](Call &c) { c.workspace = {shifted(static_cast<char *>(c.workspace.data), 4), c.workspace.bytes}; })},
        {"packed block a byte short", invalid, "filters", execute([](Call &c) { c.t.filters.packed.bytes--; })},
        {"packed block 4 bytes off", invalid, "64 bytes", execute([](Call &c) { c.t.filters.packed.data = shifted(static_cast<const char *>(c.t.filters.packed.data), 4); })},
        {"packed block never packed", invalid, "pack_filters", execute([](Call &c) { std::memset(c.p.packed.data(), 0, c.p.packed.bytes()); })},
        {"packed block with a bit of its header changed", invalid, "another problem", execute([](Call &c) { static_cast<unsigned char *>(c.p.packed.data())[9] ^= 1; })},
        {"packed block of another problem", invalid, "filters",
         [] {
             Call call(kProblem), other("b2 ic6 i14x15 oc12 f3 p1");
             call.t.filters = other.t.filters;
             return call.execute();
         }},
        {"`pack_filters` of null", invalid, "filters is null",
         [] {
             Call call(kProblem);
             return call.p.plan.pack_filters(nullptr, call.p.packed, call.p.workspace);
         }},
        {"an empty Plan", invalid, "empty",
         [] {
             return Plan().execute({}, {});
         }},
        // The others.
        {"`SpectralPlan`, batch 0", invalid, "batch is 0", [] { return SpectralPlan::create({Operation::kForward, 0, 1, 1, 1, 1}).status(); }},
        {"`SpectralTransform` of 0 x 8", invalid, "0", [] { return SpectralTransform::create(0, 8, SpectralOrder::kBijc).status(); }},
        {"`Conv2dProblem::parse` of \"b1 i8 f3 x\"", invalid, "'x'", [] { return Conv2dProblem::parse("b1 i8 f3 x").status(); }},
        {"`parse_algorithm` of \"abacus\"", invalid, "abacus", [] { return parse_algorithm("abacus").status(); }},
    };
}

const char *name_of(StatusCode code) {
    switch (code) {
    case StatusCode::kOk:
        return "ok";
    case StatusCode::kInvalidArgument:
        return "kInvalidArgument";
    case StatusCode::kUnsupported:
        return "kUnsupported";
    case StatusCode::kResourceExhausted:
        return "kResourceExhausted";
    case StatusCode::kInternal:
        return "kInternal";
    }
    return "?";
}

}  // namespace

HardInputs hard_calls() {
    HardInputs part;
    part.title = "The library";
    part.introduction =
        "The problem is `b2 ic6 i14x15 oc10 f3 p1` where nothing else is said. Nothing is written then, neither output nor workspace. `tests/api/arguments.cpp` holds every algorithm to such\n"
        "rows, for the gradients too.";
    for (const Row &row : rows()) {
        SCOPED_TRACE(row.input);
        const Status status = row.call();
        EXPECT_EQ(status.code(), row.code) << status.message();
        EXPECT_NE(status.message().find(row.says), std::string::npos) << status.message();
        part.rows.push_back({row.input, name_of(status.code()), status.message()});
    }
    return part;
}

}  // namespace fourfold::test
