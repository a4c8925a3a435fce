// A photograph in, blurred and its edges out:
//
//     example_image_pipeline photo.pgm blurred.pgm edges.pgm
//
// reads a binary 8-bit PGM, blurs it with a gaussian, which the layer takes as two passes, takes the derivatives of that in both
// directions, and writes their length. Convert other formats with `fourfold run --filters identity`, or use your own reader.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "fourfold/fourfold.h"

namespace {

struct Picture {
    int64_t width = 0, height = 0;
    std::vector<float> pixels;  ///< in [0, 1]
};

bool read_pgm(const char *path, Picture &picture) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int most = 0;
    if (!(file >> kind >> picture.width >> picture.height >> most) || kind != "P5" || most != 255 || picture.width < 1 || picture.height < 1) {
        return false;
    }
    file.get();
    std::vector<char> bytes(static_cast<size_t>(picture.width * picture.height));
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
        return false;
    }
    for (char byte : bytes) {
        picture.pixels.push_back(static_cast<float>(static_cast<unsigned char>(byte)) / 255.0f);
    }
    return true;
}

bool write_pgm(const char *path, const Picture &picture) {
    std::ofstream file(path, std::ios::binary);
    file << "P5\n" << picture.width << " " << picture.height << "\n255\n";
    for (float pixel : picture.pixels) {
        file.put(static_cast<char>(std::lround(255.0f * std::clamp(pixel, 0.0f, 1.0f))));
    }
    return static_cast<bool>(file.flush());
}

/// The picture convolved with taps (size, size), mirrored at its edges.
fourfold::Status filter(const Picture &from, const std::vector<float> &taps, int64_t size, Picture &to) {
    fourfold::Conv2dProblem problem;
    problem.in_height = from.height;
    problem.in_width = from.width;
    problem.filter_height = problem.filter_width = size;
    problem.padding_mode = fourfold::PaddingMode::kSymmetric;
    problem = problem.same();
    fourfold::Result<fourfold::Conv2dLayer> layer = fourfold::Conv2dLayer::create(problem, taps.data());
    if (!layer) {
        return layer.status();
    }
    std::printf("%s\n", layer->describe().c_str());
    to = {from.width, from.height, std::vector<float>(from.pixels.size())};
    return layer->run(from.pixels.data(), to.pixels.data());
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        return std::puts("usage: example_image_pipeline photo.pgm blurred.pgm edges.pgm"), 2;
    }
    Picture photo, blurred, dx, dy;
    if (!read_pgm(argv[1], photo)) {
        return std::printf("'%s' is no binary 8-bit PGM\n", argv[1]), 2;
    }
    constexpr int64_t size = 15;
    std::vector<float> gaussian;
    float sum = 0.0f;
    for (int64_t i = 0; i < size * size; i++) {
        const auto y = static_cast<float>(i / size - size / 2), x = static_cast<float>(i % size - size / 2);
        gaussian.push_back(std::exp(-(x * x + y * y) / (2.0f * 2.5f * 2.5f)));
        sum += gaussian.back();
    }
    for (float &tap : gaussian) {
        tap /= sum;
    }
    fourfold::Status status = filter(photo, gaussian, size, blurred);
    if (status) {
        status = filter(blurred, {-1, 0, 1, -2, 0, 2, -1, 0, 1}, 3, dx);
    }
    if (status) {
        status = filter(blurred, {-1, -2, -1, 0, 0, 0, 1, 2, 1}, 3, dy);
    }
    if (!status) {
        return std::puts(status.message().c_str()), 1;
    }
    Picture edges = std::move(dx);
    for (size_t i = 0; i < edges.pixels.size(); i++) {
        edges.pixels[i] = std::hypot(edges.pixels[i], dy.pixels[i]);
    }
    if (!write_pgm(argv[2], blurred) || !write_pgm(argv[3], edges)) {
        return std::puts("cannot write the results"), 1;
    }
}
