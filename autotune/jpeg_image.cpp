// libjpeg leaves by longjmp when it fails. Only the functions marked so call it, they own nothing that a jump would lose, and what
// they work on belongs to their callers.
#include "jpeg_image.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include <fmt/format.h>
// These want size_t and FILE before them.
#include <jpeglib.h>
#include <jerror.h>

namespace fourfold::cli {
namespace {

constexpr int kQuality = 95;
constexpr int kExif = JPEG_APP0 + 1, kProfile = JPEG_APP0 + 2;
constexpr int kMostScans = 500;  ///< of a progressive file; each is a pass over all pixels

/// `manager` comes first: libjpeg hands back its address.
struct Errors {
    jpeg_error_mgr manager{};
    std::jmp_buf escape;
    char text[JMSG_LENGTH_MAX] = "";

    Errors();
};

Errors &errors_of(j_common_ptr jpeg) {
    return *reinterpret_cast<Errors *>(jpeg->err);
}

[[noreturn]] void keep_error(j_common_ptr jpeg) {
    Errors &errors = errors_of(jpeg);
    errors.manager.format_message(jpeg, errors.text);
    std::longjmp(errors.escape, 1);
}

/// Of damaged data libjpeg only warns, and makes up what is missing.
void fail_on_damage(j_common_ptr jpeg, int level) {
    const int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_JFIF_MAJOR && code != JWRN_ADOBE_XFORM) {
        keep_error(jpeg);
    }
}

void print_nothing(j_common_ptr) {
}

Errors::Errors() {
    jpeg_std_error(&manager);
    manager.error_exit = keep_error;
    manager.emit_message = fail_on_damage;
    manager.output_message = print_nothing;
}

void limit_scans(j_common_ptr jpeg) {
    if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMostScans) {
        std::snprintf(errors_of(jpeg).text, sizeof errors_of(jpeg).text, "more than %d scans", kMostScans);
        std::longjmp(errors_of(jpeg).escape, 1);
    }
}

struct Reader {
    Reader() = default;
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;
    ~Reader() {
        jpeg_destroy_decompress(&jpeg);
    }

    Errors errors;
    jpeg_progress_mgr progress{};
    jpeg_decompress_struct jpeg{};
};

/// Jumps.
bool read_header(Reader &reader, const std::string &bytes) {
    jpeg_decompress_struct &jpeg = reader.jpeg;
    jpeg.err = &reader.errors.manager;
    if (setjmp(reader.errors.escape) != 0) {
        return false;
    }
    jpeg_create_decompress(&jpeg);
    reader.progress.progress_monitor = limit_scans;
    jpeg.progress = &reader.progress;
    jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char *>(bytes.data()), bytes.size());
    jpeg_save_markers(&jpeg, kExif, 0xffff);
    jpeg_save_markers(&jpeg, kProfile, 0xffff);
    jpeg_read_header(&jpeg, TRUE);
    return true;
}

/// What the file's EXIF data say.
int orientation_of(const jpeg_decompress_struct &jpeg) {
    constexpr unsigned char kHead[] = {'E', 'x', 'i', 'f', 0, 0};
    for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
        if (marker->marker == kExif && marker->data_length > sizeof kHead && std::memcmp(marker->data, kHead, sizeof kHead) == 0) {
            return exif_orientation(marker->data + sizeof kHead, marker->data_length - sizeof kHead);
        }
    }
    return 1;
}

/// Jumps. What it sets is to be freed.
bool read_profile(Reader &reader, JOCTET **profile, unsigned int *bytes) {
    if (setjmp(reader.errors.escape) != 0) {
        return false;
    }
    return jpeg_read_icc_profile(&reader.jpeg, profile, bytes) != FALSE;
}

/// A row of the file's pixels to the image's planes.
void place(const jpeg_decompress_struct &jpeg, const unsigned char *row, Image &image) {
    float *const to = image.data.data() + (jpeg.output_scanline - 1) * image.width;
    const int64_t plane = image.height * image.width, step = jpeg.output_components;
    for (int64_t c = 0; c < image.channels; ++c) {
        for (int64_t i = 0; i < image.width; ++i) {
            float sample = row[i * step + c];
            if (jpeg.out_color_space == JCS_CMYK) {
                // Adobe's programs, which make nearly all of these, store the complement of the inks.
                const float black = row[i * step + 3];
                sample = (jpeg.saw_Adobe_marker != 0 ? sample * black : (255.0f - sample) * (255.0f - black)) / 255.0f;
            }
            to[c * plane + i] = sample / 255.0f;
        }
    }
}

/// Jumps.
bool read_rows(Reader &reader, unsigned char *row, Image &image) {
    jpeg_decompress_struct &jpeg = reader.jpeg;
    if (setjmp(reader.errors.escape) != 0) {
        return false;
    }
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
        jpeg_read_scanlines(&jpeg, &row, 1);
        place(jpeg, row, image);
    }
    jpeg_finish_decompress(&jpeg);
    return true;
}

struct Writer {
    Writer() = default;
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;
    ~Writer() {
        jpeg_destroy_compress(&jpeg);
    }

    Errors errors;
    jpeg_compress_struct jpeg{};
    jpeg_destination_mgr destination{};
    unsigned char buffer[1 << 14];
    std::string bytes;
};

