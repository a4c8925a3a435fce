#include "contest.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "fourfold/separable.h"
#include "fourfold/staged_plan.h"
#include "clock.h"
#include "machine_limits.h"
#include "own_process.h"
#include "problem_data.h"
#include "reference.h"
#include "text.h"
#include "two_passes.h"

namespace fourfold::cli {
namespace {

struct Contender {
    Entry entry;
    std::optional<Plan> plan;
    std::optional<SeparablePlan> separable;  ///< instead of the plan; its filters are its own
    AlignedBuffer packed;
    DeviceBuffer device_packed;  ///< of a plan on a GPU

    bool planned() const {
        return plan || separable;
    }
    double predicted_seconds() const {
        return separable ? separable->predicted_seconds() : plan->predicted_seconds();
    }
    size_t packed_filter_bytes() const {
        return separable ? 0 : plan->packed_filter_bytes();
    }
    size_t workspace_needed() const {
        return separable ? separable->workspace_bytes() : std::max(plan->workspace_bytes(), plan->workspace_bytes_unpacked());
    }
};

/// Whether it is one of the forms of direct's bwd-filters.
bool sums_filters(const VariantInfo &v) {
    return v.stage == "conv_backward_filters" || v.stage == "conv_depthwise_backward_filters" || v.stage == "conv_direct_oc";
}

/// The other runnable variants of the stage that the plan's own variant belongs to.
std::vector<std::string> sibling_variants(Operation operation, const std::string &variant) {
    const std::vector<VariantInfo> all = list_variants();
    const auto own = std::find_if(all.begin(), all.end(), [&](const VariantInfo &v) { return v.name == variant; });
    std::vector<std::string> names;
    if (own != all.end()) {
        for (const VariantInfo &v : all) {
            // fft_tiled lets its tile size be forced as well as its product, and is planned without a sum over channels too;
            // direct has several forms.
            const bool summed = v.stage == "tile_forward" || v.stage == "tile_product";
            const bool lanes = (v.stage == "lane_columns" || v.stage == "plane_rows") && v.parameters.find("mode=none") == std::string::npos;
            const bool tile = (own->stage == "tile_product" || own->stage == "lane_columns" || own->stage == "plane_rows") && (summed || lanes);
            const bool form = (own->stage.rfind("conv_d", 0) == 0 && v.stage.rfind("conv_d", 0) == 0) || (operation == Operation::kBackwardFilters && sums_filters(*own) && sums_filters(v));
            if ((v.stage == own->stage || tile || form) && v.runnable && v.name != variant) {
                names.push_back(v.name);
            }
        }
    }
    return names;
}

class Contest {
public:
    Contest(const Conv2dProblem &problem, const ContestOptions &options)
        : problem_(problem), options_(options) {
    }

    std::vector<Entry> run() {
        // Two passes are planned from the filters' values.
        if (options_.rank_one && ProblemData::bytes(problem_) < static_cast<double>(options_.memory)) {
            data_ = ProblemData::make(problem_, options_.seed, true);
        }
        plan_all();
        skip_hopeless();
        skip_oversized();
        if (any_left()) {
            if (data_ == nullptr) {
                data_ = ProblemData::make(problem_, options_.seed);
            }
            size_t bytes = 1;
            for (const Contender &c : contenders_) {
                bytes = is_left(c) ? std::max(bytes, c.workspace_needed()) : bytes;
            }
            // Contenders take turns, so they share one workspace; touched here, so that no page is new when timed.
            workspace_ = AlignedBuffer(on_device() ? 1 : bytes);
            if (data_ == nullptr || workspace_.data() == nullptr) {
                skip_rest("memory ran out");
            } else {
                std::memset(workspace_.data(), 0, workspace_.bytes());
                pack();
                check();
                time();
                profile();
            }
        }
        std::vector<Entry> entries;
        for (Contender &c : contenders_) {
            entries.push_back(std::move(c.entry));
        }
        return entries;
    }

private:
    static bool is_left(const Contender &c) {
        return c.entry.outcome == Outcome::kTimed;
    }
    bool any_left() const {
        return std::any_of(contenders_.begin(), contenders_.end(), is_left);
    }
    static void drop(Contender &c, Outcome outcome, std::string reason) {
        c.entry.outcome = outcome;
        c.entry.reason = std::move(reason);
        c.plan.reset();
        c.device_packed = DeviceBuffer();
        c.separable.reset();
        c.packed = AlignedBuffer();
    }
    void skip_rest(const std::string &why) {
        for (Contender &c : contenders_) {
            if (is_left(c)) {
                drop(c, Outcome::kSkipped, why);
            }
        }
    }

