#include "npy.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "files.h"

namespace fourfold::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "the reader copies '<f4' data as it is");

constexpr std::string_view kMagic = "\x93NUMPY";

/// The header is a Python dict literal with exactly the keys descr, fortran_order and shape.
class HeaderParser {
public:
    explicit HeaderParser(std::string_view text)
        : rest_(text) {
    }

    std::string descr;
    bool fortran_order = false;
    std::vector<int64_t> shape;

    /// Empty, or what is wrong.
    std::string parse() {
        bool has_descr = false, has_order = false, has_shape = false;
        if (!take('{')) {
            return "the header is not a dict";
        }
        while (!take('}')) {
            const std::optional<std::string> key = quoted();
            if (!key || !take(':')) {
                return "the header is malformed";
            }
            bool ok = false;
            if (*key == "descr") {
                ok = has_descr = read_descr();
            } else if (*key == "fortran_order") {
                ok = has_order = read_bool();
            } else if (*key == "shape") {
                ok = has_shape = read_shape();
            } else {
                return "the header has the unknown key '" + *key + "'";
            }
            if (!ok) {
                return "the header's '" + *key + "' is malformed";
            }
            if (!take(',') && !peek('}')) {
                return "the header is malformed";
            }
        }
        if (!has_descr || !has_order || !has_shape) {
            return "the header lacks descr, fortran_order or shape";
        }
        return "";
    }

private:
    void skip_blanks() {
        while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front()))) {
            rest_.remove_prefix(1);
        }
    }
    bool peek(char c) {
        skip_blanks();
        return !rest_.empty() && rest_.front() == c;
    }
    bool take(char c) {
        if (!peek(c)) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }
    bool take_word(std::string_view word) {
        skip_blanks();
        if (!rest_.starts_with(word)) {
            return false;
        }
        rest_.remove_prefix(word.size());
        return true;
    }
    std::optional<std::string> quoted() {
        skip_blanks();
        if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) {
            return std::nullopt;
        }
        const size_t end = rest_.find(rest_.front(), 1);
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        std::string text(rest_.substr(1, end - 1));
        rest_.remove_prefix(end + 1);
        return text;
    }
    bool read_descr() {
        if (peek('[')) {
            // A structured type: a list of fields, of which only the fact matters here.
            const size_t end = rest_.find("]");
            descr = std::string(rest_.substr(0, end == std::string_view::npos ? rest_.size() : end + 1));
            rest_.remove_prefix(descr.size());
            return true;
        }
        const std::optional<std::string> text = quoted();
        descr = text.value_or("");
        return text.has_value();
    }
    bool read_bool() {
        fortran_order = take_word("True");
        return fortran_order || take_word("False");
    }
    bool read_shape() {
        if (!take('(')) {
            return false;
        }
        while (!take(')')) {
            skip_blanks();
            int64_t value = 0;
            size_t digits = 0;
            while (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_.front()))) {
                const int digit = rest_.front() - '0';
                if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) {
                    return false;
                }
                value = value * 10 + digit;
                rest_.remove_prefix(1);
                ++digits;
            }
            if (digits == 0) {
                return false;
            }
            take('L');  // Python 2 wrote long integers so
            shape.push_back(value);
            if (!take(',') && !peek(')')) {
                return false;
            }
        }
        return true;
    }

    std::string_view rest_;
};

/// Element (i0, i1, ...) of a Fortran array lies at i0 + i1*n0 + i2*n0*n1 + ...
template<typename T>
std::vector<T> from_fortran(const std::vector<T> &data, const std::vector<int64_t> &shape) {
    std::vector<T> result(data.size());
    std::vector<int64_t> index(shape.size(), 0), stride(shape.size(), 1);
    for (size_t a = 1; a < shape.size(); ++a) {
        stride[a] = stride[a - 1] * shape[a - 1];
    }
    int64_t source = 0;
    for (T &value : result) {
        value = data[static_cast<size_t>(source)];
        for (size_t a = shape.size(); a-- > 0;) {
            source += stride[a];
            if (++index[a] < shape[a]) {
                break;
            }
            source -= stride[a] * shape[a];
            index[a] = 0;
        }
    }
    return result;
}

