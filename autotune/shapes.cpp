#include "shapes.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "files.h"
#include "record.h"
#include "text.h"

namespace fourfold::cli {
namespace {

constexpr size_t kColumns = 12;
const char *const kColumnNames[kColumns] = {"name", "b", "ic", "i0", "i1", "oc", "f0", "f1", "stride", "pad", "dilation", "groups"};

Result<Conv2dProblem> from_columns(const std::vector<std::string_view> &columns) {
    Conv2dProblem p;
    int64_t *const fields[kColumns] = {nullptr, &p.batch, &p.in_channels, &p.in_height, &p.in_width, &p.out_channels, &p.filter_height, &p.filter_width,
                                       &p.stride_h, &p.pad_top, &p.dilation_h, &p.groups};
    for (size_t i = 1; i < kColumns; ++i) {
        const Result<int64_t> value = parse_integer(columns[i], kColumnNames[i]);
        if (!value) {
            return value.status();
        }
        *fields[i] = *value;
    }
    p.stride_w = p.stride_h;
    p.dilation_w = p.dilation_h;
    p.pad_bottom = p.pad_left = p.pad_right = p.pad_top;
    return p;
}

std::string_view unquoted(std::string_view text) {
    text = trim(text);
    return text.size() >= 2 && text.front() == '"' && text.back() == '"' ? text.substr(1, text.size() - 2) : text;
}

bool is_number(std::string_view text) {
    text = trim(text);
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)) || c == '-'; });
}

}  // namespace

Result<Conv2dProblem> parse_valid_problem(const std::string &text) {
    Result<Conv2dProblem> problem = Conv2dProblem::parse(text);
    if (problem) {
        if (Status status = problem->validate(); !status) {
            return status;
        }
    }
    return problem;
}

bool is_spectral(std::string_view text) {
    const std::string padded = " " + std::string(text) + " ";
    const size_t at = padded.find("spectral");
    return at != std::string::npos && std::string(" \t_").find(padded[at - 1]) != std::string::npos;
}

Result<SpectralProblem> parse_valid_spectral(const std::string &text) {
    const Result<SpectralProblem> problem = SpectralProblem::parse(text);
    if (problem) {
        if (Status status = problem->validate(); !status) {
            return status;
        }
    }
    return problem;
}

std::string Shape::text() const {
    return spectral ? spectral->to_string() : tuning_problem(problem).to_string();
}

Result<std::vector<Shape>> parse_shapes(const std::string &text, const std::string &file, SpectralLines lines) {
    std::vector<Shape> shapes;
    int number = 0, left_out = 0;
    for (std::string_view raw : split(text, '\n')) {
        ++number;
        const std::string_view line = trim(raw);
        if (line.empty() || line.front() == '#') {
            continue;
        }
        const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}', line {}: {}", file, number, why)); };
        const std::vector<std::string_view> columns = split(line, ',');
        if (columns.size() < 2) {
            return bad(fmt::format("expected the columns {}, or name,problem", fmt::join(kColumnNames, ",")));
        }
        if (trim(columns[0]) == "name" && (trim(columns[1]) == "b" || trim(columns[1]) == "problem")) {
            continue;
        }
        const std::string_view rest = unquoted(line.substr(line.find(',') + 1));
        if (is_spectral(rest)) {
            const Result<SpectralProblem> spectral = parse_valid_spectral(std::string(rest));
            if (!spectral) {
                return bad(spectral.status().message());
            }
            if (lines == SpectralLines::kTaken) {
                shapes.push_back({std::string(unquoted(columns[0])), Conv2dProblem(), *spectral});
            } else {
                ++left_out;
            }
            continue;
        }
        // A problem's padding has commas too, but its second field is never a bare number.
        Result<Conv2dProblem> problem = Status(StatusCode::kInvalidArgument, "");
        if (is_number(columns[1])) {
            if (columns.size() != kColumns) {
                return bad(fmt::format("{} columns; expected {}: {}", columns.size(), kColumns, fmt::join(kColumnNames, ",")));
            }
            problem = from_columns(columns);
        } else {
            problem = Conv2dProblem::parse(rest);
        }
        if (!problem) {
            return bad(problem.status().message());
        }
        if (Status status = problem->validate(); !status) {
            return bad(status.message());
        }
        shapes.push_back({std::string(unquoted(columns[0])), *problem});
    }
    if (left_out > 0) {
        fmt::print(stderr, "note: '{}': {} spectral product{} left out; bench takes them by --problem, tune both ways\n", file, left_out, left_out == 1 ? " is" : "s are");
    }
    if (shapes.empty()) {
        return Status(StatusCode::kInvalidArgument, fmt::format("'{}' has no problems in it", file));
    }
    return shapes;
}

Result<std::vector<Shape>> read_shapes(const std::string &path, SpectralLines spectral) {
    const Result<std::string> text = read_file(path);
    return text ? parse_shapes(*text, path, spectral) : Result<std::vector<Shape>>(text.status());
}

