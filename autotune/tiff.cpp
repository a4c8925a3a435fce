#include "tiff.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <tiffio.h>

namespace fourfold::cli {
namespace {

constexpr tmsize_t kLargestStrip = tmsize_t{1} << 30;
constexpr double kLargestClassic = 3.9e9;     ///< bytes of pixels; more takes BigTIFF

/// A file in memory, and what libtiff complained about first.
struct Memory {
    const std::string *source = nullptr;  ///< of a file that is read
    std::string written;
    uint64_t at = 0;
    std::string error;

    const std::string &bytes() const {
        return source != nullptr ? *source : written;
    }
};

Memory &memory_of(thandle_t handle) {
    return *static_cast<Memory *>(handle);
}

tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t wanted) {
    Memory &m = memory_of(handle);
    const uint64_t size = m.bytes().size(), count = m.at < size ? std::min(static_cast<uint64_t>(wanted), size - m.at) : 0;
    std::memcpy(to, m.bytes().data() + std::min(m.at, size), count);
    m.at += count;
    return static_cast<tmsize_t>(count);
}

tmsize_t write_bytes(thandle_t handle, void *from, tmsize_t count) {
    Memory &m = memory_of(handle);
    if (m.source != nullptr) {
        return -1;
    }
    const uint64_t end = m.at + static_cast<uint64_t>(count);
    m.written.resize(std::max<uint64_t>(m.written.size(), end));
    std::memcpy(m.written.data() + m.at, from, static_cast<size_t>(count));
    m.at = end;
    return count;
}

toff_t seek(thandle_t handle, toff_t offset, int whence) {
    Memory &m = memory_of(handle);
    m.at = offset + (whence == SEEK_CUR ? m.at : whence == SEEK_END ? m.bytes().size() : 0);
    return m.at;
}

toff_t size_of(thandle_t handle) {
    return memory_of(handle).bytes().size();
}

int close_nothing(thandle_t) {
    return 0;
}

int keep_error(TIFF *, void *user, const char *, const char *format, va_list arguments) {
    Memory &m = *static_cast<Memory *>(user);
    if (m.error.empty()) {
        char text[300];
        std::vsnprintf(text, sizeof text, format, arguments);
        m.error = text;
    }
    return 1;  // nothing is printed
}

int ignore_warning(TIFF *, void *, const char *, const char *, va_list) {
    return 1;
}

struct CloseTiff {
    void operator()(TIFF *tiff) const {
        TIFFClose(tiff);
    }
};
using TiffFile = std::unique_ptr<TIFF, CloseTiff>;

TiffFile open_tiff(Memory &memory, const char *mode) {
    const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
    if (!options) {
        return nullptr;
    }
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_error, &memory);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore_warning, nullptr);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kLargestStrip);
    return TiffFile(TIFFClientOpenExt("memory", mode, &memory, read_bytes, write_bytes, seek, close_nothing, size_of, nullptr, nullptr, options.get()));
}

struct Format {
    uint32_t width = 0, height = 0;
    uint16_t channels = 1, bits = 1, kind = SAMPLEFORMAT_UINT, photometric = PHOTOMETRIC_MINISBLACK, planar = PLANARCONFIG_CONTIG, extra = 0;
};

/// Samples [0, count) of a row or tile row to their planes; `channel` of planar files, otherwise all interleaved.
void place(const unsigned char *samples, const Format &f, int64_t channel, int64_t row, int64_t column, int64_t count, Image &image) {
    const bool interleaved = f.planar == PLANARCONFIG_CONTIG;
    const int64_t step = interleaved ? f.channels : 1, first = interleaved ? 0 : channel, last = interleaved ? f.channels : channel + 1;
    for (int64_t c = first; c < last; ++c) {
        float *to = image.data.data() + (c * image.height + row) * image.width + column;
        const int64_t start = interleaved ? c : 0;
        const bool invert = f.photometric == PHOTOMETRIC_MINISWHITE && c == 0;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t at = start + i * step;
            if (f.bits == 8) {
                to[i] = static_cast<float>(samples[at]) / 255.0f;
            } else if (f.bits == 16) {
                uint16_t value = 0;
                std::memcpy(&value, samples + 2 * at, 2);
                to[i] = static_cast<float>(value) / 65535.0f;
            } else {
                std::memcpy(&to[i], samples + 4 * at, 4);
            }
            to[i] = invert ? 1.0f - to[i] : to[i];
        }
    }
}

