// Pictures as planes of floats: PNG and JPEG, PGM and PPM, 8 and 16 bits a sample; TIFF, which may hold floats too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

/// Samples in [0, 1] (of floats, whatever the file has), one plane a channel: data[(c*height + row)*width + column].
struct Image {
    int64_t channels = 1;  ///< 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha
    int64_t height = 0, width = 0;
    int bits = 8;          ///< a sample's bits in the file: 8, 16, or 32 for floats
    std::vector<float> data;
    bool more_pages = false;     ///< the file has others, which were not read
    std::string colour_profile;  ///< ICC, as the file has it for these channels; empty: none

    bool has_alpha() const {
        return channels == 2 || channels == 4;
    }
    int64_t colours() const {
        return has_alpha() ? channels - 1 : channels;
    }
};

/// The sample clamped to [0, 1] and scaled to `bits` (8 or 16) bits, rounded; NaN becomes 0.
int quantized(float sample, int bits);

/// What PNG and PNM hold of it: 8 bits, or 16 of floats too.
int integer_bits(const Image &image);
/// Interleaved samples of image.bits (8, or 16 with the high byte first) to image.data, whose sizes are set.
void from_samples(const unsigned char *samples, Image &image);
/// The same in return: clamped and rounded to 8 or 16 bits.
std::string to_samples(const Image &image, int bits);
/// Whether a file of so many bytes may claim so many pixels: what it can hold compressed, or 256 MiB. Errors: kInvalidArgument.
Status check_pixels(const Image &image, size_t file_bytes, const std::string &name);

/// Whether the bytes begin as one of the formats that decode_image reads.
bool looks_like_image(const std::string &bytes);
/// Whether the name ends as one of the formats that write_image writes.
bool has_image_extension(const std::string &path);

/// The image as it is to be seen, where the file stores it turned or mirrored: orientation 1 to 8 of TIFF and EXIF (1: as stored; others
/// are taken for it).
Image upright(Image image, int orientation);
/// The orientation in EXIF data, which begin with TIFF's header; 1 where they say none.
int exif_orientation(const unsigned char *data, size_t bytes);

/// Upright pixels and the colour profile; of a TIFF the first page. Errors: kInvalidArgument, naming the file.
Result<Image> decode_image(const std::string &bytes, const std::string &name);

/// Writes PNG, JPEG (quality 95), PGM, PPM or TIFF, as the name ends, clamped to [0, 1] and rounded to image.bits (JPEG: 8).
/// Floats go into a TIFF as they are, and into PNG, PGM and PPM as 16 bits.
/// Errors: kInvalidArgument (the format cannot hold the channels), kInternal (cannot write).
Status write_image(const std::string &path, const Image &image);
/// The first of these errors, found out before a long computation.
Status check_image_format(const std::string &path, int64_t channels);

}  // namespace fourfold::cli