    void add(Algorithm algorithm, const std::string &variant) {
        Contender c;
        c.entry.algorithm = algorithm;
        c.entry.variant = variant;
        if (algorithm == Algorithm::kNaive && problem_.flops() > options_.naive_flops) {
            drop(c, Outcome::kSkipped, options_.naive_flops < 0.0 ? "left out by --naive never" : fmt::format("{:.3g} GFLOP is over the limit of {:.3g} for naive", problem_.flops() / 1e9, options_.naive_flops / 1e9));
            contenders_.push_back(std::move(c));
            return;
        }
        PlanOptions plan_options = options_.plan;
        plan_options.algorithm = algorithm;
        plan_options.variant = variant;
        Result<Plan> plan = Plan::create(problem_, plan_options);
        if (!plan) {
            c.entry.status = plan.status();
            drop(c, Outcome::kRefused, plan.status().message());
        } else {
            take(c, std::move(*plan));
            const auto same = [&](const Contender &other) { return other.entry.algorithm == c.entry.algorithm && other.entry.variant == c.entry.variant; };
            if (std::any_of(contenders_.begin(), contenders_.end(), same)) {
                return;
            }
        }
        contenders_.push_back(std::move(c));
    }

    static void take(Contender &c, Plan plan) {
        c.entry.algorithm = plan.algorithm();
        c.entry.variant = plan.variant();
        c.entry.threads = plan.threads();
        c.entry.workspace_bytes = plan.workspace_bytes();
        c.entry.packed_filter_bytes = plan.packed_filter_bytes();
        c.plan = std::move(plan);
    }

    /// Marks what auto chooses. Where that is another variant than the algorithm takes when it is named, it is the algorithm's entry.
    void mark(Plan automatic) {
        const auto of_algorithm = [&](const Contender &c) { return c.entry.outcome != Outcome::kRefused && c.entry.algorithm == automatic.algorithm(); };
        auto at = std::find_if(contenders_.begin(), contenders_.end(), [&](const Contender &c) { return of_algorithm(c) && c.entry.variant == automatic.variant(); });
        if (at == contenders_.end() && options_.plan.variant.empty() && !options_.all_variants) {
            at = std::find_if(contenders_.begin(), contenders_.end(), [&](const Contender &c) { return of_algorithm(c) && c.plan; });
            if (at != contenders_.end()) {
                take(*at, std::move(automatic));
            }
        }
        if (at != contenders_.end()) {
            at->entry.chosen = true;
        }
    }

    void plan_all() {
        for (Algorithm algorithm : options_.algorithms) {
            // A forced variant belongs to one algorithm's stage; the baseline has none.
            add(algorithm, algorithm == Algorithm::kNaive ? "" : options_.plan.variant);
            if (options_.all_variants && algorithm != Algorithm::kNaive && !contenders_.empty() && contenders_.back().plan) {
                const Algorithm actual = contenders_.back().entry.algorithm;
                for (const std::string &variant : sibling_variants(problem_.operation, contenders_.back().entry.variant)) {
                    const size_t before = contenders_.size();
                    add(actual, variant);
                    // Most variants of an algorithm are for other problems: no lines for those.
                    if (contenders_.size() > before && contenders_.back().entry.outcome == Outcome::kRefused) {
                        contenders_.pop_back();
                    }
                }
            }
        }
        PlanOptions automatic = options_.plan;
        automatic.algorithm = Algorithm::kAuto;
        automatic.variant.clear();
        if (Result<Plan> choice = Plan::create(problem_, automatic)) {
            mark(std::move(*choice));
        }
        if (options_.rank_one) {
            plan_two_passes();
        }
    }

