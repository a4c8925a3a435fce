#include "image.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <zlib.h>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#include <stb/stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

#include "files.h"
#include "tiff.h"

namespace fourfold::cli {
namespace {

constexpr int kJpegQuality = 95;

bool starts_with(const std::string &bytes, const char *prefix) {
    return bytes.rfind(prefix, 0) == 0;
}

bool looks_like_pnm(const std::string &bytes) {
    return bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && std::isspace(static_cast<unsigned char>(bytes[2]));
}

bool looks_like_jpeg(const std::string &bytes) {
    return starts_with(bytes, "\xff\xd8\xff");
}

Status bad_image(const std::string &name, const std::string &why) {
    return {StatusCode::kInvalidArgument, fmt::format("'{}': {}", name, why)};
}

/// Interleaved samples of the file to planes in [0, 1].
template<typename Sample>
void to_planes(const Sample *samples, float scale, Image &image) {
    const size_t pixels = static_cast<size_t>(image.height * image.width), channels = static_cast<size_t>(image.channels);
    image.data.resize(pixels * channels);
    for (size_t c = 0; c < channels; ++c) {
        for (size_t i = 0; i < pixels; ++i) {
            image.data[c * pixels + i] = static_cast<float>(samples[i * channels + c]) / scale;
        }
    }
}

/// What PNG and PNM hold of it.
int integer_bits(const Image &image) {
    return image.bits == 8 ? 8 : 16;
}

/// Planes to interleaved samples, quantized. 16-bit samples are big-endian, as PNG and PNM want.
std::string to_samples(const Image &image, int bits) {
    const size_t pixels = static_cast<size_t>(image.height * image.width), channels = static_cast<size_t>(image.channels);
    const size_t sample_bytes = bits == 16 ? 2 : 1;
    std::string samples(pixels * channels * sample_bytes, '\0');
    for (size_t c = 0; c < channels; ++c) {
        for (size_t i = 0; i < pixels; ++i) {
            const int sample = quantized(image.data[c * pixels + i], bits);
            char *out = &samples[(i * channels + c) * sample_bytes];
            if (sample_bytes == 2) {
                *out++ = static_cast<char>(sample >> 8);
            }
            *out = static_cast<char>(sample & 255);
        }
    }
    return samples;
}

/// PNM's header is blank-separated numbers with comments; so is the data of the plain forms P2 and P3.
class PnmReader {
public:
    explicit PnmReader(const std::string &bytes)
        : bytes_(bytes) {
    }
    std::optional<int64_t> number() {
        while (at_ < bytes_.size() && (std::isspace(static_cast<unsigned char>(bytes_[at_])) || bytes_[at_] == '#')) {
            if (bytes_[at_] == '#') {
                at_ = std::min(bytes_.find('\n', at_), bytes_.size());
            } else {
                ++at_;
            }
        }
        int64_t value = 0;
        const size_t start = at_;
        while (at_ < bytes_.size() && std::isdigit(static_cast<unsigned char>(bytes_[at_])) && value < 1'000'000'000) {
            value = value * 10 + (bytes_[at_++] - '0');
        }
        return at_ == start ? std::nullopt : std::optional<int64_t>(value);
    }
    size_t position() const {
        return at_;
    }

private:
    const std::string &bytes_;
    size_t at_ = 2;
};

Result<Image> decode_pnm(const std::string &bytes, const std::string &name) {
    const char kind = bytes[1];
    if (kind == '1' || kind == '4') {
        return bad_image(name, "one-bit PBM images are not supported; PGM and PPM are");
    }
    PnmReader reader(bytes);
    const auto width = reader.number(), height = reader.number(), maximum = reader.number();
    if (!width || !height || !maximum || *width < 1 || *height < 1 || *maximum < 1 || *maximum > 65535) {
        return bad_image(name, "the PGM or PPM header is malformed");
    }
    Image image;
    image.channels = kind == '3' || kind == '6' ? 3 : 1;
    image.width = *width;
    image.height = *height;
    image.bits = *maximum > 255 ? 16 : 8;
    const bool plain = kind < '4';
    const size_t sample_bytes = image.bits / 8;
    const double samples_needed = static_cast<double>(*width) * static_cast<double>(*height) * static_cast<double>(image.channels);
    // One blank ends the header of the binary forms; a plain sample takes at least a digit and a blank.
    const size_t start = reader.position() + 1;
    const double present = start > bytes.size() ? 0.0 : static_cast<double>(bytes.size() - start);
    if (present + 1 < samples_needed * (plain ? 2.0 : static_cast<double>(sample_bytes)) + (plain ? 0.0 : 1.0)) {
        return bad_image(name, "the file is cut short");
    }
    std::vector<uint16_t> samples(static_cast<size_t>(samples_needed));
    const unsigned char *data = reinterpret_cast<const unsigned char *>(bytes.data()) + start;
    for (size_t i = 0; i < samples.size(); ++i) {
        int64_t value = 0;
        if (plain) {
            const auto number = reader.number();
            if (!number) {
                return bad_image(name, "the file is cut short");
            }
            value = *number;
        } else {
            value = sample_bytes == 2 ? data[2 * i] << 8 | data[2 * i + 1] : data[i];
        }
        if (value > *maximum) {
            return bad_image(name, fmt::format("sample {} is over the header's maximum {}", value, *maximum));
        }
        samples[i] = static_cast<uint16_t>(value);
    }
    to_planes(samples.data(), static_cast<float>(*maximum), image);
    return image;
}

struct StbFree {
    void operator()(void *p) const {
        stbi_image_free(p);
    }
};

Result<Image> decode_stb(const std::string &bytes, const std::string &name) {
    if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
        return bad_image(name, "images over 2 GiB are not supported");
    }
    // The JPEG decoder would fill what is missing with grey.
    if (looks_like_jpeg(bytes) && bytes.rfind("\xff\xd9") == std::string::npos) {
        return bad_image(name, "the file is cut short");
    }
    const auto *data = reinterpret_cast<const stbi_uc *>(bytes.data());
    const int size = static_cast<int>(bytes.size());
    int width = 0, height = 0, channels = 0;
    Image image;
    image.bits = stbi_is_16_bit_from_memory(data, size) ? 16 : 8;
    std::unique_ptr<void, StbFree> samples;
    if (image.bits == 16) {
        samples.reset(stbi_load_16_from_memory(data, size, &width, &height, &channels, 0));
    } else {
        samples.reset(stbi_load_from_memory(data, size, &width, &height, &channels, 0));
    }
    if (!samples) {
        const char *why = stbi_failure_reason();
        return bad_image(name, fmt::format("cannot decode the image ({})", why != nullptr ? why : "unknown reason"));
    }
    image.channels = channels;
    image.height = height;
    image.width = width;
    if (image.bits == 16) {
        to_planes(static_cast<const uint16_t *>(samples.get()), 65535.0f, image);
    } else {
        to_planes(static_cast<const uint8_t *>(samples.get()), 255.0f, image);
    }
    return image;
}

void append_big_endian(std::string &out, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        out += static_cast<char>(value >> shift & 255);
    }
}

