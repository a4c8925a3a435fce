// `fourfold run` on images: formats, named filters, SciPy's names for modes, strips; and files that are not as they should be.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "command/command.h"
#include "image.h"
#include "support/npy.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

struct TiffSpec {
    uint16_t width = 5, height = 4, channels = 1, bits = 8;
    uint16_t format = 1;  ///< 1 unsigned, 2 signed, 3 float
    uint16_t photometric = 1;
    bool planar = false, big_endian = false;
    uint16_t orientation = 1;
};

/// An uncompressed TIFF of one strip a plane, by the specification rather than by libtiff.
std::string tiff_bytes(const TiffSpec &spec, const std::string &samples) {
    const auto number = [&](uint64_t value, int bytes) {
        std::string out;
        for (int i = 0; i < bytes; i++) {
            out += static_cast<char>(value >> 8 * (spec.big_endian ? bytes - 1 - i : i));
        }
        return out;
    };
    const uint32_t planes = spec.planar ? spec.channels : 1, plane_bytes = static_cast<uint32_t>(samples.size()) / planes;
    const bool extra = spec.channels == 2 || spec.channels == 4;
    struct Field {
        uint16_t tag, type;
        std::vector<uint32_t> values;
    };
    std::vector<Field> fields = {{256, 3, {spec.width}}, {257, 3, {spec.height}}, {258, 3, std::vector<uint32_t>(spec.channels, spec.bits)}, {259, 3, {1}}, {262, 3, {spec.photometric}}, {273, 4, {}}, {274, 3, {spec.orientation}}, {277, 3, {spec.channels}}, {278, 3, {spec.height}}, {279, 4, std::vector<uint32_t>(planes, plane_bytes)}, {284, 3, {spec.planar ? 2u : 1u}}};
    if (spec.photometric == 3) {
        fields.push_back({320, 3, std::vector<uint32_t>(3 << spec.bits)});
    }
    if (extra) {
        fields.push_back({338, 3, {2}});
    }
    fields.push_back({339, 3, std::vector<uint32_t>(spec.channels, spec.format)});
    for (uint32_t plane = 0; plane < planes; plane++) {
        fields[5].values.push_back(8 + plane * plane_bytes);
    }
    std::string directory = number(fields.size(), 2), values;
    const size_t directory_at = 8 + (samples.size() + 1) / 2 * 2, values_at = directory_at + 2 + 12 * fields.size() + 4;
    for (const Field &field : fields) {
        std::string packed;
        for (uint32_t value : field.values) {
            packed += number(value, field.type == 3 ? 2 : 4);
        }
        directory += number(field.tag, 2) + number(field.type, 2) + number(field.values.size(), 4);
        if (packed.size() > 4) {
            directory += number(values_at + values.size(), 4);
            values += packed;
        } else {
            directory += packed + std::string(4 - packed.size(), '\0');
        }
    }
    std::string file = (spec.big_endian ? std::string("MM") : std::string("II")) + number(42, 2) + number(directory_at, 4) + samples;
    file.resize(directory_at);
    return file + directory + number(0, 4) + values;
}

std::string float_bytes(const std::vector<float> &values) {
    std::string bytes(4 * values.size(), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

Arguments run(const std::string &input, const std::string &filters, const std::string &output, const Arguments &more = {}) {
    Arguments arguments = {"run", "--input", input, "--filters", filters, "--output", output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

std::string pgm(int width, int height, const std::string &samples, const char *kind = "P5", int most = 255) {
    return std::string(kind) + "\n" + std::to_string(width) + " " + std::to_string(height) + "\n" + std::to_string(most) + "\n" + samples;
}

/// Some picture: every sample a byte.
std::string noise(size_t count) {
    std::string samples;
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        samples += static_cast<char>(state >> 24);
    }
    return samples;
}

/// The raw result of an image run: (channels, height, width).
NpyArray raw(const TemporaryFolder &folder, const std::string &input, const std::string &filters, const Arguments &more = {}) {
    Arguments arguments = run(input, filters, folder / "raw.npy", more);
    EXPECT_TRUE(exits_with(0, fourfold_command(arguments))) << filters;
    return read_npy(folder / "raw.npy");
}

double largest_difference(const NpyArray &a, const NpyArray &b) {
    EXPECT_EQ(a.shape, b.shape);
    double worst = a.values.size() == b.values.size() ? 0.0 : INFINITY;
    for (size_t i = 0; i < a.values.size() && i < b.values.size(); i++) {
        worst = std::max(worst, std::fabs(static_cast<double>(a.values[i]) - b.values[i]));
    }
    return worst;
}

TEST(Images, EveryFormatKeepsEightAndSixteenBits) {
    const TemporaryFolder folder;
    for (const int channels : {1, 3}) {
        for (const int bytes : {1, 2}) {
            const std::string image = pgm(7, 5, noise(static_cast<size_t>(7 * 5 * channels * bytes)), channels == 1 ? "P5" : "P6", bytes == 1 ? 255 : 65535);
            const std::string pnm = folder / (channels == 1 ? "x.pgm" : "x.ppm"), back = folder / (channels == 1 ? "y.pgm" : "y.ppm");
            write_bytes(pnm, image);
            for (const char *between : {"z.png", "z.tif", "z.tiff", "z.pnm"}) {
                ASSERT_TRUE(exits_with(0, fourfold_command(run(pnm, "identity", folder / between)))) << between;
                ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / between, "identity", back)))) << between;
                EXPECT_EQ(read_bytes(back), image) << between << " of " << channels << " channels, " << bytes << " bytes";
            }
        }
    }
}