std::vector<Shape> filter_shapes(const std::vector<Shape> &shapes, const std::string &pattern) {
    std::vector<Shape> kept;
    std::copy_if(shapes.begin(), shapes.end(), std::back_inserter(kept), [&](const Shape &s) { return ::fnmatch(pattern.c_str(), s.name.c_str(), 0) == 0; });
    return kept;
}

Result<std::vector<Shape>> vary(const std::vector<Shape> &shapes, const std::vector<std::string> &operations, const std::vector<std::string> &layouts) {
    std::vector<Shape> list;
    for (const Shape &shape : shapes) {
        for (const std::string &operation : operations.empty() ? std::vector<std::string>{""} : operations) {
            for (const std::string &layout : layouts.empty() ? std::vector<std::string>{""} : layouts) {
                Conv2dProblem p = shape.problem;
                if (shape.spectral && !layout.empty()) {
                    return Status(StatusCode::kInvalidArgument, fmt::format("layout '{}' is of convolutions; {} has its order in its problem, bcij or none", layout, shape.name));
                }
                if (!operation.empty()) {
                    // One line's first word is what an operation is called everywhere.
                    const Result<Conv2dProblem> named = Conv2dProblem::parse(operation + " b1 ic1 i1 oc1 f1");
                    if (!named) {
                        return Status(StatusCode::kInvalidArgument, fmt::format("operation '{}' does not exist; there are fwd, bwd-data, bwd-filters, unfold, fold", operation));
                    }
                    p.operation = named->operation;
                    p.post_op = PostOp::kNone;
                    p.residual = false;
                }
                if (!layout.empty()) {
                    if (layout != "nchw" && layout != "nhwc") {
                        return Status(StatusCode::kInvalidArgument, fmt::format("layout '{}' does not exist; there are nchw, nhwc", layout));
                    }
                    p.layout = layout == "nhwc" ? Layout::kNhwc : Layout::kNchw;
                }
                Shape varied = {shape.name, p, shape.spectral};
                if (shape.spectral && !operation.empty()) {
                    varied.spectral->operation = p.operation;
                }
                if (Status status = shape.spectral ? varied.spectral->validate() : p.validate(); !status) {
                    return Status(StatusCode::kInvalidArgument, fmt::format("{}: {}", shape.name, status.message()));
                }
                list.push_back(std::move(varied));
            }
        }
    }
    return list;
}

Result<Sweep> parse_sweep(const std::string &text) {
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("sweep '{}': {}", text, why)); };
    const std::vector<std::string_view> sides = split(text, '=');
    if (sides.size() != 2) {
        return bad("expected AXIS=LO:HI, such as ic=1:256");
    }
    Sweep sweep;
    sweep.axis = std::string(trim(sides[0]));
    const std::string axes[] = {"b", "ic", "oc", "i", "f"};
    if (std::find(std::begin(axes), std::end(axes), sweep.axis) == std::end(axes)) {
        return bad(fmt::format("there is no axis '{}'; expected b, ic, oc, i or f", sweep.axis));
    }
    const std::vector<std::string_view> bounds = split(sides[1], ':');
    if (bounds.size() != 2) {
        return bad("expected AXIS=LO:HI, such as ic=1:256");
    }
    const Result<int64_t> lo = parse_integer(bounds[0], "the lower bound"), hi = parse_integer(bounds[1], "the upper bound");
    if (!lo || !hi) {
        return bad((lo ? hi : lo).status().message());
    }
    if (*lo < 1 || *hi < *lo || *hi > 1'000'000) {
        return bad(fmt::format("the bounds must satisfy 1 <= LO <= HI <= 1000000, not {}:{}", *lo, *hi));
    }
    if (sweep.axis == "f" && (*lo % 2 == 0 || *hi % 2 == 0)) {
        return bad("filter sizes in a sweep are odd");
    }
    sweep.lo = *lo;
    sweep.hi = *hi;
    return sweep;
}

std::vector<SweepPoint> sweep_points(const Sweep &sweep) {
    const bool is_filter = sweep.axis == "f";
    std::vector<int64_t> values;
    for (int64_t v = sweep.lo; v < sweep.hi; v = is_filter ? std::max(v + 2, v * 7 / 5 | 1) : 2 * v) {
        values.push_back(v);
    }
    values.push_back(sweep.hi);

    std::vector<SweepPoint> points;
    for (int64_t v : values) {
        Conv2dProblem p;
        p.batch = sweep.axis == "b" ? v : 4;
        p.in_channels = sweep.axis == "ic" ? v : 32;
        p.out_channels = sweep.axis == "oc" ? v : 32;
        p.in_height = p.in_width = sweep.axis == "i" ? v : 32;
        p.filter_height = p.filter_width = is_filter ? v : 3;
        points.push_back({v, p.same()});
    }
    return points;
}

std::vector<Sweep> default_sweeps() {
    return {{"b", 1, 32}, {"ic", 1, 256}, {"oc", 1, 256}, {"i", 8, 256}, {"f", 1, 31}};
}

}  // namespace fourfold::cli