    /// Two passes, where the filters allow them: beside named algorithms, and in auto's place where they are predicted faster.
    void plan_two_passes() {
        const auto named = [&](Algorithm a) { return std::find(options_.algorithms.begin(), options_.algorithms.end(), a) != options_.algorithms.end(); };
        const bool automatic = named(Algorithm::kAuto);
        if (data_ == nullptr || !(automatic || named(Algorithm::kDirect))) {
            return;
        }
        PlanOptions plan_options = options_.plan;
        plan_options.algorithm = Algorithm::kAuto;
        Result<SeparablePlan> separable = SeparablePlan::create(problem_, data_->filter_view(problem_), plan_options);
        const auto chosen = std::find_if(contenders_.begin(), contenders_.end(), [](const Contender &c) { return c.entry.chosen && c.plan; });
        if (!separable) {
            return;
        }
        const bool faster = chosen == contenders_.end() || two_passes_are_faster(problem_, data_->filter_view(problem_), plan_options);
        if (automatic && !faster) {
            return;
        }
        Contender c;
        c.entry.algorithm = Algorithm::kDirect;
        c.entry.variant = "two_passes";
        c.entry.chosen = faster;
        c.entry.threads = separable->threads();
        c.entry.workspace_bytes = separable->workspace_bytes();
        c.separable = std::move(*separable);
        if (faster && chosen != contenders_.end()) {
            chosen->entry.chosen = false;
            if (automatic) {
                contenders_.erase(chosen);
            }
        }
        contenders_.push_back(std::move(c));
    }

    void skip_hopeless() {
        double best = 0.0;
        for (const Contender &c : contenders_) {
            if (c.planned() && c.entry.algorithm != Algorithm::kNaive && c.predicted_seconds() > 0 && (best == 0.0 || c.predicted_seconds() < best)) {
                best = c.predicted_seconds();
            }
        }
        for (Contender &c : contenders_) {
            if (options_.hopeless_factor > 0 && best > 0 && c.planned() && !c.entry.chosen && c.entry.algorithm != Algorithm::kNaive &&
                c.predicted_seconds() > options_.hopeless_factor * best) {
                drop(c, Outcome::kSkipped, fmt::format("predicted {:.0f} times slower than the best", c.predicted_seconds() / best));
            }
        }
    }

    void skip_oversized() {
        double bytes = ProblemData::bytes(problem_);
        for (Contender &c : contenders_) {
            if (!c.planned()) {
                continue;
            }
            const double own = static_cast<double>(c.packed_filter_bytes()) + static_cast<double>(c.workspace_needed());
            if (bytes + own > static_cast<double>(options_.memory)) {
                drop(c, Outcome::kSkipped, fmt::format("needs {} of memory, over the limit of {}", bytes_text(static_cast<size_t>(bytes + own)), bytes_text(options_.memory)));
            } else {
                bytes += static_cast<double>(c.packed_filter_bytes());  // held until the end; the workspace is shared
            }
        }
    }

    void pack() {
        if (on_device()) {
            time_transfers();
            send();
        }
        for (Contender &c : contenders_) {
            if (is_left(c) && on_device()) {
                pack_on_device(c);
                continue;
            }
            // No packed form: the plan reads the filters as they are.
            if (!is_left(c) || options_.include_packing || c.packed_filter_bytes() == 0) {
                continue;
            }
            c.packed = AlignedBuffer(c.plan->packed_filter_bytes());
            if (c.packed.data() == nullptr) {
                drop(c, Outcome::kSkipped, "memory ran out");
            } else if (Status status = c.plan->pack_filters(data_->filter_view(problem_), c.packed, workspace_); !status) {
                drop(c, Outcome::kWrong, "pack_filters failed: " + status.message());
            }
        }
    }

    bool on_device() const {
        return options_.plan.device != Device::kCpu;
    }

    /// Times of computation have none for copies. Those are every contender's, measured once, by what a user of the host's data calls; its
    /// memory goes before the contest's is taken.
    void time_transfers() {
        for (const Contender &c : contenders_) {
            Result<StagedPlan> staged = is_left(c) ? StagedPlan::create(*c.plan) : Result<StagedPlan>(Status(StatusCode::kUnsupported, ""));
            if (!staged) {
                continue;
            }
            Tensors tensors = data_->tensors(problem_, AlignedBuffer(), data_->output.data());
            Status status = staged->upload(tensors);
            tensors.filters = Filters();  // packed now
            const auto begin = std::chrono::steady_clock::now();
            status = status ? staged->upload(tensors) : status;
            const auto sent = std::chrono::steady_clock::now();
            status = status ? staged->launch() : status;
            status = status ? synchronize(options_.plan.device) : status;
            const auto computed = std::chrono::steady_clock::now();
            status = status ? staged->download(tensors) : status;
            if (status) {
                transfer_seconds_ = std::chrono::duration<double>((sent - begin) + (std::chrono::steady_clock::now() - computed)).count();
                break;
            }
        }
    }