TEST(Images, TiffOfAnyMaker) {
    const TemporaryFolder folder;
    const std::vector<float> floats = {-1.5f, 0.0f, 0.25f, 3.0f, 1e-3f, 1.0f};
    TiffSpec spec;
    spec.width = 3;
    spec.height = 2;
    spec.bits = 32;
    spec.format = 3;
    write_bytes(folder / "x.tif", tiff_bytes(spec, float_bytes(floats)));
    EXPECT_EQ(raw(folder, folder / "x.tif", "identity").values, floats);
    // Floats stay floats in a TIFF, and are clamped into 16 bits elsewhere.
    ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / "x.tif", "identity", folder / "y.tif"))));
    EXPECT_EQ(raw(folder, folder / "y.tif", "identity").values, floats);
    ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / "x.tif", "identity", folder / "y.pgm"))));
    EXPECT_EQ(read_bytes(folder / "y.pgm"), pgm(3, 2, std::string("\0\0\0\0\x40\0\xff\xff\0\x42\xff\xff", 12), "P5", 65535));

    // Planes, byte orders, alpha, and grey whose 0 is white.
    for (const bool planar : {false, true}) {
        TiffSpec colours;
        colours.channels = 4;
        colours.photometric = 2;
        colours.planar = planar;
        colours.big_endian = planar;
        std::string samples;
        for (int i = 0; i < 80; i++) {
            samples += static_cast<char>(planar ? i / 20 * 60 + i % 20 : i % 4 * 60 + i / 4);
        }
        write_bytes(folder / "x.tif", tiff_bytes(colours, samples));
        const NpyArray planes = raw(folder, folder / "x.tif", "identity");
        ASSERT_EQ(planes.shape, (std::vector<int64_t>{4, 4, 5}));
        for (size_t i = 0; i < 80; i++) {
            EXPECT_FLOAT_EQ(planes.values[i], static_cast<float>(i / 20 * 60 + i % 20) / 255.0f);
        }
        EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.tif", "identity", folder / "y.ppm")), {"y.ppm", "alpha"}));
    }
    TiffSpec inverted;
    inverted.photometric = 0;
    write_bytes(folder / "x.tif", tiff_bytes(inverted, std::string(20, '\0')));
    EXPECT_EQ(raw(folder, folder / "x.tif", "identity").values, std::vector<float>(20, 1.0f));
}

TEST(Images, WhatIsNoImageIsRefused) {
    const TemporaryFolder folder;
    const std::string whole = tiff_bytes({}, noise(20));
    for (const size_t size : {size_t{4}, size_t{8}, size_t{15}, size_t{40}, whole.size() - 20}) {
        write_bytes(folder / "cut.tif", whole.substr(0, size));
        EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "cut.tif", "box:3", folder / "y.png")), {"cut.tif"})) << size;
    }
    const auto refused = [&](TiffSpec spec, size_t bytes, const char *word) {
        write_bytes(folder / "x.tif", tiff_bytes(spec, std::string(bytes, '\1')));
        EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.tif", "box:3", folder / "y.png")), {"x.tif", word}));
    };
    TiffSpec spec;
    spec.bits = 32;
    refused(spec, 80, "32-bit");
    spec.bits = 64;
    spec.format = 3;
    refused(spec, 160, "64-bit");
    spec.bits = 16;
    spec.format = 2;
    refused(spec, 40, "signed");
    spec = TiffSpec();
    spec.photometric = 3;
    refused(spec, 20, "palette");
    spec.photometric = 5;
    spec.channels = 4;
    refused(spec, 80, "CMYK colours");
    // A size that no file of that length can have is not believed.
    spec = TiffSpec();
    spec.width = spec.height = 65535;
    refused(spec, 20, "65535x65535");
    write_bytes(folder / "text.tif", "this is no image");
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "text.tif", "box:3", folder / "y.png")), {"text.tif"}));
    write_bytes(folder / "x.pgm", pgm(4, 4, noise(16)));
    EXPECT_TRUE(exits_with(1, fourfold_command(run(folder / "x.pgm", "box:3", folder / "no/such/y.tif")), {"y.tif"}));
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.pgm", "box:3", folder / "y.bmp")), {"y.bmp"}));
    EXPECT_EQ(folder.files(), Arguments({"cut.tif", "text.tif", "x.pgm", "x.tif"}));
}