bool read_rows(TIFF *tiff, const Format &f, Image &image) {
    std::vector<unsigned char> buffer(static_cast<size_t>(TIFFScanlineSize64(tiff)));
    const size_t needed = static_cast<size_t>(f.width) * (f.planar == PLANARCONFIG_CONTIG ? f.channels : 1) * (f.bits / 8u);
    const uint16_t planes = f.planar == PLANARCONFIG_CONTIG ? 1 : f.channels;
    if (buffer.size() < needed) {
        return false;
    }
    for (uint16_t plane = 0; plane < planes; ++plane) {
        for (uint32_t row = 0; row < f.height; ++row) {
            if (TIFFReadScanline(tiff, buffer.data(), row, plane) != 1) {
                return false;
            }
            place(buffer.data(), f, plane, row, 0, f.width, image);
        }
    }
    return true;
}

bool read_tiles(TIFF *tiff, const Format &f, Image &image) {
    uint32_t tile_width = 0, tile_height = 0;
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    const size_t row_bytes = static_cast<size_t>(tile_width) * (f.planar == PLANARCONFIG_CONTIG ? f.channels : 1) * (f.bits / 8u);
    const uint64_t tile_bytes = TIFFTileSize64(tiff);
    if (tile_width == 0 || tile_height == 0 || tile_bytes > static_cast<uint64_t>(kLargestStrip) || tile_bytes / tile_height < row_bytes) {
        return false;
    }
    std::vector<unsigned char> buffer(static_cast<size_t>(tile_bytes));
    const uint16_t planes = f.planar == PLANARCONFIG_CONTIG ? 1 : f.channels;
    for (uint16_t plane = 0; plane < planes; ++plane) {
        for (uint32_t y = 0; y < f.height; y += std::min(tile_height, f.height - y)) {
            for (uint32_t x = 0; x < f.width; x += std::min(tile_width, f.width - x)) {
                if (TIFFReadTile(tiff, buffer.data(), x, y, 0, plane) < 0) {
                    return false;
                }
                for (uint32_t row = 0; row < std::min(tile_height, f.height - y); ++row) {
                    place(buffer.data() + row * row_bytes, f, plane, y + row, x, std::min(tile_width, f.width - x), image);
                }
            }
        }
    }
    return true;
}

/// What cannot be read, in words; empty when it can.
std::string unsupported(const Format &f) {
    if (!(f.kind == SAMPLEFORMAT_UINT && (f.bits == 8 || f.bits == 16)) && !(f.kind == SAMPLEFORMAT_IEEEFP && f.bits == 32)) {
        return fmt::format("{}-bit {} samples are not supported; 8- and 16-bit unsigned integers and 32-bit floats are", f.bits,
                           f.kind == SAMPLEFORMAT_UINT ? "unsigned" : f.kind == SAMPLEFORMAT_INT ? "signed" : f.kind == SAMPLEFORMAT_IEEEFP ? "float" : "complex or untyped");
    }
    const bool grey = f.photometric == PHOTOMETRIC_MINISBLACK || f.photometric == PHOTOMETRIC_MINISWHITE;
    if (!grey && f.photometric != PHOTOMETRIC_RGB) {
        const std::string kind = f.photometric == PHOTOMETRIC_PALETTE ? "palettes" : f.photometric == PHOTOMETRIC_SEPARATED ? "CMYK colours" : f.photometric == PHOTOMETRIC_YCBCR ? "YCbCr colours" : f.photometric == PHOTOMETRIC_CIELAB ? "CIE L*a*b* colours" : fmt::format("colours of kind {}", f.photometric);
        return kind + " are not supported; grey and RGB images are";
    }
    const int colours = f.channels - f.extra;
    if (colours != (grey ? 1 : 3) || f.extra > 1) {
        return fmt::format("{} channels, {} of them extra, are not supported; grey and RGB with at most one alpha channel are", f.channels, f.extra);
    }
    return "";
}

}  // namespace

bool looks_like_tiff(const std::string &bytes) {
    const std::string start = bytes.substr(0, 4);
    return start == std::string("II*\0", 4) || start == std::string("MM\0*", 4) || start == std::string("II+\0", 4) || start == std::string("MM\0+", 4);
}

