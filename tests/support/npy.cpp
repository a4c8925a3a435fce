#include "support/npy.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fourfold::test {

NpyArray read_npy(const std::string &path, const std::string &type) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error("cannot open " + path);
    }
    std::stringstream all;
    all << file.rdbuf();
    const std::string bytes = all.str();
    const auto bad = [&](const std::string &why) { return std::runtime_error(path + ": " + why); };
    if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0) {
        throw bad("not a .npy file");
    }
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes[i])); };
    const bool version_1 = byte(6) == 1;
    const size_t start = version_1 ? 10 : 12;
    const size_t length = version_1 ? byte(8) + 256 * byte(9) : byte(8) + 256 * (byte(9) + 256 * (byte(10) + 256 * byte(11)));
    const std::string header = bytes.substr(start, length);
    if (header.find("'descr': '" + type + "'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos) {
        throw bad("not " + type + " in C order: " + header);
    }
    NpyArray array;
    size_t count = type == "<c8" ? 2 : 1;
    const size_t open = header.find('('), close = header.find(')');
    std::stringstream shape(header.substr(open + 1, close - open - 1));
    std::string size;
    while (std::getline(shape, size, ',')) {
        if (size.find_first_of("0123456789") != std::string::npos) {
            array.shape.push_back(std::stoll(size));
            count *= static_cast<size_t>(array.shape.back());
        }
    }
    if (bytes.size() != start + length + sizeof(float) * count) {
        throw bad("holds another number of bytes than its shape says");
    }
    array.values.resize(count);
    std::memcpy(array.values.data(), bytes.data() + start + length, sizeof(float) * count);
    return array;
}

std::string npy_bytes(const NpyArray &array, const std::string &type) {
    std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (";
    for (int64_t size : array.shape) {
        header += std::to_string(size) + ",";
    }
    header += "), }";
    // The data start at a multiple of 64 bytes, as NumPy writes them.
    while ((10 + header.size() + 1) % 64 != 0) {
        header += ' ';
    }
    header += '\n';
    std::string bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size() % 256);
    bytes += static_cast<char>(header.size() / 256);
    bytes += header;
    bytes.append(reinterpret_cast<const char *>(array.values.data()), sizeof(float) * array.values.size());
    return bytes;
}

void write_npy(const std::string &path, const NpyArray &array) {
    const std::string bytes = npy_bytes(array);
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) {
        throw std::runtime_error("cannot write " + path);
    }
}

}  // namespace fourfold::test