const char *const kSeeds = FOURFOLD_CORPUS "/image/";

/// The samples of a decoded file, scaled to its bits; or its complaint as a failure.
std::vector<int> samples_of(const std::string &bytes, const std::string &name) {
    const Result<cli::Image> image = cli::decode_image(bytes, name);
    EXPECT_TRUE(image.ok()) << image.status().message();
    std::vector<int> samples;
    for (size_t i = 0; image.ok() && i < image->data.size(); i++) {
        samples.push_back(cli::quantized(image->data[i], cli::integer_bits(*image)));
    }
    return samples;
}

std::vector<int> samples_of_seed(const std::string &name) {
    return samples_of(read_bytes(kSeeds + name), name);
}

TEST(Images, FilesOfOtherMakers) {
    // 20i + 7j with its rows turned and its complement as the other colours, written by tifffile and Pillow.
    std::vector<int> colours, wide, halves;
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 5; j++) {
                const int grey = 20 * (c == 1 ? 8 - i : i) + 7 * j;
                colours.push_back(c == 2 ? 255 - grey : grey);
                wide.push_back(colours.back() * 257);
            }
        }
    }
    EXPECT_EQ(samples_of_seed("strip.tif"), colours);
    EXPECT_EQ(samples_of_seed("planar.tif"), colours);
    EXPECT_EQ(samples_of_seed("deflate16.tif"), wide);
    std::vector<int> grey;
    for (int i = 0; i < 9 * 11; i++) {
        grey.push_back(20 * (i / 11) + 7 * (i % 11));
    }
    EXPECT_EQ(samples_of_seed("tiled.tif"), std::vector<int>(grey.begin(), grey.begin() + 17 * 5));
    EXPECT_EQ(samples_of_seed("interlaced.png"), std::vector<int>(grey.begin(), grey.begin() + 6 * 7));
    const Result<cli::Image> floats = cli::decode_image(read_bytes(kSeeds + std::string("float.tif")), "float.tif");
    ASSERT_TRUE(floats.ok() && floats->bits == 32);
    EXPECT_FLOAT_EQ(floats->data[19], 88 / 100.0f - 0.5f);
    // Palettes become colours, with alpha where an entry has one; single bits become bytes.
    const std::vector<int> palette = samples_of_seed("palette.png"), bits = samples_of_seed("bits.png");
    ASSERT_EQ(palette.size(), 4u * 30);
    const int entries[4][4] = {{255, 0, 0, 255}, {0, 255, 0, 0}, {0, 0, 255, 255}, {9, 9, 9, 255}};
    for (size_t i = 0; i < 30; i++) {
        for (size_t c = 0; c < 4; c++) {
            EXPECT_EQ(palette[30 * c + i], entries[(20 * (i / 5) + 7 * (i % 5)) % 4][c]);
        }
    }
    for (size_t i = 0; i < bits.size(); i++) {
        EXPECT_EQ(bits[i], grey[i] % 2 * 255);
    }
    // JPEG: near what was stored. Cyan at 80 % brightness, in inks, is (0, 204, 204).
    const std::vector<int> inks = samples_of_seed("cmyk.jpg");
    ASSERT_EQ(inks.size(), 3u * 64);
    for (size_t i = 0; i < inks.size(); i++) {
        EXPECT_NEAR(inks[i], i < 64 ? 0 : 204, 3);
    }
    for (const char *name : {"grey.jpg", "rgb.jpg", "progressive.jpg"}) {
        const std::vector<int> stored = samples_of_seed(name);
        ASSERT_EQ(stored.size(), name == std::string("grey.jpg") ? 99u : 297u);
        for (size_t i = 0; i < 99; i++) {
            EXPECT_NEAR(stored[i], grey[i], 60) << name << " " << i;
        }
    }
    EXPECT_EQ(samples_of_seed("rgb.jpg"), samples_of_seed("progressive.jpg"));
}

