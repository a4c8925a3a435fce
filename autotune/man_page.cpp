#include "man_page.h"

#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "fourfold/plan.h"
#include "text.h"

namespace fourfold::cli {
namespace {

/// Text as roff prints it: hyphens as such, and nothing at the beginning of a line taken for a request.
std::string roff(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '\\') {
            out += "\\e";
        } else if (c == '-') {
            out += "\\-";
        } else {
            if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
                out += "\\&";
            }
            out += c;
        }
    }
    return out;
}

/// Paragraphs; indented lines, examples, stay as they are.
std::string paragraphs(const std::string &text) {
    std::string out;
    bool example = false;
    for (std::string_view line : split(text, '\n')) {
        const bool indented = line.substr(0, 2) == "  ";
        if (indented != example) {
            out += indented ? ".PP\n.nf\n" : ".fi\n.PP\n";
            example = indented;
        }
        out += roff(line) + "\n";
    }
    return out + (example ? ".fi\n" : "");
}

std::string option_entry(const CLI::Option &option) {
    std::string head = "\\fB" + roff(option.get_name(false, true)) + "\\fR";
    for (size_t at = head.find(','); at != std::string::npos; at = head.find(',', at + 9)) {
        head.replace(at, 1, "\\fR, \\fB");
    }
    if (option.get_expected_max() > 0) {
        head += " \\fI" + roff(option.get_type_name()) + "\\fR";
    }
    std::string text = option.get_description();
    if (!option.get_default_str().empty()) {
        text += fmt::format(" (default: {})", option.get_default_str());
    }
    return ".TP\n" + head + "\n" + roff(text) + (option.get_required() ? " (required)" : "") + "\n";
}

std::string upper(std::string text) {
    for (char &c : text) {
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return text;
}

}  // namespace

std::string man_page(CLI::App &app) {
    const std::string name = app.get_name();
    std::string out = fmt::format(".TH {} 1 \"\" \"{} {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n", upper(name), name, version(), name, roff("batched 2-D convolution, generated ahead of time by Halide"));
    out += fmt::format(".SH SYNOPSIS\n.B {0}\n.I VERB\n[\\fIOPTIONS\\fR]\n.br\n.B {0} \\-\\-version\n.br\n.B {0}\n[\\fIVERB\\fR] \\fB\\-\\-help\\fR\n", name);
    out += ".SH DESCRIPTION\n" + paragraphs(app.get_description() + " A problem is one line of tokens, such as\n  fwd b8 ic64 i56x56 oc64 f3x3 s1x1 p1,1,1,1 d1x1 g1 reflect conv relu\n"
                                             "batch, channels, image, output channels, filter, stride, padding (top, bottom, left, right), dilation, groups, padding mode, flipped filters and post-op; "
                                             "defaults may be left out and one number serves both axes.");
    out += ".SH VERBS\n";
    for (CLI::App *verb : app.get_subcommands([](CLI::App *one) { return !one->get_description().empty(); })) {
        out += fmt::format(".SS {} {}\n{}\n", name, roff(verb->get_name()), roff(verb->get_description() + "."));
        for (const CLI::Option *option : verb->get_options()) {
            if (option != verb->get_help_ptr()) {
                out += option_entry(*option);
            }
        }
        if (!verb->get_footer().empty()) {
            out += ".PP\n" + paragraphs(verb->get_footer());
        }
    }
    out += ".SH EXIT STATUS\n" + paragraphs(app.get_footer());
    out += ".SH ENVIRONMENT\nRead once per process.\n";
    const std::pair<const char *, const char *> variables[] = {
        {"FOURFOLD_ISA", "caps the instructions in use: avx512, avx2 or generic."},
        {"FOURFOLD_TABLE", "tables of measurements, separated by colons, that come before the built-in ones."},
        {"FOURFOLD_CHOICE", "a plan's choice, as explain prints it, taken wherever it can do the problem."},
        {"FOURFOLD_BLOCK", "algorithms and variants, separated by commas, that must not be chosen."},
        {"FOURFOLD_VERBOSE", "1: each plan, and what decided, on standard error."},
        {"FOURFOLD_CAPTURE", "a file that every planned problem is appended to, for tune --shapes."},
    };
    for (const auto &[variable, meaning] : variables) {
        out += fmt::format(".TP\n.B {}\n{}\n", variable, roff(meaning));
    }
    return out;
}

}  // namespace fourfold::cli
