// Hard inputs of the fourfold command: files and flags.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "command/command.h"
#include "hard/table.h"
#include "support/npy.h"

namespace fourfold::test {
namespace {

struct Row {
    std::string command;  ///< words separated by blanks; '_' stands for a blank in problems
    int exit_code;
    std::string says;  ///< part of the message, with the offending value
};

NpyArray zeros(const std::vector<int64_t> &shape) {
    int64_t elements = 1;
    for (int64_t size : shape) {
        elements *= size;
    }
    return {shape, std::vector<float>(static_cast<size_t>(elements))};
}

/// The bytes of x.npy with a part of its header replaced by as many bytes.
std::string edited(const std::string &from, const std::string &to) {
    std::string bytes = npy_bytes(zeros({1, 3, 8, 8}));
    return bytes.replace(bytes.find(from), from.size(), to);
}

void write_files(const TemporaryFolder &folder) {
    const NpyArray x = zeros({1, 3, 8, 8}), w = zeros({4, 3, 3, 3});
    const std::string bytes = npy_bytes(x);
    write_npy(folder / "x.npy", x);
    write_npy(folder / "w.npy", w);
    write_npy(folder / "bias3.npy", zeros({3}));
    write_npy(folder / "w9.npy", zeros({4, 3, 9, 9}));
    write_npy(folder / "w2d.npy", zeros({3, 3}));
    write_npy(folder / "x3d.npy", zeros({3, 8, 8}));
    write_npy(folder / "none.npy", zeros({0, 3, 8, 8}));
    write_bytes(folder / "empty.npy", "");
    write_bytes(folder / "magic.npy", bytes.substr(0, 8));
    write_bytes(folder / "header.npy", bytes.substr(0, 60));
    write_bytes(folder / "cut.npy", bytes.substr(0, bytes.size() - 1));
    write_bytes(folder / "text.npy", "1.0, 2.0, 3.0, 4.0\n");
    write_bytes(folder / "version.npy", bytes.substr(0, 6) + '\x09' + bytes.substr(7));
    write_bytes(folder / "double.npy", npy_bytes(x, "<f8"));
    write_bytes(folder / "big.npy", npy_bytes(x, ">f4"));
    write_bytes(folder / "integers.npy", npy_bytes(x, "<i4"));
    write_bytes(folder / "complex.npy", npy_bytes(x, "<c8"));
    write_bytes(folder / "objects.npy", npy_bytes(x, "|O"));
    write_bytes(folder / "fortran.npy", edited("False", "True "));
    write_bytes(folder / "negative.npy", edited("(1,3,8,8,)", "(1,-3,8,8)"));
    write_bytes(folder / "key.npy", edited("'shape'", "'shade'"));
    write_npy(folder / "huge.npy", {{int64_t{1} << 40, int64_t{1} << 40, 1, 1}, std::vector<float>(16)});
    write_bytes(folder / "photo.pgm", "P5\n8 8\n255\n" + std::string(64, 'x'));
    write_bytes(folder / "cut.pgm", "P5\n8 8\n255\n" + std::string(63, 'x'));
    write_bytes(folder / "zero.pgm", "P5\n0 8\n255\n");
    write_bytes(folder / "bits.pbm", "P4\n8 8\n" + std::string(8, 'x'));
    write_bytes(folder / "text.png", "this is no picture");
    for (const std::string kind : {"png", "jpg", "tif"}) {
        const std::string image = read_bytes(FOURFOLD_CORPUS "/image/" + (kind == "tif" ? std::string("strip") : std::string("grey")) + "." + kind);
        write_bytes(folder / ("cut." + kind), image.substr(0, image.size() - 1));
        write_bytes(folder / ("half." + kind), image.substr(0, image.size() / 2));
    }
    std::string flipped = read_bytes(FOURFOLD_CORPUS "/image/grey.png");
    flipped[48] ^= 1;
    write_bytes(folder / "flipped.png", flipped);
    write_bytes(folder / "wdouble.npy", npy_bytes(w, "<f8"));
    write_bytes(folder / "bdouble.npy", npy_bytes(zeros({4}), "<f8"));
    write_bytes(folder / "rdouble.npy", npy_bytes(zeros({1, 4, 6, 6}), "<f8"));
    write_bytes(folder / "empty.csv", "");
    write_bytes(folder / "bad.csv", "name,problem\ngood,b1 ic3 i8 oc4 f3\nbad,b1 ic3 i8 oc4 f9\n");
    write_bytes(folder / "file", "");
}

// The files are as their names say; x.npy (1, 3, 8, 8) and w.npy (4, 3, 3, 3) are sound.
const Row kRows[] = {
    // Problems.
    {"explain --problem b0_ic3_i8_oc4_f3", 2, "batch is 0"},
    {"explain --problem b1_ic-3_i8_oc4_f3", 2, "-3"},
    {"explain --problem b1_ic3_i0x8_oc4_f3", 2, "in_height is 0"},
    {"explain --problem b1_ic3_i8_oc4_f3_s0", 2, "stride_h is 0"},
    {"explain --problem b1_ic3_i8_oc4_f3_d-1", 2, "-1"},
    {"explain --problem b1_ic3_i8_oc4_f3_p-1", 2, "-1"},
    {"explain --problem b1_ic3_i8_oc4_f9", 2, "9x9"},
    {"explain --problem b1_ic3_i8_oc4_f3_d4", 2, "dilation 4x4"},
    {"explain --problem b1_ic3_i8_oc4_f3_p8_reflect", 2, "8"},
    {"explain --problem b1_ic3_i8_oc4_f3_p9_circular", 2, "9"},
    {"explain --problem b1_ic3_i8_oc4_f3_g2", 2, "2"},
    {"explain --problem b1_ic3_i99999999999999999999_oc4_f3", 2, "99999999999999999999"},
    {"explain --problem b1_ic3_i281474976710657_oc4_f3", 2, "281474976710657"},
    {"explain --problem b1048576_ic1048576_i1048576_oc4_f3", 2, "1048576"},
    {"explain --problem b1_ic3_i8_oc4_f3_clamp:2,1", 2, "2"},
    {"explain --problem b1_ic3_i8_oc4_f3_abacus", 2, "abacus"},
    {"explain --problem b1_b2_ic3_i8_oc4_f3", 2, "b2"},
    {"explain --problem _", 2, ""},
    // Files read.
    {"run --input absent.npy --filters w.npy --output y.npy", 2, "absent.npy"},
    {"run --input . --filters w.npy --output y.npy", 2, "directory"},
    {"run --input empty.npy --filters w.npy --output y.npy", 2, "empty.npy"},
    {"run --input text.npy --filters w.npy --output y.npy", 2, "text.npy"},
    {"run --input magic.npy --filters w.npy --output y.npy", 2, "cut short"},
    {"run --input header.npy --filters w.npy --output y.npy", 2, "cut short"},
    {"run --input cut.npy --filters w.npy --output y.npy", 2, "768 bytes"},
    {"run --input version.npy --filters w.npy --output y.npy", 2, "version 9.0"},
    {"run --input key.npy --filters w.npy --output y.npy", 2, "shade"},
    {"run --input double.npy --filters w.npy --output y.npy", 2, "<f8"},
    {"run --input big.npy --filters w.npy --output y.npy", 2, ">f4"},
    {"run --input integers.npy --filters w.npy --output y.npy", 2, "<i4"},
    {"run --input complex.npy --filters w.npy --output y.npy", 2, "<c8"},
    {"run --input objects.npy --filters w.npy --output y.npy", 2, "|O"},
    {"run --input fortran.npy --filters w.npy --output y.npy", 0, ""},
    {"run --input negative.npy --filters w.npy --output y.npy", 2, "shape"},
    {"run --input huge.npy --filters w.npy --output y.npy", 2, "1099511627776"},
    {"run --input none.npy --filters w.npy --output y.npy", 2, "batch is 0"},
    {"run --input x3d.npy --filters w.npy --output y.npy", 2, "(3, 8, 8)"},
    {"run --input x.npy --filters w2d.npy --output y.npy", 2, "(3, 3)"},
    {"run --input x.npy --filters w9.npy --output y.npy", 2, "9x9"},
    {"run --input x.npy --filters w9.npy --padding same --output y.npy", 0, ""},
    {"run --input x.npy --filters w.npy --bias bias3.npy --output y.npy", 2, "(4,)"},
    {"run --input x.npy --filters wdouble.npy --output y.npy", 2, "'wdouble.npy': dtype is '<f8'"},
    {"run --input x.npy --filters w.npy --bias bdouble.npy --output y.npy", 2, "'bdouble.npy': dtype is '<f8'"},
    {"run --input x.npy --filters w.npy --residual rdouble.npy --output y.npy", 2, "'rdouble.npy': dtype is '<f8'"},
    {"run --input x.npy --filters w.npy --groups 2 --output y.npy", 2, "2"},
    {"run --input x.npy --filters w.npy --groups 0 --output y.npy", 2, "0"},
    {"run --input photo.pgm --filters gaussian:5 --output y.pgm", 0, ""},
    {"run --input cut.pgm --filters gaussian:5 --output y.pgm", 2, "cut.pgm"},
    {"run --input zero.pgm --filters gaussian:5 --output y.pgm", 2, "zero.pgm"},
    {"run --input bits.pbm --filters gaussian:5 --output y.pgm", 2, "bits.pbm"},
    {"run --input text.png --filters gaussian:5 --output y.png", 2, "text.png"},
    {"run --input cut.png --filters gaussian:5 --output y.png", 2, "cut.png"},
    {"run --input half.png --filters gaussian:5 --output y.png", 2, "half.png"},
    {"run --input flipped.png --filters gaussian:5 --output y.png", 2, "flipped.png"},
    {"run --input cut.jpg --filters gaussian:5 --output y.jpg", 2, "cut.jpg"},
    {"run --input half.jpg --filters gaussian:5 --output y.jpg", 2, "half.jpg"},
    {"run --input cut.tif --filters gaussian:5 --output y.tif", 2, "cut.tif"},
    {"run --input half.tif --filters gaussian:5 --output y.tif", 2, "half.tif"},
    {"spectral --input x.npy --filters w.npy --output y.npy", 2, "<f4"},
    {"compare --shapes absent.csv --out out", 2, "absent.csv"},
    {"compare --shapes empty.csv --out out", 2, "empty.csv"},
    {"compare --shapes bad.csv --out out", 2, "line 3"},
    // Files written.
    {"run --input x.npy --filters w.npy --output none/y.npy", 1, "none"},
    {"run --input x.npy --filters w.npy --output .", 1, "directory"},
    {"run --input x.npy --filters w.npy --output file/y.npy", 1, "Not a directory"},
    {"run --input x.npy --filters w.npy --output /dev/full", 1, "/dev/full"},
    {"run --input x.npy --filters w.npy --output y.png", 2, "y.png"},
    {"run --input photo.pgm --filters gaussian:5 --output y.gif", 2, "y.gif"},
    {"list >/dev/full", 1, "cannot write to standard output: No space left"},
    {"explain --problem b1_ic4_i9_oc4_f3 >/dev/full", 1, "cannot write to standard output"},
    {"--help >/dev/full", 1, "cannot write to standard output"},
    {"tune --help >/dev/full", 1, "cannot write to standard output"},
    {"--version >/dev/full", 1, "cannot write to standard output"},
    {"--man >/dev/full", 1, "cannot write to standard output"},
    // Flags.
    {"run --input x.npy --output y.npy", 2, "--filters"},
    {"run --input x.npy --filters w.npy", 2, "--output"},
    {"run --input x.npy --filters w.npy --output y.npy --abacus", 2, "--abacus"},
    {"run --input x.npy --filters w.npy --output y.npy --threads -3", 2, "-3"},
    {"run --input x.npy --filters w.npy --output y.npy --threads many", 2, "many"},
    {"run --input x.npy --filters w.npy --output y.npy --stride 1x2x3", 2, "1x2x3"},
    {"run --input x.npy --filters w.npy --output y.npy --stride 0", 2, "stride_h is 0"},
    {"run --input x.npy --filters w.npy --output y.npy --padding 1,2", 2, "1,2"},
    {"run --input x.npy --filters w.npy --output y.npy --padding-mode abacus", 2, "abacus"},
    {"run --input x.npy --filters w.npy --output y.npy --algorithm abacus", 2, "abacus"},
    {"run --input x.npy --filters w.npy --output y.npy --device abacus", 2, "abacus"},
    {"run --input x.npy --filters w.npy --output y.npy --layout abacus", 2, "abacus"},
    {"run --input x.npy --filters w.npy --output y.npy --workspace-limit -1", 2, "-1"},
    {"run --input x.npy --filters w.npy --output y.npy --algorithm winograd --stride 3", 3, "winograd"},
    {"run --problem b1_ic3_i8_oc4_f3 --input x.npy --filters w.npy --output y.npy --stride 2", 2, "--stride"},
    {"run --input photo.pgm --filters gaussian:0 --output y.pgm", 2, "gaussian:0"},
    {"run --input photo.pgm --filters gaussian:99999 --output y.pgm", 2, "gaussian:99999"},
    {"run --input photo.pgm --filters box:x --output y.pgm", 2, "box:x"},
    {"abacus", 2, "abacus"},
    {"bench --problem b1_ic3_i8_oc4_f3 --algorithm abacus", 2, "abacus"},
    {"compare --sweep none --out out", 2, "--sweep none leaves no problem"},
    {"compare --sweep none --sweep ic=1:2 --out out", 2, "'none'"},
    {"compare --sweep ic --out out", 2, "'ic'"},
    {"compare --sweep ic=8:1 --out out", 2, "8:1"},
    {"compare --sweep ic=1:many --out out", 2, "'many'"},
    {"compare --sweep abacus=1:8 --out out", 2, "'abacus'"},
    {"tune --shapes absent.csv --out t.json", 2, "absent.csv"},
    {"tune --problem b1_ic3_i8_oc4_f3 --out locked.json", 2, "is being written by another process"},
    {"tune --problem b1_ic3_i8_oc4_f3 --export-bundle b", 2, "--export-bundle is for GPUs"},
    {"tune --problem b1_ic3_i8_oc4_f3 --device opencl --export-bundle file", 2, "'file' exists"},
    {"tune --import absent.json --out t.json", 2, "absent.json"},
    {"tune --import x.npy --out t.json", 2, "'x.npy' is no table of measurements"},
    {"tune --import absent.json --out t.json --budget 10m", 2, "no use for --budget 10m"},
    {"measure absent", 2, "absent/manifest.json"},
};

}  // namespace

HardInputs hard_commands() {
    HardInputs part;
    part.title = "The command";
    part.introduction =
        "The files are as their names say: `x.npy` (1, 3, 8, 8) and `w.npy` (4, 3, 3, 3) are sound, `cut.npy` lacks its last byte, `flipped.png` has one bit changed, `big.npy` is big-endian, another process writes `locked.json`, and so on. A run that fails leaves\n"
        "no file behind, and an earlier output as it was.";
    const TemporaryFolder folder;
    write_files(folder);
    const int lock = open((folder / "locked.json.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(flock(lock, LOCK_EX), 0);
    const std::vector<std::string> before = folder.files();
    SpawnOptions options;
    options.folder = folder.path();
    for (const Row &row : kRows) {
        SCOPED_TRACE(row.command);
        // Through the shell for its redirections.
        Outcome outcome = spawn({"/bin/sh", "-c", "exec '" FOURFOLD_COMMAND "' " + row.command}, options);
        EXPECT_TRUE(exits_with(row.exit_code, outcome, {row.says}));
        if (row.exit_code != 0) {
            EXPECT_EQ(outcome.err.rfind("fourfold: ", 0), 0u) << outcome.err;
            EXPECT_EQ(folder.files(), before);
        }
        for (const std::string &name : folder.files()) {
            if (name[0] == 'y') {
                EXPECT_EQ(unlink((folder / name).c_str()), 0);
            }
        }
        std::string message = row.exit_code == 0 ? "" : outcome.err.substr(std::string("fourfold: ").size());
        while (!message.empty() && message.back() == '\n') {
            message.pop_back();
        }
        part.rows.push_back({row.command, "exit " + std::to_string(outcome.exit_code), message});
    }
    close(lock);
    return part;
}

}  // namespace fourfold::test