TEST(Images, JpegThereAndBack) {
    const TemporaryFolder folder;
    for (const size_t channels : {1, 3}) {
        std::string samples;
        for (size_t i = 0; i < 19 * 23; i++) {
            for (size_t c = 0; c < channels; c++) {
                // A ramp, and for colours red and blue columns: their edges stay sharp.
                samples += static_cast<char>(channels == 1 ? i % 19 * 9 + i / 19 * 3 : c == 1 ? 100 : (c == 0) == (i % 19 / 2 % 2 == 0) ? 200 : 40);
            }
        }
        const std::string pnm = folder / (channels == 1 ? "x.pgm" : "x.ppm"), back = folder / (channels == 1 ? "y.pgm" : "y.ppm");
        const std::string head = pgm(19, 23, "", channels == 1 ? "P5" : "P6");
        write_bytes(pnm, head + samples);
        for (const char *between : {"z.jpg", "z.jpeg"}) {
            ASSERT_TRUE(exits_with(0, fourfold_command(run(pnm, "identity", folder / between))));
            EXPECT_EQ(read_bytes(folder / between).substr(0, 3), "\xff\xd8\xff");
            ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / between, "identity", back))));
            const std::string result = read_bytes(back);
            ASSERT_EQ(result.size(), head.size() + samples.size());
            for (size_t i = 0; i < samples.size(); i++) {
                ASSERT_NEAR(static_cast<unsigned char>(result[head.size() + i]), static_cast<unsigned char>(samples[i]), 12) << between << ", sample " << i << " of " << channels << " channels";
            }
        }
    }
    EXPECT_TRUE(exits_with(2, fourfold_command(run(kSeeds + std::string("rgba.png"), "identity", folder / "alpha.jpg")), {"alpha.jpg", "alpha"}));
    write_bytes(folder / "long.pgm", pgm(65501, 1, std::string(65501, 'x')));
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "long.pgm", "identity", folder / "long.jpg")), {"long.jpg", "65500"}));
}

TEST(Images, TruncatedFilesAreRefused) {
    for (const char *name : {"grey.png", "rgba.png", "rgb16.png", "palette.png", "interlaced.png", "grey.jpg", "rgb.jpg", "progressive.jpg", "cmyk.jpg", "strip.tif", "planar.tif", "tiled.tif", "deflate16.tif", "float.tif"}) {
        const std::string whole = read_bytes(kSeeds + std::string(name));
        ASSERT_GT(samples_of(whole, name).size(), 0u);
        for (size_t size = 0; size < whole.size(); size++) {
            const Result<cli::Image> image = cli::decode_image(whole.substr(0, size), name);
            ASSERT_FALSE(image.ok()) << name << " of " << size << " bytes of " << whole.size();
            ASSERT_EQ(image.status().code(), StatusCode::kInvalidArgument);
            ASSERT_NE(image.status().message().find(name), std::string::npos) << image.status().message();
        }
    }
}

TEST(Images, DamagedPngsAreRefused) {
    const TemporaryFolder folder;
    for (const char *name : {"grey.png", "rgba.png", "rgb16.png", "palette.png", "interlaced.png", "bits.png"}) {
        const std::string whole = read_bytes(kSeeds + std::string(name));
        for (size_t at = 8; at < whole.size(); at++) {
            for (int bit = 0; bit < 8; bit++) {
                std::string damaged = whole;
                damaged[at] = static_cast<char>(damaged[at] ^ 1 << bit);
                ASSERT_FALSE(cli::decode_image(damaged, name).ok()) << name << ", bit " << bit << " of byte " << at;
            }
        }
    }
    std::string damaged = read_bytes(kSeeds + std::string("rgba.png"));
    damaged[damaged.size() / 2] ^= 1;
    write_bytes(folder / "x.png", damaged);
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.png", "identity", folder / "y.png")), {"x.png"}));
    EXPECT_EQ(folder.files(), Arguments({"x.png"}));
}

TEST(Images, DamagedJpegsAndTiffsAreReadOrRefused) {
    for (const char *name : {"grey.jpg", "rgb.jpg", "progressive.jpg", "cmyk.jpg", "strip.tif", "planar.tif", "tiled.tif", "deflate16.tif", "float.tif"}) {
        const std::string whole = read_bytes(kSeeds + std::string(name));
        for (size_t at = 4; at < whole.size(); at++) {
            std::string damaged = whole;
            damaged[at] ^= 0x11;
            const Result<cli::Image> image = cli::decode_image(damaged, name);
            ASSERT_TRUE(image.ok() || image.status().message().find(name) != std::string::npos) << name << ", byte " << at;
        }
    }
}