void append_chunk(std::string &out, const std::string &type_and_data) {
    append_big_endian(out, static_cast<uint32_t>(type_and_data.size() - 4));
    out += type_and_data;
    append_big_endian(out, static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef *>(type_and_data.data()), type_and_data.size())));
}

/// Written here because stb_image_write has no 16-bit PNG. Every row uses filter 1: differences to the pixel on the left.
Result<std::string> encode_png(const Image &image) {
    const int bits = integer_bits(image);
    const std::string samples = to_samples(image, bits);
    const size_t rows = static_cast<size_t>(image.height), row_bytes = samples.size() / rows;
    const size_t pixel_bytes = static_cast<size_t>(image.channels) * static_cast<size_t>(bits / 8);
    std::string filtered;
    filtered.reserve(samples.size() + rows);
    for (size_t r = 0; r < rows; ++r) {
        const char *row = &samples[r * row_bytes];
        filtered += '\x01';
        for (size_t i = 0; i < row_bytes; ++i) {
            filtered += static_cast<char>(row[i] - (i >= pixel_bytes ? row[i - pixel_bytes] : 0));
        }
    }
    uLongf packed_bytes = ::compressBound(filtered.size());
    std::string data("IDAT");
    data.resize(4 + packed_bytes);
    if (::compress2(reinterpret_cast<Bytef *>(data.data() + 4), &packed_bytes, reinterpret_cast<const Bytef *>(filtered.data()), filtered.size(), 6) != Z_OK) {
        return Status(StatusCode::kInternal, "the PNG data could not be compressed");
    }
    data.resize(4 + packed_bytes);
    if (data.size() - 4 > 0x7fffffffu) {
        return Status(StatusCode::kInvalidArgument, "the image is too large for one PNG chunk; write PGM, PPM or --raw instead");
    }
    constexpr char kColourType[] = {0, 4, 2, 6};  // grey, grey + alpha, RGB, RGB + alpha
    std::string header("IHDR");
    append_big_endian(header, static_cast<uint32_t>(image.width));
    append_big_endian(header, static_cast<uint32_t>(image.height));
    header += {static_cast<char>(bits), kColourType[image.channels - 1], 0, 0, 0};
    std::string png("\x89PNG\r\n\x1a\n");
    append_chunk(png, header);
    append_chunk(png, data);
    append_chunk(png, "IEND");
    return png;
}

