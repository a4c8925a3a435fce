// The readers of images: planes of the size that the header says, or a sentence.
#include <cmath>
#include <string>

#include "fuzz.h"
#include "image.h"

using namespace fourfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const std::string text(reinterpret_cast<const char *>(data), bytes);
    if (!cli::looks_like_image(text)) {
        return 0;
    }
    const Result<cli::Image> image = cli::decode_image(text, "fuzz.png");
    if (!image) {
        fuzz::expect(image.status().code() == StatusCode::kInvalidArgument && image.status().message().find("fuzz.png") != std::string::npos, image.status().message());
        return 0;
    }
    fuzz::expect(image->channels >= 1 && image->channels <= 4 && image->height >= 1 && image->width >= 1, "an image without pixels");
    fuzz::expect(image->data.size() == static_cast<size_t>(image->channels * image->height * image->width), "size and data differ");
    return 0;
}