TEST(Images, SizesThatNoFileOfThatLengthHasAreRefused) {
    std::string jpeg = read_bytes(kSeeds + std::string("rgb.jpg"));
    const size_t frame = jpeg.find("\xff\xc0");
    ASSERT_NE(frame, std::string::npos);
    jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
    EXPECT_NE(cli::decode_image(jpeg, "bomb.jpg").status().message().find("'bomb.jpg': 65500x65500"), std::string::npos) << cli::decode_image(jpeg, "bomb.jpg").status().message();

    std::string png = read_bytes(kSeeds + std::string("grey.png"));
    png.replace(16, 8, std::string("\0\1\0\0\0\1\0\0", 8));
    uint32_t crc = 0xffffffffu;
    for (size_t i = 12; i < 29; i++) {
        crc ^= static_cast<unsigned char>(png[i]);
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        png[29 + i] = static_cast<char>(~crc >> (24 - 8 * i));
    }
    EXPECT_NE(cli::decode_image(png, "bomb.png").status().message().find("'bomb.png': 65536x65536"), std::string::npos) << cli::decode_image(png, "bomb.png").status().message();
}

TEST(Images, NamedFiltersSumToOneOrZero) {
    const TemporaryFolder folder;
    write_bytes(folder / "x.pgm", pgm(40, 30, std::string(1200, '\x80')));
    const std::pair<const char *, double> filters[] = {
        {"gaussian:15", 1}, {"gaussian:9,2", 1}, {"gaussian:9:2.5", 1}, {"box:4", 1}, {"disk:0.4", 1}, {"disk:3.5", 1}, {"motion:9", 1}, {"motion:9,30", 1}, {"motion:6,90", 1}, {"unsharp:5", 1},
        {"unsharp:9,2,0.7", 1}, {"sharpen", 1}, {"emboss", 1}, {"identity", 1}, {"sobel-x", 0}, {"sobel-y", 0}, {"scharr-x", 0}, {"scharr-y", 0}, {"prewitt-x", 0}, {"prewitt-y", 0},
        {"laplacian", 0}, {"laplacian8", 0}, {"log:9", 0}, {"log:9,1.4", 0},
    };
    for (const auto &[name, sum] : filters) {
        const NpyArray y = raw(folder, folder / "x.pgm", name);
        ASSERT_EQ(y.shape, (std::vector<int64_t>{1, 30, 40})) << name;
        for (const float v : y.values) {
            ASSERT_NEAR(v, sum * 128 / 255, 2e-6) << name;
        }
    }
    for (const char *name : {"gaussian", "gaussian:4", "gaussian:5,0", "gaussian:5,2,3", "box:0", "disk:-1", "disk:x", "motion:9,north", "unsharp:5,1,much", "sobel-x:3", "log:8", "gaussian:9999"}) {
        EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.pgm", name, folder / "y.pgm")), {name})) << name;
    }
}

TEST(Images, FiltersLookTheRightWay) {
    const TemporaryFolder folder;
    // Brighter to the right, then brighter downwards.
    std::string right, down;
    for (int i = 0; i < 100; i++) {
        right += static_cast<char>(10 * (i % 10));
        down += static_cast<char>(10 * (i / 10));
    }
    write_bytes(folder / "right.pgm", pgm(10, 10, right));
    write_bytes(folder / "down.pgm", pgm(10, 10, down));
    for (const char *kind : {"sobel", "scharr", "prewitt"}) {
        const std::string x = std::string(kind) + "-x", y = std::string(kind) + "-y";
        EXPECT_GT(raw(folder, folder / "right.pgm", x).values[55], 0.1f);
        EXPECT_GT(raw(folder, folder / "down.pgm", y).values[55], 0.1f);
        EXPECT_NEAR(raw(folder, folder / "right.pgm", y).values[55], 0.0f, 1e-6f);
    }
    // A point moves along the line only.
    std::string point(121, '\0');
    point[60] = '\xff';
    write_bytes(folder / "point.pgm", pgm(11, 11, point));
    const std::vector<float> flat = raw(folder, folder / "point.pgm", "motion:5").values, upright = raw(folder, folder / "point.pgm", "motion:5,90").values, rising = raw(folder, folder / "point.pgm", "motion:5,45").values;
    EXPECT_NEAR(flat[62], 0.2f, 1e-6f);
    EXPECT_NEAR(flat[60 + 22], 0.0f, 1e-6f);
    EXPECT_NEAR(upright[60 + 22], 0.2f, 1e-6f);
    EXPECT_GT(rising[60 - 11 + 1], 0.1f);
    EXPECT_NEAR(rising[60 + 11 + 1], 0.0f, 1e-6f);
}

