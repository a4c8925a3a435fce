// The reader of .npy files: an array of the size that its shape says, or a sentence.
#include <string>

#include "fuzz.h"
#include "npy.h"

using namespace fourfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const std::string text(reinterpret_cast<const char *>(data), bytes);
    const Result<cli::Array> array = cli::parse_npy(text, "fuzz.npy");
    if (array) {
        fuzz::expect(array->data.size() == static_cast<size_t>(array->elements()), "shape and data differ: " + cli::shape_text(array->shape));
        fuzz::expect(array->data.size() * sizeof(float) <= bytes, "more data than the file has: " + cli::shape_text(array->shape));
    } else {
        fuzz::expect(array.status().code() == StatusCode::kInvalidArgument && array.status().message().find("fuzz.npy") != std::string::npos, array.status().message());
    }
    return 0;
}
