// Text forms and messages of SpectralProblem.
#include <algorithm>

#include "bad.h"
#include "fourfold/spectral.h"

namespace fourfold {

const char *to_string(SpectralOrder order) {
    return order == SpectralOrder::kBcij ? "bcij" : "bijc";
}

Result<SpectralOrder> parse_spectral_order(std::string_view name) {
    for (SpectralOrder order : {SpectralOrder::kBijc, SpectralOrder::kBcij}) {
        if (name == to_string(order)) {
            return order;
        }
    }
    return bad("order '" + std::string(name) + "' does not exist; there are bijc, bcij");
}

Status SpectralProblem::validate() const {
    if (operation != Operation::kForward && operation != Operation::kBackwardData && operation != Operation::kBackwardFilters) {
        return bad("a spectral product is forward, bwd-data or bwd-filters");
    }
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"batch", batch}, {"in_channels", in_channels}, {"height", height}, {"half_width", half_width}, {"out_channels", out_channels}};
    for (const auto &size : sizes) {
        if (size.value < 1 || size.value > int64_t{1} << 48) {
            return bad(std::string(size.name) + " is " + std::to_string(size.value) + "; it must be 1 to 2^48");
        }
    }
    const double plane = static_cast<double>(height) * static_cast<double>(half_width);
    const double b = static_cast<double>(batch), ic = static_cast<double>(in_channels), oc = static_cast<double>(out_channels);
    if (plane * std::max({b * ic, b * oc, ic * oc}) > 0x1p59) {
        return bad("a spectrum would have over 2^59 elements (" + to_string() + ")");
    }
    return Status();
}

std::string SpectralProblem::to_string() const {
    std::string s = "spectral b" + std::to_string(batch) + " ic" + std::to_string(in_channels) + " i" + std::to_string(height) + "x" + std::to_string(half_width) + " oc" + std::to_string(out_channels);
    s += operation == Operation::kBackwardData ? " bwd-data" : operation == Operation::kBackwardFilters ? " bwd-filters" : "";
    return s + (order == SpectralOrder::kBcij ? " bcij" : "");
}

Result<SpectralProblem> SpectralProblem::parse(std::string_view text) {
    // Sizes read as in a Conv2dProblem; the other words are ours.
    SpectralProblem p;
    std::string sizes;
    int named = 0, ordered = 0, operations = 0;
    const std::string_view blanks = " \t\r\n_";
    while (true) {
        const size_t begin = text.find_first_not_of(blanks);
        if (begin == std::string_view::npos) {
            break;
        }
        text.remove_prefix(begin);
        const std::string_view token = text.substr(0, text.find_first_of(blanks));
        text.remove_prefix(token.size());
        if (token == "spectral") {
            named++;
        } else if (token == "bijc" || token == "bcij") {
            p.order = token == "bcij" ? SpectralOrder::kBcij : SpectralOrder::kBijc;
            ordered++;
        } else if (token == "fwd" || token == "bwd-data" || token == "bwd-filters") {
            p.operation = token == "fwd" ? Operation::kForward : token == "bwd-data" ? Operation::kBackwardData : Operation::kBackwardFilters;
            operations++;
        } else {
            sizes += std::string(token) + " ";
        }
    }
    if (named != 1 || ordered > 1 || operations > 1 || sizes.empty()) {
        return bad("a spectral product reads like 'spectral b128 ic32 i28x15 oc64', with bwd-data or bwd-filters, and bcij, where they apply");
    }
    const Result<Conv2dProblem> read = Conv2dProblem::parse(sizes);
    if (!read) {
        return read.status();
    }
    Conv2dProblem rest;
    p.batch = rest.batch = read->batch;
    p.in_channels = rest.in_channels = read->in_channels;
    p.height = rest.in_height = read->in_height;
    p.half_width = rest.in_width = read->in_width;
    p.out_channels = rest.out_channels = read->out_channels;
    if (*read != rest) {
        return bad("a spectral product has the sizes b, ic, i and oc only; '" + sizes + "' has more");
    }
    return p;
}

}  // namespace fourfold
