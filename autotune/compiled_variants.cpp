#include "compiled_variants.h"

#include <dlfcn.h>

#include <list>

#include "files.h"
#include "registry.h"
#include "text.h"

namespace fourfold::cli {

Status write_compiled_variants(const std::string &path, const std::vector<CompiledVariant> &list) {
    std::string text;
    for (const CompiledVariant &v : list) {
        text += v.stage + "\t" + v.parameters + "\t" + v.name + "\t" + v.hash + "\t" + v.library + "\n";
    }
    return write_file(path, text);
}

Status add_compiled_variants(const std::string &path) {
    static std::list<CompiledVariant> kept;  // the registry points into it
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    for (std::string_view line : split(*text, '\n')) {
        const std::vector<std::string_view> words = split(line, '\t');
        if (words.size() != 5) {
            continue;
        }
        const CompiledVariant &v = kept.emplace_back(CompiledVariant{std::string(words[0]), std::string(words[1]), std::string(words[2]), std::string(words[3]), std::string(words[4])});
        void *library = dlopen(v.library.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            continue;
        }
        const auto install = reinterpret_cast<void (*)()>(dlsym(library, "fourfold_install_halide_hooks"));
        const auto call = reinterpret_cast<int (*)(void **)>(dlsym(library, ("fourfold_" + v.name + "_argv").c_str()));
        if (install == nullptr || call == nullptr) {
            continue;
        }
        install();
        add_variant({v.stage.c_str(), best_isa(), v.parameters.c_str(), v.name.c_str(), call, v.hash.c_str()});
    }
    return {};
}

}  // namespace fourfold::cli
