// At build time: the tables in schedules/tuned/ as C++.  embed_tables OUTPUT TABLE...
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "record.h"

namespace {

/// The texts of a table, each once: a record has where its own begin.
class Texts {
public:
    std::string place(const std::string &text) {
        const auto [at, fresh] = places_.emplace(text, size_);
        if (fresh) {
            size_ += text.size() + 1;
            literals_ += "    " + literal(text + "\\0") + "\n";
        }
        return std::to_string(at->second);
    }
    const std::string &literals() const {
        return literals_;
    }
    /// read_table has let pass only what is plain.
    static std::string literal(const std::string &text) {
        return "\"" + text + "\"";
    }

private:
    std::map<std::string, size_t> places_;
    std::string literals_;
    size_t size_ = 0;
};

std::string number(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", value);
    return text;
}

int fail(const std::string &message) {
    std::fprintf(stderr, "embed_tables: %s\n", message.c_str());
    return 1;
}

}  // namespace

int main(int argc, char **argv) {
    using namespace fourfold;
    if (argc < 2) {
        return fail("usage: embed_tables OUTPUT TABLE...");
    }
    std::string source = "// Generated from schedules/tuned/; do not edit.\n#include \"tables.h\"\n\nnamespace fourfold {\nnamespace {\n\n";
    std::string list;
    for (int i = 2; i < argc; i++) {
        const std::string path = argv[i], name = path.substr(path.find_last_of('/') + 1);
        std::ifstream file(path, std::ios::binary);
        std::ostringstream text;
        text << file.rdbuf();
        const ReadTable table = read_table(text.str());
        if (!file || !table.header) {
            return fail("'" + path + "' is no table: " + (table.first_reason.empty() ? "it is empty" : table.first_reason));
        }
        // As the library reads it at run time: what a killed tune left of a line costs that line.
        if (table.unreadable > 0 || table.torn) {
            std::fprintf(stderr, "embed_tables: warning: '%s': %d lines are left out that are torn or no records%s%s\n", path.c_str(), table.unreadable + table.torn, table.first_reason.empty() ? "" : ": ", table.first_reason.c_str());
        }
        if (table.records.empty()) {
            continue;
        }
        Texts texts;
        std::string rows;
        for (const Record &r : table.records) {
            std::string variants;
            for (const auto &[variant, hash] : r.variants) {
                variants += (variants.empty() ? "" : " ") + variant + " " + hash;
            }
            rows += "    {" + texts.place(r.problem_text()) + ", " + texts.place(r.microarchitecture) + ", " + texts.place(r.isa) + ", " + texts.place(r.choice) + ", " + texts.place(variants) + ", " + std::to_string(r.threads) + ", " +
                    std::to_string(static_cast<int>(r.accuracy)) + ", " + std::to_string(static_cast<int>(r.cache)) + ", " + (r.winner ? "true" : "false") + ", " + (r.failure.empty() ? "false" : "true") + ", " +
                    std::to_string(r.workspace_limit) + "u, " + number(r.seconds_min) + ", " + number(r.seconds_predicted) + "},\n";
        }
        const std::string index = std::to_string(i);
        source += "const char text" + index + "[] =\n" + texts.literals() + ";\n\nconst EmbeddedRecord table" + index + "[] = {\n" + rows + "};\n\n";
        list += "        {" + Texts::literal(name) + ", table" + index + ", " + std::to_string(table.records.size()) + ", text" + index + "},\n";
    }
    source += "}  // namespace\n\nconst std::vector<EmbeddedTable> &embedded_tables() {\n    static const std::vector<EmbeddedTable> list = {\n" + list + "    };\n    return list;\n}\n\n}  // namespace fourfold\n";
    std::ofstream out(argv[1], std::ios::binary);
    out << source;
    out.close();
    return out ? 0 : fail("cannot write '" + std::string(argv[1]) + "'");
}