TEST(Images, ColourChannelsAreConvolvedAlone) {
    const TemporaryFolder folder;
    const std::string grey = noise(20 * 12 * 3);
    std::string mixed;
    for (size_t i = 0; i < 240; i++) {
        mixed += {grey[i], grey[240 + i], grey[480 + i]};
    }
    write_bytes(folder / "x.ppm", pgm(20, 12, mixed, "P6"));
    const NpyArray colours = raw(folder, folder / "x.ppm", "gaussian:5");
    for (size_t c = 0; c < 3; c++) {
        write_bytes(folder / "x.pgm", pgm(20, 12, grey.substr(240 * c, 240)));
        const NpyArray one = raw(folder, folder / "x.pgm", "gaussian:5");
        EXPECT_TRUE(std::equal(one.values.begin(), one.values.end(), colours.values.begin() + static_cast<int64_t>(240 * c)));
    }
}

TEST(Images, SciPysNamesMeanTheSame) {
    const TemporaryFolder folder;
    write_bytes(folder / "x.pgm", pgm(20, 12, noise(240)));
    const std::pair<Arguments, Arguments> same[] = {
        {{"--mode", "same", "--boundary", "symm"}, {"--padding", "same", "--padding-mode", "symmetric"}},
        {{"--mode", "full", "--boundary", "fill"}, {"--padding", "full", "--padding-mode", "zeros"}},
        {{"--mode", "full", "--boundary", "fill", "--fill-value", "0.5"}, {"--padding", "full", "--padding-mode", "constant:0.5"}},
        {{"--mode", "valid"}, {"--padding", "valid"}},
        {{"--mode", "same", "--boundary", "wrap"}, {"--padding", "same", "--padding-mode", "circular"}},
        {{"--padding-mode", "nearest"}, {"--padding-mode", "replicate"}},
        {{"--padding-mode", "edge"}, {"--padding-mode", "replicate"}},
        {{"--padding-mode", "mirror"}, {"--padding-mode", "reflect"}},
        {{"--padding-mode", "wrap"}, {"--padding-mode", "circular"}},
        {{"--padding-mode", "grid-mirror"}, {"--padding-mode", "symmetric"}},
        {{"--padding-mode", "constant"}, {"--padding-mode", "zeros"}},
        {{"--padding-mode", "symm"}, {"--padding-mode", "symmetric"}},
        {{"--padding-mode", "fill"}, {"--padding-mode", "zeros"}},
    };
    for (const auto &[theirs, ours] : same) {
        const NpyArray a = raw(folder, folder / "x.pgm", "log:5", theirs), b = raw(folder, folder / "x.pgm", "log:5", ours);
        EXPECT_EQ(a.shape, b.shape) << theirs[1];
        EXPECT_EQ(a.values, b.values) << theirs[1];
    }
    // Where they would not, they are refused.
    for (const Arguments &more : {Arguments{"--mode", "same", "--stride", "2"}, {"--mode", "middle"}, {"--boundary", "reflect"}, {"--mode", "same", "--padding", "same"}, {"--boundary", "symm", "--padding-mode", "zeros"}, {"--fill-value", "1"}}) {
        EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.pgm", "box:3", folder / "y.pgm", more)))) << more[0] << " " << more[1];
    }
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.pgm", "box:4", folder / "y.pgm", {"--mode", "same"})), {"4x4"}));
}

