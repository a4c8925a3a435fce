# The content hashes of compiled variants, in the registry's order.  cmake -D OBJECTS=<list> -D OUTPUT=<file> -P hash_variants.cmake
file(STRINGS "${OBJECTS}" objects)
set(entries "")
foreach(object IN LISTS objects)
    file(SHA256 "${object}" hash)
    string(SUBSTRING "${hash}" 0 16 hash)
    string(APPEND entries "        \"${hash}\",\n")
endforeach()
file(WRITE "${OUTPUT}" "// Generated from the compiled variants; do not edit.
#include \"registry.h\"

namespace fourfold {

const char *const *variant_hashes() {
    static const char *const list[] = {
${entries}    };
    return list;
}

}  // namespace fourfold
")
