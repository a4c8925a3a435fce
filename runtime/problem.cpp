// Text forms and messages of Conv2dProblem.
#include "fourfold/problem.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bad.h"

namespace fourfold {
namespace {

struct OperationName {
    Operation value;
    const char *name;
};
constexpr OperationName kOperations[] = {
    {Operation::kForward, "fwd"},
    {Operation::kBackwardData, "bwd-data"},
    {Operation::kBackwardFilters, "bwd-filters"},
    {Operation::kUnfold, "unfold"},
    {Operation::kFold, "fold"},
    {Operation::kSpectral, "spectral"},
};

struct PaddingModeName {
    PaddingMode value;
    const char *name;
};
constexpr PaddingModeName kPaddingModes[] = {
    {PaddingMode::kZeros, "zeros"},
    {PaddingMode::kConstant, "constant"},
    {PaddingMode::kReflect, "reflect"},
    {PaddingMode::kSymmetric, "symmetric"},
    {PaddingMode::kReplicate, "replicate"},
    {PaddingMode::kCircular, "circular"},
};

std::string shape(int64_t a, int64_t b) {
    return std::to_string(a) + "x" + std::to_string(b);
}

/// The shortest text that reads back as the same float.
std::string number(float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
        if (std::strtof(text, nullptr) == value) {
            break;
        }
    }
    return text;
}

bool read_integer(std::string_view text, int64_t &value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

bool read_float(std::string_view text, float &value) {
    const std::string copy(text);
    char *end = nullptr;
    value = std::strtof(copy.c_str(), &end);
    return !copy.empty() && end == copy.c_str() + copy.size();
}

/// "56x28", or one number for both.
bool read_pair(std::string_view text, int64_t &a, int64_t &b) {
    const size_t x = text.find('x');
    if (x == std::string_view::npos) {
        if (!read_integer(text, a)) {
            return false;
        }
        b = a;
        return true;
    }
    return read_integer(text.substr(0, x), a) && read_integer(text.substr(x + 1), b);
}

/// "1,1,2,2" (top, bottom, left, right), or one number for all.
bool read_padding(std::string_view text, Conv2dProblem &p) {
    std::array<int64_t, 4> v{};
    size_t count = 0;
    while (true) {
        const size_t comma = text.find(',');
        if (count == 4 || !read_integer(text.substr(0, comma), v[count])) {
            return false;
        }
        count++;
        if (comma == std::string_view::npos) {
            break;
        }
        text.remove_prefix(comma + 1);
    }
    if (count == 1) {
        v[1] = v[2] = v[3] = v[0];
    } else if (count != 4) {
        return false;
    }
    p.pad_top = v[0];
    p.pad_bottom = v[1];
    p.pad_left = v[2];
    p.pad_right = v[3];
    return true;
}

/// Words (names of operations and modes, with their values after ':'). `kind` becomes what the word decides.
bool read_word(std::string_view token, Conv2dProblem &p, std::string_view &kind, Status &status) {
    for (const OperationName &o : kOperations) {
        if (token == o.name) {
            p.operation = o.value;
            kind = "operation";
            return true;
        }
    }
    const size_t colon = token.find(':');
    const std::string_view name = token.substr(0, colon);
    const std::string_view value = colon == std::string_view::npos ? std::string_view() : token.substr(colon + 1);
    const auto wrong = [&](const char *form) {
        status = bad("problem token '" + std::string(token) + "' should read " + form);
        return true;
    };
    for (const PaddingModeName &m : kPaddingModes) {
        if (name != m.name) {
            continue;
        }
        p.padding_mode = m.value;
        kind = "padding mode";
        if (m.value == PaddingMode::kConstant) {
            if (!read_float(value, p.padding_value) || std::isnan(p.padding_value)) {
                return wrong("constant:VALUE");
            }
        } else if (colon != std::string_view::npos) {
            return wrong(m.name);
        }
        return true;
    }
    if (name == "clamp") {
        const size_t comma = value.find(',');
        kind = "post-op";
        p.post_op = PostOp::kClamp;
        if (comma == std::string_view::npos || !read_float(value.substr(0, comma), p.clamp_lo) || !read_float(value.substr(comma + 1), p.clamp_hi)) {
            return wrong("clamp:LO,HI");
        }
        return true;
    }
    if (token == "corr" || token == "conv") {
        kind = "filter mode";
        p.filter_mode = token == "conv" ? FilterMode::kConvolution : FilterMode::kCorrelation;
    } else if (token == "nchw" || token == "nhwc") {
        kind = "layout";
        p.layout = token == "nhwc" ? Layout::kNhwc : Layout::kNchw;
    } else if (token == "relu") {
        kind = "post-op";
        p.post_op = PostOp::kRelu;
    } else if (token == "residual") {
        p.residual = true;
    } else {
        return false;
    }
    return true;
}

/// A letter or two and numbers: b8 ic64 i56x56 oc64 f3x3 s2x2 p1,1,1,1 d1x1 g32.
bool read_size(std::string_view token, Conv2dProblem &p) {
    const auto after = [&](const char *prefix) {
        return token.substr(std::string_view(prefix).size());
    };
    const auto starts = [&](const char *prefix) {
        return token.substr(0, std::string_view(prefix).size()) == prefix;
    };
    if (starts("ic")) {
        return read_integer(after("ic"), p.in_channels);
    }
    if (starts("oc")) {
        return read_integer(after("oc"), p.out_channels);
    }
    if (starts("b")) {
        return read_integer(after("b"), p.batch);
    }
    if (starts("i")) {
        return read_pair(after("i"), p.in_height, p.in_width);
    }
    if (starts("f")) {
        return read_pair(after("f"), p.filter_height, p.filter_width);
    }
    if (starts("s")) {
        return read_pair(after("s"), p.stride_h, p.stride_w);
    }
    if (starts("p")) {
        return read_padding(after("p"), p);
    }
    if (starts("d")) {
        return read_pair(after("d"), p.dilation_h, p.dilation_w);
    }
    if (starts("g")) {
        return read_integer(after("g"), p.groups);
    }
    return false;
}

}  // namespace

std::string Conv2dProblem::to_string() const {
    std::string s;
    for (const OperationName &o : kOperations) {
        if (o.value == operation) {
            s = o.name;
        }
    }
    s += " b" + std::to_string(batch) + " ic" + std::to_string(in_channels) + " i" + shape(in_height, in_width) + " oc" + std::to_string(out_channels) + " f" + shape(filter_height, filter_width);
    if (stride_h != 1 || stride_w != 1) {
        s += " s" + shape(stride_h, stride_w);
    }
    if (pad_top != 0 || pad_bottom != 0 || pad_left != 0 || pad_right != 0) {
        s += " p" + std::to_string(pad_top) + "," + std::to_string(pad_bottom) + "," + std::to_string(pad_left) + "," + std::to_string(pad_right);
    }
    if (dilation_h != 1 || dilation_w != 1) {
        s += " d" + shape(dilation_h, dilation_w);
    }
    if (groups != 1) {
        s += " g" + std::to_string(groups);
    }
    if (padding_mode != PaddingMode::kZeros) {
        for (const PaddingModeName &m : kPaddingModes) {
            if (m.value == padding_mode) {
                s += std::string(" ") + m.name;
            }
        }
        if (padding_mode == PaddingMode::kConstant) {
            s += ":" + number(padding_value);
        }
    }
    if (filter_mode == FilterMode::kConvolution) {
        s += " conv";
    }
    if (layout == Layout::kNhwc) {
        s += " nhwc";
    }
    if (residual) {
        s += " residual";
    }
    if (post_op == PostOp::kRelu) {
        s += " relu";
    } else if (post_op == PostOp::kClamp) {
        s += " clamp:" + number(clamp_lo) + "," + number(clamp_hi);
    }
    return s;
}

Result<Conv2dProblem> Conv2dProblem::parse(std::string_view text) {
    Conv2dProblem p;
    std::vector<std::string_view> seen;
    bool any = false;
    const std::string_view blanks = " \t\r\n_";
    while (true) {
        const size_t begin = text.find_first_not_of(blanks);
        if (begin == std::string_view::npos) {
            break;
        }
        text.remove_prefix(begin);
        const std::string_view token = text.substr(0, text.find_first_of(blanks));
        text.remove_prefix(token.size());
        any = true;
        Status status;
        // What the token decides; for sizes, their letters. The same thing decided twice is a mistake, not a choice.
        std::string_view key = token.substr(0, std::min(token.size(), token.find_first_of("0123456789-:")));
        if (!read_word(token, p, key, status) && !read_size(token, p)) {
            status = bad("problem token '" + std::string(token) + "' is not understood; a problem reads like 'fwd b8 ic64 i56x56 oc64 f3x3 s1x1 p1,1,1,1 d1x1 g1'");
        }
        if (!status.ok()) {
            return status;
        }
        for (std::string_view s : seen) {
            if (s == key) {
                return bad("problem token '" + std::string(token) + "' decides the " + std::string(key) + " a second time");
            }
        }
        seen.push_back(key);
    }
    if (!any) {
        return bad("the problem is empty; it reads like 'fwd b8 ic64 i56x56 oc64 f3x3 p1'");
    }
    return p;
}

Status Conv2dProblem::validate() const {
    const char *what = error();
    if (what == nullptr) {
        return Status();
    }
    const struct {
        const char *name;
        int64_t value;
    } positive[] = {{"batch", batch}, {"in_channels", in_channels}, {"in_height", in_height}, {"in_width", in_width}, {"out_channels", out_channels}, {"filter_height", filter_height}, {"filter_width", filter_width}, {"stride_h", stride_h}, {"stride_w", stride_w}, {"dilation_h", dilation_h}, {"dilation_w", dilation_w}, {"groups", groups}};
    for (const auto &p : positive) {
        if (p.value < 1) {
            return bad(std::string(p.name) + " is " + std::to_string(p.value) + "; it must be at least 1");
        }
        if (p.value > kMaxSize) {
            return bad(std::string(p.name) + " is " + std::to_string(p.value) + "; it must be at most 2^48");
        }
    }
    const std::string padding = "padding " + std::to_string(pad_top) + "," + std::to_string(pad_bottom) + "," + std::to_string(pad_left) + "," + std::to_string(pad_right);
    std::string detail;
    if (std::string_view(what) == kOutputPadding) {
        detail = "output padding " + shape(pad_top, pad_left) + ", stride " + shape(stride_h, stride_w) + ", dilation " + shape(dilation_h, dilation_w);
    } else if (in_channels % groups != 0 || out_channels % groups != 0) {
        detail = "groups " + std::to_string(groups) + ", in_channels " + std::to_string(in_channels) + ", out_channels " + std::to_string(out_channels);
    } else if (post_op == PostOp::kClamp && !(clamp_lo <= clamp_hi)) {
        detail = "lo " + number(clamp_lo) + ", hi " + number(clamp_hi);
    } else if (std::string_view(what) == kTooManyElements || ((operation == Operation::kBackwardFilters || moves_columns()) && (post_op != PostOp::kNone || residual || filter_mode != FilterMode::kCorrelation))) {
        detail = to_string();
    } else {
        detail = "input " + shape(in_height, in_width) + ", filter " + shape(filter_height, filter_width) + ", dilation " + shape(dilation_h, dilation_w) + ", " + padding;
    }
    return bad(std::string(what) + " (" + detail + ")");
}

}  // namespace fourfold
