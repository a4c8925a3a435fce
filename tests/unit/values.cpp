// Status, Result, AlignedBuffer, names of enumerations.
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"

namespace fourfold::test {
namespace {

TEST(StatusTest, DefaultIsOk) {
    const Status status;
    EXPECT_TRUE(status.ok());
    EXPECT_TRUE(static_cast<bool>(status));
    EXPECT_EQ(status.code(), StatusCode::kOk);
    EXPECT_TRUE(status.message().empty());
}

TEST(StatusTest, CarriesItsSentence) {
    const Status status(StatusCode::kUnsupported, "no such thing");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_EQ(status.message(), "no such thing");
}

TEST(ResultTest, ValueOrStatus) {
    Result<std::unique_ptr<int>> value(std::make_unique<int>(7));
    ASSERT_TRUE(value.ok());
    EXPECT_TRUE(value.status().ok());
    EXPECT_EQ(**value, 7);
    const Result<std::string> none(Status(StatusCode::kInternal, "broken"));
    EXPECT_FALSE(none.ok());
    EXPECT_EQ(none.status().message(), "broken");
    const Result<std::string> text(std::string("abc"));
    EXPECT_EQ(text->size(), 3u);
}

TEST(AlignedBufferTest, IsAlignedAndWritable) {
    for (size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{1000}, size_t{1} << 20}) {
        AlignedBuffer buffer(bytes);
        ASSERT_NE(buffer.data(), nullptr);
        EXPECT_EQ(buffer.bytes(), bytes);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kAlignment, 0u);
        std::memset(buffer.data(), 1, bytes);
        const MemoryBlock block = buffer;
        EXPECT_EQ(block.data, buffer.data());
        EXPECT_EQ(block.bytes, bytes);
    }
}

TEST(AlignedBufferTest, EmptyAndMoved) {
    AlignedBuffer none;
    EXPECT_EQ(none.data(), nullptr);
    EXPECT_EQ(none.bytes(), 0u);
    EXPECT_EQ(AlignedBuffer(0).bytes(), 0u);
    AlignedBuffer first(100);
    void *data = first.data();
    AlignedBuffer second(std::move(first));
    EXPECT_EQ(second.data(), data);
    EXPECT_EQ(first.data(), nullptr);  // NOLINT: a moved-from buffer is empty
    EXPECT_EQ(first.bytes(), 0u);
    none = std::move(second);
    EXPECT_EQ(none.data(), data);
    EXPECT_EQ(none.bytes(), 100u);
}

TEST(AlignedBufferTest, TooLargeIsNull) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer's allocator ends the process instead";
#endif
    for (size_t bytes : {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() - 10, std::numeric_limits<size_t>::max() / 2}) {
        EXPECT_EQ(AlignedBuffer(bytes).data(), nullptr) << bytes;
    }
}

TEST(Names, AlgorithmsAndDevices) {
    for (Algorithm a : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        const Result<Algorithm> back = parse_algorithm(to_string(a));
        ASSERT_TRUE(back.ok()) << to_string(a);
        EXPECT_EQ(*back, a);
    }
    for (Device d : {Device::kCpu, Device::kCuda, Device::kOpenCl}) {
        const Result<Device> back = parse_device(to_string(d));
        ASSERT_TRUE(back.ok()) << to_string(d);
        EXPECT_EQ(*back, d);
    }
    for (Accuracy a : {Accuracy::kStrict, Accuracy::kDefault, Accuracy::kRelaxed}) {
        const Result<Accuracy> back = parse_accuracy(to_string(a));
        ASSERT_TRUE(back.ok()) << to_string(a);
        EXPECT_EQ(*back, a);
    }
    EXPECT_FALSE(parse_accuracy("exact").ok());
    EXPECT_STREQ(to_string(Algorithm::kFftTiled), "fft_tiled");
    EXPECT_EQ(to_string(Device::opencl()), "opencl");
    for (const char *bad : {"", "Direct", "direct ", "abacus"}) {
        const Result<Algorithm> none = parse_algorithm(bad);
        ASSERT_FALSE(none.ok());
        EXPECT_EQ(none.status().code(), StatusCode::kInvalidArgument);
        EXPECT_NE(none.status().message().find(bad), std::string::npos) << none.status().message();
        EXPECT_FALSE(parse_device(bad).ok());
    }
}

TEST(Names, VersionHasThreeNumbers) {
    const std::string text = version();
    int dots = 0;
    for (char c : text) {
        dots += c == '.';
        EXPECT_TRUE(c == '.' || (c >= '0' && c <= '9')) << text;
    }
    EXPECT_EQ(dots, 2) << text;
}

}  // namespace
}  // namespace fourfold::test