Writer &writer_of(j_compress_ptr jpeg) {
    return *static_cast<Writer *>(jpeg->client_data);
}

void start_buffer(j_compress_ptr jpeg) {
    Writer &writer = writer_of(jpeg);
    writer.destination.next_output_byte = writer.buffer;
    writer.destination.free_in_buffer = sizeof writer.buffer;
}

bool appended(Writer &writer, size_t count) {
    try {
        writer.bytes.append(reinterpret_cast<const char *>(writer.buffer), count);
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}

boolean empty_buffer(j_compress_ptr jpeg) {
    if (!appended(writer_of(jpeg), sizeof writer_of(jpeg).buffer)) {
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    }
    start_buffer(jpeg);
    return TRUE;
}

void end_buffer(j_compress_ptr jpeg) {
    if (!appended(writer_of(jpeg), sizeof writer_of(jpeg).buffer - writer_of(jpeg).destination.free_in_buffer)) {
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    }
}

/// Jumps.
bool write_all(Writer &writer, const Image &image, const unsigned char *samples) {
    jpeg_compress_struct &jpeg = writer.jpeg;
    jpeg.err = &writer.errors.manager;
    if (setjmp(writer.errors.escape) != 0) {
        return false;
    }
    jpeg_create_compress(&jpeg);
    jpeg.client_data = &writer;
    writer.destination.init_destination = start_buffer;
    writer.destination.empty_output_buffer = empty_buffer;
    writer.destination.term_destination = end_buffer;
    jpeg.dest = &writer.destination;
    jpeg.image_width = static_cast<JDIMENSION>(image.width);
    jpeg.image_height = static_cast<JDIMENSION>(image.height);
    jpeg.input_components = static_cast<int>(image.channels);
    jpeg.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, kQuality, TRUE);
    // The default halves the resolution of colours, which blurs their edges.
    jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&jpeg, TRUE);
    if (!image.colour_profile.empty()) {
        jpeg_write_icc_profile(&jpeg, reinterpret_cast<const JOCTET *>(image.colour_profile.data()), static_cast<unsigned int>(image.colour_profile.size()));
    }
    while (jpeg.next_scanline < jpeg.image_height) {
        // Not written to, but not const in every version.
        JSAMPROW row = const_cast<unsigned char *>(samples) + static_cast<size_t>(jpeg.next_scanline) * static_cast<size_t>(image.width * image.channels);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    return true;
}

}  // namespace

bool looks_like_jpeg(const std::string &bytes) {
    return bytes.rfind("\xff\xd8\xff", 0) == 0;
}

Result<Image> decode_jpeg(const std::string &bytes, const std::string &name) {
    Reader reader;
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}': {}", name, why)); };
    const auto failed = [&] { return bad(reader.errors.manager.msg_code == JWRN_JPEG_EOF ? "the file is cut short" : fmt::format("cannot decode the image ({})", reader.errors.text)); };
    if (!read_header(reader, bytes)) {
        return failed();
    }
    jpeg_decompress_struct &jpeg = reader.jpeg;
    const bool grey = jpeg.jpeg_color_space == JCS_GRAYSCALE, colours = jpeg.jpeg_color_space == JCS_YCbCr || jpeg.jpeg_color_space == JCS_RGB,
               inks = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
    if (!grey && !colours && !inks) {
        return bad(fmt::format("{} channels of unknown colours are not supported; grey, RGB and CMYK are", jpeg.num_components));
    }
    jpeg.out_color_space = grey ? JCS_GRAYSCALE : colours ? JCS_RGB : JCS_CMYK;
    Image image;
    image.channels = grey ? 1 : 3;
    image.height = jpeg.image_height;
    image.width = jpeg.image_width;
    if (Status status = check_pixels(image, bytes.size(), name); !status) {
        return status;
    }
    // The end of decoding forgets both. A profile of inks says nothing of the colours made from them.
    const int orientation = orientation_of(jpeg);
    JOCTET *profile = nullptr;
    unsigned int profile_bytes = 0;
    if (!inks && read_profile(reader, &profile, &profile_bytes)) {
        image.colour_profile.assign(reinterpret_cast<const char *>(profile), profile_bytes);
    }
    std::free(profile);
    image.data.resize(static_cast<size_t>(image.channels * image.height * image.width));
    std::vector<unsigned char> row(static_cast<size_t>(image.width) * 4);
    if (!read_rows(reader, row.data(), image)) {
        return failed();
    }
    return upright(std::move(image), orientation);
}

Result<std::string> encode_jpeg(const Image &image) {
    if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
        return Status(StatusCode::kInvalidArgument, fmt::format("JPEG cannot hold {}x{} pixels; {} a side is its limit", image.width, image.height, static_cast<int64_t>(JPEG_MAX_DIMENSION)));
    }
    const std::string samples = to_samples(image, 8);
    Writer writer;
    if (!write_all(writer, image, reinterpret_cast<const unsigned char *>(samples.data()))) {
        return Status(StatusCode::kInternal, fmt::format("the JPEG could not be made ({})", writer.errors.text));
    }
    return std::move(writer.bytes);
}

}  // namespace fourfold::cli
