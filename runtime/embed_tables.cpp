// At build time: the tables in schedules/tuned/ as C++.  embed_tables OUTPUT TABLE...
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "record.h"

namespace {

/// A string literal; read_table has let pass only what is plain.
std::string literal(const std::string &text) {
    return "\"" + text + "\"";
}

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
        source += "const EmbeddedRecord table" + std::to_string(i) + "[] = {\n";
        for (const Record &r : table.records) {
            std::string variants;
            for (const auto &[variant, hash] : r.variants) {
                variants += (variants.empty() ? "" : " ") + variant + " " + hash;
            }
            source += "    {" + literal(r.problem_text()) + ", " + std::to_string(static_cast<int>(r.accuracy)) + ", " + literal(r.microarchitecture) + ", " + literal(r.isa) + ", " + std::to_string(r.threads) + ", " +
                      std::to_string(static_cast<int>(r.cache)) + ", " + std::to_string(r.workspace_limit) + "u, " + literal(r.choice) + ", " + literal(variants) + ", " + (r.winner ? "true" : "false") + ", " + literal(r.failure.empty() ? "" : "failed") + ", " +
                      number(r.seconds_min) + ", " + number(r.seconds_predicted) + "},\n";
        }
        source += "};\n\n";
        list += "        {" + literal(name) + ", table" + std::to_string(i) + ", " + std::to_string(table.records.size()) + "},\n";
    }
    source += "}  // namespace\n\nconst std::vector<EmbeddedTable> &embedded_tables() {\n    static const std::vector<EmbeddedTable> list = {\n" + list + "    };\n    return list;\n}\n\n}  // namespace fourfold\n";
    std::ofstream out(argv[1], std::ios::binary);
    out << source;
    out.close();
    return out ? 0 : fail("cannot write '" + std::string(argv[1]) + "'");
}
