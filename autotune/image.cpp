#include "image.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "files.h"
#include "jpeg_image.h"
#include "png_image.h"
#include "tiff.h"

namespace fourfold::cli {
namespace {

constexpr double kMostExpansion = 2000;      ///< of deflate, LZW and JPEG, by which a file's size bounds its pixels
constexpr double kTrustedBytes = 256 << 20;  ///< what is allocated whatever the file's size

bool looks_like_pnm(const std::string &bytes) {
    return bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && std::isspace(static_cast<unsigned char>(bytes[2]));
}

Status bad_image(const std::string &name, const std::string &why) {
    return {StatusCode::kInvalidArgument, fmt::format("'{}': {}", name, why)};
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
    image.data.resize(samples.size());
    const size_t pixels = samples.size() / static_cast<size_t>(image.channels);
    for (size_t i = 0; i < samples.size(); ++i) {
        image.data[i % static_cast<size_t>(image.channels) * pixels + i / static_cast<size_t>(image.channels)] = static_cast<float>(samples[i]) / static_cast<float>(*maximum);
    }
    return image;
}

}  // namespace

int quantized(float sample, int bits) {
    const float scale = bits == 16 ? 65535.0f : 255.0f;
    return sample > 0.0f ? static_cast<int>(std::lround(std::min(sample, 1.0f) * scale)) : 0;
}

int integer_bits(const Image &image) {
    return image.bits == 8 ? 8 : 16;
}

void from_samples(const unsigned char *samples, Image &image) {
    const size_t pixels = static_cast<size_t>(image.height * image.width), channels = static_cast<size_t>(image.channels);
    image.data.resize(pixels * channels);
    for (size_t c = 0; c < channels; ++c) {
        for (size_t i = 0; i < pixels; ++i) {
            const size_t at = i * channels + c;
            image.data[c * pixels + i] = image.bits == 16 ? static_cast<float>(samples[2 * at] << 8 | samples[2 * at + 1]) / 65535.0f : static_cast<float>(samples[at]) / 255.0f;
        }
    }
}

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

Image upright(Image image, int orientation) {
    if (orientation < 2 || orientation > 8) {
        return image;
    }
    // EXIF 2.3, tag 0x0112: which sides of the scene the stored rows and columns begin at. 5 to 8 store columns as rows.
    const bool transposed = orientation >= 5;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const std::vector<float> stored = std::move(image.data);
    const int64_t row = image.width, plane = image.height * image.width;
    if (transposed) {
        std::swap(image.height, image.width);
    }
    image.data.reserve(stored.size());
    for (int64_t c = 0; c < image.channels; ++c) {
        for (int64_t y = 0; y < image.height; ++y) {
            for (int64_t x = 0; x < image.width; ++x) {
                const int64_t down = from_bottom ? image.height - 1 - y : y, right = from_right ? image.width - 1 - x : x;
                image.data.push_back(stored[static_cast<size_t>(c * plane + (transposed ? right * row + down : down * row + right))]);
            }
        }
    }
    return image;
}

int exif_orientation(const unsigned char *data, size_t bytes) {
    if (bytes < 8 || !((data[0] == 'I' && data[1] == 'I') || (data[0] == 'M' && data[1] == 'M'))) {
        return 1;
    }
    const bool little = data[0] == 'I';
    const auto number = [&](size_t at, size_t count) {
        size_t value = 0;
        for (size_t i = 0; i < count; ++i) {
            value = value << 8 | data[at + (little ? count - 1 - i : i)];
        }
        return value;
    };
    const size_t directory = number(4, 4);
    if (directory > bytes - 2) {
        return 1;
    }
    const size_t entries = std::min(number(directory, 2), (bytes - directory - 2) / 12);
    for (size_t at = directory + 2; at < directory + 2 + entries * 12; at += 12) {
        if (number(at, 2) == 0x0112) {
            return static_cast<int>(number(at + 8, 2));
        }
    }
    return 1;
}

Status check_pixels(const Image &image, size_t file_bytes, const std::string &name) {
    const double bytes = static_cast<double>(image.width) * static_cast<double>(image.height) * static_cast<double>(image.channels) * image.bits / 8;
    if (bytes <= std::max(kTrustedBytes, kMostExpansion * static_cast<double>(file_bytes))) {
        return {};
    }
    return bad_image(name, fmt::format("{}x{} pixels are more than {} bytes can hold", image.width, image.height, file_bytes));
}

bool looks_like_image(const std::string &bytes) {
    return looks_like_png(bytes) || looks_like_jpeg(bytes) || looks_like_pnm(bytes) || looks_like_tiff(bytes);
}

bool has_image_extension(const std::string &path) {
    const std::string e = lower_extension(path);
    return e == "png" || e == "jpg" || e == "jpeg" || e == "pgm" || e == "ppm" || e == "pnm" || e == "tif" || e == "tiff";
}

Result<Image> decode_image(const std::string &bytes, const std::string &name) {
    if (looks_like_pnm(bytes)) {
        return decode_pnm(bytes, name);
    }
    return looks_like_tiff(bytes) ? decode_tiff(bytes, name) : looks_like_jpeg(bytes) ? decode_jpeg(bytes, name) : decode_png(bytes, name);
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
        return bytes ? write_file(path, *bytes) : Status(bytes.status().code(), fmt::format("'{}': {}", path, bytes.status().message()));
    }
    const std::string header = fmt::format("P{}\n{} {}\n{}\n", image.channels == 1 ? 5 : 6, image.width, image.height, integer_bits(image) == 16 ? 65535 : 255);
    return write_file(path, header + to_samples(image, integer_bits(image)));
}

}  // namespace fourfold::cli