template<typename T>
Result<BasicArray<T>> parse(const std::string &bytes, const std::string &name) {
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}': {}", name, why)); };
    const std::string_view all(bytes);
    if (!all.starts_with(kMagic)) {
        return bad("not a .npy file (wrong magic)");
    }
    if (all.size() < 10) {
        return bad("the file is cut short in its header");
    }
    const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(all[at])); };
    const size_t version = byte(6);
    if (version < 1 || version > 3) {
        return bad(fmt::format("format version {}.{} is not supported; versions 1 to 3 are", version, byte(7)));
    }
    const size_t start = version == 1 ? 10 : 12;
    if (all.size() < start) {
        return bad("the file is cut short in its header");
    }
    const size_t length = version == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
    if (all.size() - start < length) {
        return bad("the file is cut short in its header");
    }
    HeaderParser header(all.substr(start, length));
    if (const std::string why = header.parse(); !why.empty()) {
        return bad(why);
    }
    constexpr bool complex = sizeof(T) == 8;
    if (header.descr != (complex ? "<c8" : "<f4")) {
        return bad(fmt::format("dtype is {}; {} is expected", header.descr.starts_with("[") ? "structured" : "'" + header.descr + "'", complex ? "complex64 ('<c8')" : "float32 ('<f4')"));
    }
    // In floating point first: the product of the sizes may not fit 64 bits, even where a later size is 0.
    double product = 1;
    for (int64_t size : header.shape) {
        product *= static_cast<double>(std::max<int64_t>(size, 1));
    }
    if (product > 1e18) {
        return bad(fmt::format("shape {} is too large for any memory", shape_text(header.shape)));
    }
    BasicArray<T> array;
    array.shape = header.shape;
    const size_t elements = static_cast<size_t>(array.elements());
    const size_t present = all.size() - start - length;
    if (present / sizeof(T) < elements) {
        return bad(fmt::format("the file is cut short: shape {} needs {} bytes of data, {} are there", shape_text(array.shape), elements * sizeof(T), present));
    }
    array.data.resize(elements);
    if (elements > 0) {
        std::memcpy(array.data.data(), bytes.data() + start + length, elements * sizeof(T));
    }
    if (header.fortran_order && array.shape.size() > 1) {
        array.data = from_fortran(array.data, array.shape);
    }
    return array;
}

Status write(const std::string &path, const std::vector<int64_t> &shape, const void *data, size_t size, const char *type) {
    std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", type, shape_text(shape));
    // Magic, version, length, dict and newline together are a multiple of 64 bytes, so that the data can be mapped.
    dict.append(63 - (10 + dict.size()) % 64, ' ');
    dict += '\n';
    std::string header(kMagic);
    header += {'\x01', '\x00', static_cast<char>(dict.size() & 255), static_cast<char>(dict.size() >> 8)};
    header += dict;
    size_t elements = 1;
    for (int64_t extent : shape) {
        elements *= static_cast<size_t>(extent);
    }
    return write_file(path, [&](const WriteBytes &put) {
        put(header.data(), header.size()) && put(data, elements * size);
        return Status();
    });
}

}  // namespace

std::string shape_text(const std::vector<int64_t> &shape) {
    return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

Result<Array> parse_npy(const std::string &bytes, const std::string &name) {
    return parse<float>(bytes, name);
}

Result<Array> read_npy(const std::string &path) {
    const Result<std::string> bytes = read_file(path);
    return bytes ? parse_npy(*bytes, path) : Result<Array>(bytes.status());
}

Result<ComplexArray> read_complex_npy(const std::string &path) {
    const Result<std::string> bytes = read_file(path);
    return bytes ? parse<std::complex<float>>(*bytes, path) : Result<ComplexArray>(bytes.status());
}

Status write_npy(const std::string &path, const std::vector<int64_t> &shape, const float *data) {
    return write(path, shape, data, sizeof(float), "<f4");
}

Status write_npy(const std::string &path, const std::vector<int64_t> &shape, const std::complex<float> *data) {
    return write(path, shape, data, sizeof(std::complex<float>), "<c8");
}

}  // namespace fourfold::cli
