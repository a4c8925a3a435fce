// Files of problems (shapes/*.csv), and sweeps of one size.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fourfold/problem.h"
#include "fourfold/spectral.h"
#include "fourfold/status.h"

namespace fourfold::cli {

struct Shape {
    std::string name;
    Conv2dProblem problem;
    std::optional<SpectralProblem> spectral = std::nullopt;  ///< instead of it, only where they are asked for

    /// The one that it is, as tables have it.
    std::string text() const;
};

/// What becomes of a file's spectral products.
enum class SpectralLines {
    kTaken,
    kLeftOut,  ///< with a note on stderr
};

/// Reads columns name,b,ic,i0,i1,oc,f0,f1,stride,pad,dilation,groups, or name,problem in the one-line form; lines may be
/// of either kind. Empty lines, comments (#) and a line of column names are skipped. Every problem is validated.
/// Errors: kInvalidArgument with file and line.
Result<std::vector<Shape>> read_shapes(const std::string &path, SpectralLines spectral = SpectralLines::kLeftOut);
Result<std::vector<Shape>> parse_shapes(const std::string &text, const std::string &file, SpectralLines spectral = SpectralLines::kLeftOut);

/// The problem of one line, parsed and validated.
Result<Conv2dProblem> parse_valid_problem(const std::string &text);

/// Whether a problem's text is one of a spectral product.
bool is_spectral(std::string_view text);
/// A parsed and valid one.
Result<SpectralProblem> parse_valid_spectral(const std::string &text);

/// Shapes whose name matches the shell pattern ("resnet*").
std::vector<Shape> filter_shapes(const std::vector<Shape> &shapes, const std::string &pattern);

/// Each problem as every one of these operations ("fwd", "bwd-data", ...) in every one of these layouts ("nchw", "nhwc"), under
/// its name; an empty list leaves what the problem says. Without what a gradient has not: residual and post-op. A spectral product
/// has its order instead of a layout.
/// Errors: kInvalidArgument for other names, and where a problem has no such form.
Result<std::vector<Shape>> vary(const std::vector<Shape> &shapes, const std::vector<std::string> &operations, const std::vector<std::string> &layouts);

/// One size of the base problem `b4 ic32 i32x32 oc32 f3x3`, same padding, made to vary.
struct Sweep {
    std::string axis;  ///< b, ic, oc, i or f
    int64_t lo = 1, hi = 1;
};
struct SweepPoint {
    int64_t value = 0;
    Conv2dProblem problem;
};

/// "ic=1:256". Errors: kInvalidArgument.
Result<Sweep> parse_sweep(const std::string &text);
/// From lo, doubling, up to hi, which is always the last. Filter sizes stay odd and grow by about 1.4 a step.
std::vector<SweepPoint> sweep_points(const Sweep &sweep);
std::vector<Sweep> default_sweeps();

}  // namespace fourfold::cli