    /// One copy of the tensors, and of the largest workspace that the device has room for: contenders take turns.
    void send() {
        const Device device = options_.plan.device;
        const ProblemData &d = *data_;
        Status status;
        const auto copy = [&](DeviceBuffer &to, const FloatBuffer &from, int64_t elements) {
            Result<DeviceBuffer> memory = DeviceBuffer::allocate(device, from.data() != nullptr ? static_cast<size_t>(elements) * sizeof(float) : 0);
            status = status ? memory.status() : status;
            if (status) {
                to = std::move(*memory);
                status = copy_to_device(device, to.data(), from.data(), to.bytes());
            }
        };
        copy(device_.input, d.input, problem_.operation == Operation::kFold ? problem_.column_elements() : problem_.input_elements());
        copy(device_.filters, d.filters, problem_.filter_elements());
        copy(device_.bias, d.bias, problem_.out_channels);
        copy(device_.residual, d.residual, ProblemData::result_elements(problem_));
        copy(device_.grad_output, d.grad_output, problem_.output_elements());
        copy(device_.result, d.output, ProblemData::result_elements(problem_));
        if (!status) {
            skip_rest(status.message());
        }
        while (any_left()) {
            size_t most = 0;
            for (const Contender &c : contenders_) {
                most = is_left(c) ? std::max(most, c.workspace_needed()) : most;
            }
            Result<DeviceBuffer> workspace = DeviceBuffer::allocate(device, most);
            if (workspace) {
                device_.workspace = std::move(*workspace);
                return;
            }
            for (Contender &c : contenders_) {
                if (is_left(c) && c.workspace_needed() == most) {
                    drop(c, Outcome::kSkipped, workspace.status().message());
                }
            }
        }
    }

    void pack_on_device(Contender &c) {
        c.entry.transfer_seconds = transfer_seconds_;
        if (options_.include_packing || c.packed_filter_bytes() == 0) {
            return;
        }
        Result<DeviceBuffer> packed = DeviceBuffer::allocate(options_.plan.device, c.packed_filter_bytes());
        if (!packed) {
            drop(c, Outcome::kSkipped, packed.status().message());
            return;
        }
        c.device_packed = std::move(*packed);
        Status status = c.plan->pack_filters(device_filters(), c.device_packed, device_.workspace);
        status = status ? synchronize(options_.plan.device) : status;
        if (!status) {
            drop(c, Outcome::kWrong, "pack_filters failed: " + status.message());
        }
    }

    ConstView device_filters() const {
        ConstView filters = data_->filter_view(problem_);
        filters.data = device_.filters.floats();
        return filters;
    }

    /// The computation on the device, waited for.
    Status compute(Contender &c, Profile *profile) const {
        Tensors t = data_->tensors(problem_, AlignedBuffer(), device_.result.floats());
        t.input.data = device_.input.floats();
        t.grad_output.data = device_.grad_output.floats();
        t.residual.data = device_.residual.floats();
        t.bias = device_.bias.floats();
        const bool packed = c.device_packed.bytes() > 0;
        t.filters = packed ? Filters(ConstMemoryBlock(c.device_packed)) : device_.filters.bytes() > 0 ? Filters(device_filters()) : Filters();
        ExecutionContext context;
        context.profile = profile;
        const size_t bytes = packed || c.packed_filter_bytes() == 0 ? c.plan->workspace_bytes() : c.plan->workspace_bytes_unpacked();
        const Status status = c.plan->execute(t, {device_.workspace.data(), bytes}, context);
        return status ? synchronize(options_.plan.device) : status;
    }

    Status execute(Contender &c, Profile *profile = nullptr) const {
        if (is_stopped()) {
            return {StatusCode::kInternal, "interrupted"};
        }
        if (on_device()) {
            return compute(c, profile);
        }
        const Tensors tensors = data_->tensors(problem_, c.packed, data_->output.data());
        // No more than the plan asked for, so that it has to keep its word.
        ExecutionContext context;
        context.profile = profile;
        if (c.separable) {
            return c.separable->execute(tensors, {workspace_.data(), c.separable->workspace_bytes()}, context);
        }
        const size_t bytes = tensors.filters.is_packed() || c.plan->packed_filter_bytes() == 0 ? c.plan->workspace_bytes() : c.plan->workspace_bytes_unpacked();
        return c.plan->execute(tensors, {workspace_.data(), bytes}, context);
    }

