// libpng leaves by longjmp when it fails. Only the functions marked so call it, they own nothing that a jump would lose, and what
// they work on belongs to their callers.
#include "png_image.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <png.h>

namespace fourfold::cli {
namespace {

constexpr char kCutShort[] = "the file is cut short";
constexpr png_byte kProfileChunk[] = {'i', 'C', 'C', 'P', 0};

struct Message {
    char text[200] = "memory ran out";
};

[[noreturn]] void keep_error(png_structp png, png_const_charp text) {
    auto &message = *static_cast<Message *>(png_get_error_ptr(png));
    std::snprintf(message.text, sizeof message.text, "%s", text);
    png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {
}

struct Reader {
    explicit Reader(const std::string &source)
        : bytes(source), png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &message, keep_error, ignore_warning)), info(png != nullptr ? png_create_info_struct(png) : nullptr) {
    }
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;
    ~Reader() {
        png_destroy_read_struct(&png, &info, nullptr);
    }

    Message message;
    const std::string &bytes;
    size_t at = 0;
    png_structp png;
    png_infop info;
    int passes = 1;
};

void read_bytes(png_structp png, png_bytep to, size_t count) {
    auto &reader = *static_cast<Reader *>(png_get_io_ptr(png));
    if (count > reader.bytes.size() - reader.at) {
        png_error(png, kCutShort);
    }
    std::memcpy(to, reader.bytes.data() + reader.at, count);
    reader.at += count;
}

/// Jumps.
bool read_header(Reader &reader, bool with_profile) {
    png_structp png = reader.png;
    if (setjmp(png_jmpbuf(png)) != 0) {
        return false;
    }
    png_set_read_fn(png, &reader, read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    // Damage is an error, not a warning; chunks that say nothing of pixels are not looked at.
    png_set_benign_errors(png, 0);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    if (with_profile) {
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, kProfileChunk, 1);
    }
    png_read_info(png, reader.info);
    png_set_expand(png);
    reader.passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader.info);
    return true;
}

/// Jumps.
bool read_rows(Reader &reader, unsigned char *samples, size_t row_bytes) {
    if (setjmp(png_jmpbuf(reader.png)) != 0) {
        return false;
    }
    const png_uint_32 height = png_get_image_height(reader.png, reader.info);
    for (int pass = 0; pass < reader.passes; ++pass) {
        for (png_uint_32 row = 0; row < height; ++row) {
            png_read_row(reader.png, samples + row * row_bytes, nullptr);
        }
    }
    png_read_end(reader.png, nullptr);
    return true;
}

struct Writer {
    Writer()
        : png(png_create_write_struct(PNG_LIBPNG_VER_STRING, &message, keep_error, ignore_warning)), info(png != nullptr ? png_create_info_struct(png) : nullptr) {
    }
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;
    ~Writer() {
        png_destroy_write_struct(&png, &info);
    }

    Message message;
    std::string bytes;
    png_structp png;
    png_infop info;
};

bool appended(std::string &bytes, const unsigned char *data, size_t count) {
    try {
        bytes.append(reinterpret_cast<const char *>(data), count);
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}

void write_bytes(png_structp png, png_bytep data, size_t count) {
    if (!appended(static_cast<Writer *>(png_get_io_ptr(png))->bytes, data, count)) {
        png_error(png, "memory ran out");
    }
}

void flush_nothing(png_structp) {
}

/// Jumps.
bool write_all(Writer &writer, const Image &image, int bits, const unsigned char *samples, size_t row_bytes) {
    constexpr int kColourType[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
    png_structp png = writer.png;
    if (setjmp(png_jmpbuf(png)) != 0) {
        return false;
    }
    png_set_write_fn(png, &writer, write_bytes, flush_nothing);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png, writer.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), bits, kColourType[image.channels - 1], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (!image.colour_profile.empty()) {
        png_set_iCCP(png, writer.info, "ICC", PNG_COMPRESSION_TYPE_BASE, reinterpret_cast<png_const_bytep>(image.colour_profile.data()), static_cast<png_uint_32>(image.colour_profile.size()));
    }
    png_write_info(png, writer.info);
    for (int64_t row = 0; row < image.height; ++row) {
        png_write_row(png, samples + static_cast<size_t>(row) * row_bytes);
    }
    png_write_end(png, nullptr);
    return true;
}

}  // namespace

bool looks_like_png(const std::string &bytes) {
    return bytes.rfind("\x89PNG", 0) == 0;
}

namespace {

Result<Image> decode(const std::string &bytes, const std::string &name, bool with_profile) {
    Reader reader(bytes);
    const auto failed = [&] {
        const char *const text = reader.message.text;
        return Status(StatusCode::kInvalidArgument, std::strcmp(text, kCutShort) == 0 ? fmt::format("'{}': {}", name, text) : fmt::format("'{}': cannot decode the image ({})", name, text));
    };
    if (reader.info == nullptr || !read_header(reader, with_profile)) {
        return failed();
    }
    Image image;
    image.channels = png_get_channels(reader.png, reader.info);
    image.height = png_get_image_height(reader.png, reader.info);
    image.width = png_get_image_width(reader.png, reader.info);
    image.bits = png_get_bit_depth(reader.png, reader.info);
    if (Status status = check_pixels(image, bytes.size(), name); !status) {
        return status;
    }
    const size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
    std::vector<unsigned char> samples(row_bytes * static_cast<size_t>(image.height));
    if (!read_rows(reader, samples.data(), row_bytes)) {
        return failed();
    }
    from_samples(samples.data(), image);
    png_charp profile_name = nullptr;
    int compression = 0;
    png_bytep profile = nullptr;
    png_uint_32 profile_bytes = 0;
    if (png_get_iCCP(reader.png, reader.info, &profile_name, &compression, &profile, &profile_bytes) == PNG_INFO_iCCP) {
        image.colour_profile.assign(reinterpret_cast<const char *>(profile), profile_bytes);
    }
    return image;
}

}  // namespace

Result<Image> decode_png(const std::string &bytes, const std::string &name) {
    // A profile that libpng does not take is no reason to refuse the pixels.
    Result<Image> image = decode(bytes, name, true);
    return image ? std::move(image) : decode(bytes, name, false);
}

Result<std::string> encode_png(const Image &image) {
    const int bits = integer_bits(image);
    const std::string samples = to_samples(image, bits);
    Writer writer;
    if (writer.info == nullptr || !write_all(writer, image, bits, reinterpret_cast<const unsigned char *>(samples.data()), samples.size() / static_cast<size_t>(image.height))) {
        return Status(StatusCode::kInternal, fmt::format("the PNG could not be made ({})", writer.message.text));
    }
    return std::move(writer.bytes);
}

}  // namespace fourfold::cli