TEST(Images, StripsWithinTheWorkspaceLimit) {
    const TemporaryFolder folder;
    write_bytes(folder / "x.ppm", pgm(60, 200, noise(60 * 200 * 3), "P6"));
    for (const char *mode : {"reflect", "symmetric", "replicate", "circular", "zeros", "constant:0.3"}) {
        for (const Arguments &more : {Arguments{}, {"--stride", "2x3"}, {"--padding", "3,5,2,0"}}) {
            Arguments arguments = more;
            arguments.insert(arguments.end(), {"--padding-mode", mode, "--algorithm", "fft", "--threads", "1"});
            const NpyArray whole = raw(folder, folder / "x.ppm", "log:9", arguments);
            arguments.insert(arguments.end(), {"--workspace-max", "150K"});
            EXPECT_LE(largest_difference(raw(folder, folder / "x.ppm", "log:9", arguments), whole), 1e-5) << mode;
        }
    }
    EXPECT_TRUE(exits_with(3, fourfold_command(run(folder / "x.ppm", "log:9", folder / "y.ppm", {"--algorithm", "fft", "--workspace-max", "1K"})), {"workspace of 1024 bytes even a row at a time"}));
    // auto takes strips rather than the naive loop, which needs no workspace; and says so where nothing else is left.
    const Arguments mirrored = {"--padding-mode", "reflect", "--threads", "1"};
    const NpyArray whole = raw(folder, folder / "x.ppm", "log:9", mirrored);
    for (const auto &[limit, naive] : {std::pair{"100K", false}, {"1K", true}}) {
        Arguments arguments = mirrored;
        arguments.insert(arguments.end(), {"--workspace-max", limit});
        EXPECT_LE(largest_difference(raw(folder, folder / "x.ppm", "log:9", arguments), whole), 1e-5) << limit;
        const Outcome outcome = fourfold_command(run(folder / "x.ppm", "log:9", folder / "y.ppm", arguments));
        EXPECT_EQ(outcome.err.find("only the naive loop") != std::string::npos, naive) << limit << "\n"
                                                                                      << outcome.err;
    }
}

/// A picture of 3 x 2 pixels as orientation 1 to 8 stores it: (1, 0) lies right of (0, 0), (0, 1) below it.
std::string stored(int orientation, int &width, int &height) {
    const char *const as_stored[] = {"abcdef", "cbafed", "fedcba", "defabc", "adbecf", "cfbead", "fcebda", "daebfc"};
    width = orientation < 5 ? 3 : 2;
    height = orientation < 5 ? 2 : 3;
    return as_stored[orientation - 1];
}

/// EXIF data of nothing but an orientation, in an APP1 segment.
std::string exif_segment(int orientation, bool big_endian) {
    const auto number = [&](int value, int bytes) {
        std::string out;
        for (int i = 0; i < bytes; i++) {
            out += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i));
        }
        return out;
    };
    const std::string data = std::string("Exif\0\0", 6) + (big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + number(0, 2) + number(0, 4);
    return std::string("\xff\xe1\0", 3) + static_cast<char>(data.size() + 2) + data;
}

TEST(Images, AreTurnedUpright) {
    const TemporaryFolder folder;
    for (int orientation = 1; orientation <= 8; orientation++) {
        int width = 0, height = 0;
        const std::string samples = stored(orientation, width, height);
        TiffSpec spec;
        spec.width = static_cast<uint16_t>(width);
        spec.height = static_cast<uint16_t>(height);
        spec.orientation = static_cast<uint16_t>(orientation);
        const Result<cli::Image> tiff = cli::decode_image(tiff_bytes(spec, samples), "x.tif");
        ASSERT_TRUE(tiff.ok()) << tiff.status().message();
        EXPECT_EQ(tiff->height, 2);
        ASSERT_EQ(tiff->width, 3);
        for (size_t i = 0; i < 6; i++) {
            EXPECT_EQ(cli::quantized(tiff->data[i], 8), 'a' + static_cast<int>(i)) << orientation << " " << i;
        }
        // The same picture as a JPEG that says how it lies; blocks of 8 x 8 equal pixels come through nearly exactly.
        std::string large;
        for (int y = 0; y < 8 * height; y++) {
            for (int x = 0; x < 8 * width; x++) {
                large += static_cast<char>((samples[static_cast<size_t>(y / 8 * width + x / 8)] - 'a') * 40 + 20);
            }
        }
        write_bytes(folder / "x.pgm", pgm(8 * width, 8 * height, large));
        ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / "x.pgm", "identity", folder / "x.jpg"))));
        std::string jpeg = read_bytes(folder / "x.jpg");
        jpeg.insert(2, exif_segment(orientation, orientation % 2 == 0));
        const Result<cli::Image> photo = cli::decode_image(jpeg, "x.jpg");
        ASSERT_TRUE(photo.ok()) << photo.status().message();
        EXPECT_EQ(photo->height, 16);
        ASSERT_EQ(photo->width, 24);
        for (int i = 0; i < 6; i++) {
            EXPECT_NEAR(photo->data[static_cast<size_t>((i / 3 * 8 + 4) * 24 + i % 3 * 8 + 4)] * 255.0f, static_cast<float>(i * 40 + 20), 4.0f) << orientation << " " << i;
        }
        // Damaged, it says nothing.
        for (size_t cut = 0; cut < 20; cut++) {
            const std::string exif = exif_segment(orientation, true).substr(10);
            const std::string part = exif.substr(0, cut);
            EXPECT_EQ(cli::exif_orientation(reinterpret_cast<const unsigned char *>(part.data()), part.size()), 1) << cut;
        }
    }
}