    void check() {
        std::optional<Reference> reference;
        if (options_.check && any_left()) {
            reference.emplace(problem_, arrays_of(*data_), options_.check_all_below_flops);
        }
        for (Contender &c : contenders_) {
            if (!is_left(c) || !reference) {
                continue;
            }
            float *y = data_->output.data();
            std::fill(y, y + ProblemData::result_elements(problem_), std::nanf(""));
            Status status = on_device() ? copy_to_device(options_.plan.device, device_.result.data(), y, device_.result.bytes()) : Status();
            status = status ? execute(c) : status;
            if (status && on_device()) {
                status = copy_to_host(options_.plan.device, y, device_.result.data(), device_.result.bytes());
            }
            if (!status) {
                drop(c, Outcome::kWrong, "execute failed: " + status.message());
                continue;
            }
            c.entry.max_error = reference->max_error(y);
            const double limit = error_limit(to_string(c.entry.algorithm));
            if (!(c.entry.max_error <= limit)) {
                drop(c, Outcome::kWrong, fmt::format("max error {:.2g} is over the limit {:.0e}", c.entry.max_error, limit));
            }
        }
    }

    void time() {
        std::vector<Contender *> timed;
        std::vector<std::function<Status()>> work;
        for (Contender &c : contenders_) {
            if (is_left(c)) {
                timed.push_back(&c);
                work.push_back([this, &c] { return execute(c); });
            }
        }
        MeasureOptions measure = options_.measure;
        if (!measure.clock && options_.plan.device == Device::kCpu) {
            measure.clock = clock_for(options_.plan.threads);
        }
        std::unique_ptr<CacheEvictor> evictor;
        if (options_.cold) {
            evictor = std::make_unique<CacheEvictor>();
            measure.before_sample = [&] { (*evictor)(); };
            measure.single = true;
            measure.max_samples = std::min(measure.max_samples, 20);  // an eviction takes longer than most samples
        }
        const std::vector<Timing> timings = measure_interleaved(work, measure);
        for (size_t i = 0; i < timed.size(); ++i) {
            if (!timings[i].status) {
                drop(*timed[i], Outcome::kWrong, "execute failed: " + timings[i].status.message());
                continue;
            }
            timed[i]->entry.min_seconds = timings[i].min_seconds;
            timed[i]->entry.median_seconds = timings[i].median_seconds;
            timed[i]->entry.seconds = timings[i].seconds;
        }
    }

    /// The mean of some warm executions, stage by stage.
    void profile() {
        for (Contender &c : contenders_) {
            if (!options_.profile || !is_left(c)) {
                continue;
            }
            const int runs = std::clamp(static_cast<int>(0.1 / std::max(c.entry.min_seconds, 1e-6)), 3, 100);
            Profile profile;
            for (int i = 0; i < runs; i++) {
                if (!execute(c, &profile)) {
                    return;
                }
            }
            c.entry.stages = profile.stages();
            for (Profile::Stage &stage : c.entry.stages) {
                stage.calls /= runs;
                stage.seconds /= runs;
            }
        }
    }

    const Conv2dProblem &problem_;
    const ContestOptions &options_;
    std::vector<Contender> contenders_;
    std::unique_ptr<ProblemData> data_;
    AlignedBuffer workspace_;
    struct {
        DeviceBuffer input, filters, bias, residual, grad_output, result, workspace;
    } device_;
    double transfer_seconds_ = 0.0;
};

}  // namespace

const std::vector<Algorithm> &compared_algorithms() {
    static const std::vector<Algorithm> algorithms = {Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd};
    return algorithms;
}

const char *to_string(Outcome outcome) {
    switch (outcome) {
    case Outcome::kTimed:
        return "timed";
    case Outcome::kSkipped:
        return "skipped";
    case Outcome::kRefused:
        return "refused";
    case Outcome::kWrong:
        return "FAILED";
    }
    return "";
}

std::vector<Entry> run_contest(const Conv2dProblem &problem, const ContestOptions &options) {
    return Contest(problem, options).run();
}

double best_seconds(const std::vector<Entry> &entries) {
    double best = 0.0;
    for (const Entry &e : entries) {
        if (e.outcome == Outcome::kTimed && (best == 0.0 || e.min_seconds < best)) {
            best = e.min_seconds;
        }
    }
    return best;
}

}  // namespace fourfold::cli