Result<Image> decode_tiff(const std::string &bytes, const std::string &name) {
    Memory memory;
    memory.source = &bytes;
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}': {}", name, why)); };
    const auto broken = [&] { return bad(fmt::format("cannot decode the image ({})", memory.error.empty() ? "the file is damaged or cut short" : memory.error)); };
    const TiffFile tiff = open_tiff(memory, "r");
    if (!tiff) {
        return broken();
    }
    Format f;
    uint16_t compression = COMPRESSION_NONE, *extra_kinds = nullptr;
    if (TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &f.width) != 1 || TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &f.height) != 1 || f.width == 0 || f.height == 0) {
        return bad("the TIFF has no size");
    }
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_SAMPLESPERPIXEL, &f.channels);
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_BITSPERSAMPLE, &f.bits);
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_SAMPLEFORMAT, &f.kind);
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_PLANARCONFIG, &f.planar);
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_EXTRASAMPLES, &f.extra, &extra_kinds);
    if (TIFFGetField(tiff.get(), TIFFTAG_PHOTOMETRIC, &f.photometric) != 1) {
        f.photometric = f.channels >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    }
    if (compression == COMPRESSION_JPEG && f.photometric == PHOTOMETRIC_YCBCR) {
        TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        f.photometric = PHOTOMETRIC_RGB;
    }
    if (const std::string why = unsupported(f); !why.empty()) {
        return bad(why);
    }
    Image image;
    image.channels = f.channels;
    image.height = f.height;
    image.width = f.width;
    image.bits = f.bits;
    if (Status status = check_pixels(image, bytes.size(), name); !status) {
        return status;
    }
    image.data.resize(static_cast<size_t>(image.channels * image.height * image.width));
    if (!(TIFFIsTiled(tiff.get()) ? read_tiles(tiff.get(), f, image) : read_rows(tiff.get(), f, image))) {
        return broken();
    }
    uint16_t orientation = ORIENTATION_TOPLEFT;
    TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_ORIENTATION, &orientation);
    uint32_t profile_bytes = 0;
    void *profile = nullptr;
    if (TIFFGetField(tiff.get(), TIFFTAG_ICCPROFILE, &profile_bytes, &profile) == 1) {
        image.colour_profile.assign(static_cast<const char *>(profile), profile_bytes);
    }
    image.more_pages = TIFFLastDirectory(tiff.get()) == 0;
    return upright(std::move(image), orientation);
}

Result<std::string> encode_tiff(const Image &image) {
    Memory memory;
    const auto failed = [&] { return Status(StatusCode::kInternal, fmt::format("the TIFF could not be made ({})", memory.error.empty() ? "unknown reason" : memory.error)); };
    const double bytes = static_cast<double>(image.data.size()) * image.bits / 8;
    TiffFile tiff = open_tiff(memory, bytes > kLargestClassic ? "w8" : "w");
    if (!tiff) {
        return failed();
    }
    const bool floats = image.bits == 32;
    TIFFSetField(tiff.get(), TIFFTAG_IMAGEWIDTH, static_cast<uint32_t>(image.width));
    TIFFSetField(tiff.get(), TIFFTAG_IMAGELENGTH, static_cast<uint32_t>(image.height));
    TIFFSetField(tiff.get(), TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(image.channels));
    TIFFSetField(tiff.get(), TIFFTAG_BITSPERSAMPLE, image.bits);
    TIFFSetField(tiff.get(), TIFFTAG_SAMPLEFORMAT, floats ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
    TIFFSetField(tiff.get(), TIFFTAG_PHOTOMETRIC, image.colours() == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff.get(), TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff.get(), TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    if (!image.colour_profile.empty()) {
        TIFFSetField(tiff.get(), TIFFTAG_ICCPROFILE, static_cast<uint32_t>(image.colour_profile.size()), image.colour_profile.data());
    }
    if (image.has_alpha()) {
        const uint16_t kind = EXTRASAMPLE_UNASSALPHA;
        TIFFSetField(tiff.get(), TIFFTAG_EXTRASAMPLES, 1, &kind);
    }
    if (TIFFIsCODECConfigured(COMPRESSION_ADOBE_DEFLATE)) {
        TIFFSetField(tiff.get(), TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
        // Not every reader knows the predictor of floats.
        TIFFSetField(tiff.get(), TIFFTAG_PREDICTOR, floats ? PREDICTOR_NONE : PREDICTOR_HORIZONTAL);
    }
    TIFFSetField(tiff.get(), TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tiff.get(), 0));
    const size_t sample_bytes = static_cast<size_t>(image.bits) / 8;
    std::vector<unsigned char> row(static_cast<size_t>(image.width * image.channels) * sample_bytes);
    for (int64_t y = 0; y < image.height; ++y) {
        for (int64_t c = 0; c < image.channels; ++c) {
            const float *from = image.data.data() + (c * image.height + y) * image.width;
            for (int64_t x = 0; x < image.width; ++x) {
                unsigned char *to = row.data() + static_cast<size_t>(x * image.channels + c) * sample_bytes;
                if (floats) {
                    std::memcpy(to, &from[x], 4);
                } else if (image.bits == 16) {
                    const auto sample = static_cast<uint16_t>(quantized(from[x], 16));
                    std::memcpy(to, &sample, 2);
                } else {
                    *to = static_cast<unsigned char>(quantized(from[x], 8));
                }
            }
        }
        if (TIFFWriteScanline(tiff.get(), row.data(), static_cast<uint32_t>(y), 0) != 1) {
            return failed();
        }
    }
    if (TIFFFlush(tiff.get()) != 1) {
        return failed();
    }
    tiff.reset();
    return std::move(memory.written);
}

}  // namespace fourfold::cli