Result<std::string> encode_jpeg(const Image &image) {
    if (image.width > 65535 || image.height > 65535) {
        return Status(StatusCode::kInvalidArgument, fmt::format("JPEG cannot hold {}x{} pixels; 65535 a side is its limit", image.width, image.height));
    }
    const std::string samples = to_samples(image, 8);
    std::string out;
    const auto append = [](void *context, void *data, int size) { static_cast<std::string *>(context)->append(static_cast<const char *>(data), static_cast<size_t>(size)); };
    if (!stbi_write_jpg_to_func(append, &out, static_cast<int>(image.width), static_cast<int>(image.height), static_cast<int>(image.channels), samples.data(), kJpegQuality)) {
        return Status(StatusCode::kInternal, "the JPEG data could not be compressed");
    }
    return out;
}

}  // namespace

int quantized(float sample, int bits) {
    const float scale = bits == 16 ? 65535.0f : 255.0f;
    return sample > 0.0f ? static_cast<int>(std::lround(std::min(sample, 1.0f) * scale)) : 0;
}

bool looks_like_image(const std::string &bytes) {
    return starts_with(bytes, "\x89PNG") || looks_like_jpeg(bytes) || looks_like_pnm(bytes) || looks_like_tiff(bytes);
}

bool has_image_extension(const std::string &path) {
    const std::string e = lower_extension(path);
    return e == "png" || e == "jpg" || e == "jpeg" || e == "pgm" || e == "ppm" || e == "pnm" || e == "tif" || e == "tiff";
}

Result<Image> decode_image(const std::string &bytes, const std::string &name) {
    return looks_like_pnm(bytes) ? decode_pnm(bytes, name) : looks_like_tiff(bytes) ? decode_tiff(bytes, name) : decode_stb(bytes, name);
}

Status check_image_format(const std::string &path, int64_t channels) {
    const std::string e = lower_extension(path);
    if (!has_image_extension(path)) {
        return bad_image(path, "the output's name must end in .png, .jpg, .jpeg, .pgm, .ppm, .pnm, .tif or .tiff, or, with --raw, in .npy");
    }
    const bool any = e == "png" || e == "tif" || e == "tiff";
    if (any ? channels >= 1 && channels <= 4 : e == "pgm" ? channels == 1 : e == "ppm" ? channels == 3 : channels == 1 || channels == 3) {
        return {};
    }
    const char *names[] = {"", "one channel", "grey and alpha", "three channels", "colour and alpha"};
    return bad_image(path, fmt::format("a .{} file cannot hold {}", e, channels >= 1 && channels <= 4 ? names[channels] : fmt::format("{} channels", channels)));
}

Status write_image(const std::string &path, const Image &image) {
    if (Status status = check_image_format(path, image.channels); !status) {
        return status;
    }
    if (image.width > std::numeric_limits<int32_t>::max() || image.height > std::numeric_limits<int32_t>::max()) {
        return bad_image(path, "the image has more than 2^31 - 1 pixels in one axis");
    }
    const std::string e = lower_extension(path);
    const bool tiff = e == "tif" || e == "tiff";
    if (tiff || e == "png" || e == "jpg" || e == "jpeg") {
        const Result<std::string> bytes = tiff ? encode_tiff(image) : e == "png" ? encode_png(image) : encode_jpeg(image);
        return bytes ? write_file(path, *bytes) : bytes.status();
    }
    const std::string header = fmt::format("P{}\n{} {}\n{}\n", image.channels == 1 ? 5 : 6, image.width, image.height, integer_bits(image) == 16 ? 65535 : 255);
    return write_file(path, header + to_samples(image, integer_bits(image)));
}

}  // namespace fourfold::cli
