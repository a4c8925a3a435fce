// At build time: a header with the content hash of each object, as <stem>_hash.  hash_objects OUTPUT LIST
// LIST names an object a line. What a generator writes depends on nothing but the machine code and its symbols: the same code
// has the same hash whatever happened to the sources.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "content_hash.h"

namespace {

int fail(const std::string &message) {
    std::fprintf(stderr, "hash_objects: %s\n", message.c_str());
    return 1;
}

bool read(const std::string &path, std::string &contents) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    contents = text.str();
    return file && !contents.empty();
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        return fail("usage: hash_objects OUTPUT LIST");
    }
    std::string header = "// Generated; do not edit.\n#pragma once\n\n";
    std::ifstream list(argv[2]);
    if (!list) {
        return fail("cannot read '" + std::string(argv[2]) + "'");
    }
    for (std::string path; std::getline(list, path);) {
        std::string contents;
        if (!read(path, contents)) {
            return fail("cannot read '" + path + "'");
        }
        const std::string file = path.substr(path.find_last_of('/') + 1);
        header += "constexpr char " + file.substr(0, file.find('.')) + "_hash[] = \"" + fourfold::hash_text(contents) + "\";\n";
    }
    // Left alone where nothing changed, so that nothing is compiled again.
    if (std::string before; read(argv[1], before) && before == header) {
        return 0;
    }
    std::ofstream out(argv[1], std::ios::binary);
    out << header;
    out.close();
    return out ? 0 : fail("cannot write '" + std::string(argv[1]) + "'");
}