TEST(Images, KeepTheirColourProfile) {
    const TemporaryFolder folder;
    // A profile's header, no tags, and some bytes; libpng wants the sizes, the signature and the colours to be right.
    std::string profile = std::string(132, '\0') + noise(380);
    profile[2] = 2;
    profile[8] = 4;
    profile.replace(12, 12, "mntrRGB XYZ ");
    profile.replace(36, 4, "acsp");
    profile.replace(68, 12, std::string("\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d", 12));
    cli::Image image;
    image.channels = 3;
    image.height = image.width = 16;
    image.data.assign(3 * 16 * 16, 0.5f);
    image.colour_profile = profile;
    for (const char *from : {"x.png", "x.jpg", "x.tif"}) {
        ASSERT_TRUE(cli::write_image(folder / from, image).ok());
        for (const char *to : {"y.png", "y.jpg", "y.tif"}) {
            ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / from, "gaussian:3", folder / to))));
            const Result<cli::Image> read = cli::decode_image(read_bytes(folder / to), to);
            ASSERT_TRUE(read.ok()) << read.status().message();
            EXPECT_EQ(read->colour_profile, profile) << from << " to " << to;
        }
    }
    // One that libpng refuses costs itself only.
    image.colour_profile = std::string(140, 'x');
    const bool written = cli::write_image(folder / "bad.png", image).ok();
    EXPECT_TRUE(!written || cli::decode_image(read_bytes(folder / "bad.png"), "bad.png").ok());
}

TEST(Images, AbsoluteValuesShowBothKindsOfEdges) {
    const TemporaryFolder folder;
    std::string samples;
    for (int i = 0; i < 90; i++) {
        samples += static_cast<char>(i % 9 < 3 || i % 9 > 5 ? 40 : 90);
    }
    write_bytes(folder / "x.pgm", pgm(9, 10, samples));
    ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / "x.pgm", "sobel-x", folder / "half.pgm"))));
    ASSERT_TRUE(exits_with(0, fourfold_command(run(folder / "x.pgm", "sobel-x", folder / "both.pgm", {"--abs"}))));
    const std::string half = read_bytes(folder / "half.pgm"), both = read_bytes(folder / "both.pgm");
    const size_t row = half.size() - 5 * 9;
    for (size_t i = 0; i < 9; i++) {
        const bool rises = i == 2 || i == 3, falls = i == 5 || i == 6;
        EXPECT_EQ(static_cast<unsigned char>(half[row + i]), rises ? 200 : 0) << i;
        EXPECT_EQ(static_cast<unsigned char>(both[row + i]), rises || falls ? 200 : 0) << i;
    }
    write_npy(folder / "x.npy", NpyArray{{1, 1, 3, 3}, std::vector<float>(9, -1.0f)});
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.npy", "sobel-x", folder / "y.npy", {"--abs"})), {"--abs"}));
}

TEST(Images, SmallerThanTheFilterAndOfUnknownKinds) {
    const TemporaryFolder folder;
    write_bytes(folder / "x.pgm", pgm(4, 3, noise(12)));
    const NpyArray replicated = raw(folder, folder / "x.pgm", "box:11", {"--padding-mode", "replicate"});
    EXPECT_EQ(largest_difference(raw(folder, folder / "x.pgm", "box:11"), replicated), 0.0);
    // Two pages, the second a copy of the first one's directory.
    TiffSpec spec;
    std::string pages = tiff_bytes(spec, noise(20));
    uint32_t directory = 0;
    std::memcpy(&directory, &pages[4], 4);
    const std::string second = pages.substr(directory);
    uint16_t entries = 0;
    std::memcpy(&entries, &pages[directory], 2);
    const auto next = static_cast<uint32_t>(pages.size());
    std::memcpy(&pages[directory + 2 + 12u * entries], &next, 4);
    write_bytes(folder / "x.tif", pages + second);
    EXPECT_NE(fourfold_command(run(folder / "x.tif", "box:3", folder / "y.tif")).err.find("several pages"), std::string::npos);
    write_bytes(folder / "x.bmp", "BM" + noise(100));
    EXPECT_TRUE(exits_with(2, fourfold_command(run(folder / "x.bmp", "box:3", folder / "y.pgm")), {"x.bmp", "neither an array (.npy) nor a PNG"}));
}

}  // namespace
}  // namespace fourfold::test
