// `fourfold tune` of GPUs: here, and in the three steps for GPUs elsewhere (--export-bundle, measure, --import). Measured on the OpenCL
// device that PoCL offers.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "fourfold/fourfold.h"
#include "records.h"

namespace fourfold::test {
namespace {

using Json = nlohmann::json;

constexpr const char *kShapes = "one,b1 ic4 i12 oc8 f3 p1\ntwo,b2 ic3 i14 oc4 f5 nhwc\n";
constexpr const char *kOne = "b1 ic4 i12 oc8 f3 p1";

std::vector<Json> lines_of(const std::string &text) {
    std::vector<Json> lines;
    std::stringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(Json::parse(line));
    }
    return lines;
}

/// The line after "choice" that explain prints, and the one after "decided by".
std::pair<std::string, std::string> explained(const std::string &table, const std::string &device = "opencl") {
    setenv("FOURFOLD_TABLE", table.c_str(), 1);
    const Outcome outcome = fourfold_command({"explain", "--device", device, "--problem", kOne});
    unsetenv("FOURFOLD_TABLE");
    EXPECT_TRUE(exits_with(0, outcome));
    const auto after = [&](const std::string &word) {
        const size_t at = outcome.out.rfind("\n" + word);
        EXPECT_NE(at, std::string::npos) << outcome.out;
        return at == std::string::npos ? "" : outcome.out.substr(at + 12, outcome.out.find('\n', at + 1) - at - 12);
    };
    return {after("choice "), after("decided by ")};
}

/// The same table with another winner of the problem: the slowest that was measured.
std::string with_slowest_first(const std::string &path, std::string &choice) {
    std::vector<Json> lines = lines_of(read_bytes(path));
    Json *slowest = nullptr;
    for (Json &line : lines) {
        if (line.value("problem", "") == "fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1" && line.contains("ms_min")) {
            line["role"] = "candidate";
            slowest = slowest == nullptr || line["ms_min"] > (*slowest)["ms_min"] ? &line : slowest;
        }
    }
    EXPECT_NE(slowest, nullptr) << path;
    std::string text;
    if (slowest != nullptr) {
        (*slowest)["role"] = "winner";
        choice = (*slowest)["choice"];
        for (const Json &line : lines) {
            text += line.dump() + "\n";
        }
    }
    return text;
}

class TunedGpu : public ::testing::Test {
protected:
    void SetUp() override {
        write_bytes(folder / "shapes.csv", kShapes);
        if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
            GTEST_SKIP() << "skipped: " << info.status().message();
        }
    }
    /// An export that works.
    Outcome exported() const {
        return fourfold_command({"tune", "--device", "opencl", "--export-bundle", folder / "bundle", "--shapes", folder / "shapes.csv"});
    }
    /// The bundle's own entry, elsewhere, with a few candidates.
    Outcome measured(const std::vector<std::string> &more = {}) const {
        std::vector<std::string> command = {folder / "bundle/measure", "--trials", "3", "--hopeless", "1e6"};
        command.insert(command.end(), more.begin(), more.end());
        SpawnOptions options;
        options.folder = "/";
        return spawn(command, options);
    }
    TemporaryFolder folder;
};

TEST_F(TunedGpu, HereInOneStep) {
    const std::string table = folder / "t.json";
    const Outcome outcome = fourfold_command({"tune", "--device", "opencl", "--shapes", folder / "shapes.csv", "--trials", "3", "--hopeless", "1e6", "--out", table});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_NE(outcome.out.find("2 of 2 problems"), std::string::npos) << outcome.out;
    std::map<std::string, std::string> winners;
    int timed = 0;
    for (const Json &line : lines_of(read_bytes(table))) {
        if (line.contains("choice")) {
            EXPECT_EQ(line["isa"], "opencl");
            EXPECT_EQ(line["microarchitecture"].get<std::string>().rfind("opencl ", 0), 0u) << line;
            EXPECT_EQ(line["threads"], 1);
            EXPECT_NE(line["machine"].get<std::string>().find("compute units"), std::string::npos) << line;
            timed += line.contains("ms_min");
            if (line["role"] == "winner") {
                winners[line["problem"]] = line["choice"];
            }
        }
    }
    ASSERT_EQ(winners.size(), 2u);
    EXPECT_NE(fourfold_command({"list"}).out.find("records of it are of 'opencl "), std::string::npos);
    EXPECT_GT(timed, 4) << "several candidates a problem";
    EXPECT_EQ(explained(table).first, winners["fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1"]);
    EXPECT_EQ(explained(table).second.rfind("record: record in ", 0), 0u) << explained(table).second;
    EXPECT_EQ(explained(table, "cpu").second.find("t.json"), std::string::npos) << "a GPU's record is none of the CPU's";
    const Outcome again = fourfold_command({"tune", "--device", "opencl", "--shapes", folder / "shapes.csv", "--resume", "--out", table});
    ASSERT_TRUE(exits_with(0, again));
    EXPECT_NE(again.out.find("0 problems to tune, 2 tuned already"), std::string::npos) << again.out;
}

TEST_F(TunedGpu, ElsewhereInThreeSteps) {
    // Packed here ...
    const Outcome packed = exported();
    ASSERT_TRUE(exits_with(0, packed));
    const Json manifest = Json::parse(read_bytes(folder / "bundle/manifest.json"));
    EXPECT_EQ(manifest["library"], version());
    EXPECT_EQ(manifest["problems"], 2);
    for (const VariantInfo &v : list_device_variants()) {
        EXPECT_EQ(manifest["variants"].contains(v.name), v.isa == "opencl") << v.name;
        EXPECT_TRUE(v.isa != "opencl" || manifest["variants"][v.name] == v.hash) << v.name;
    }
    // ... measured there, twice: the second time there is nothing left to do ...
    const Outcome first = measured();
    ASSERT_TRUE(exits_with(0, first));
    EXPECT_NE(first.out.find("2 of 2 problems"), std::string::npos) << first.out;
    const std::string results = read_bytes(folder / "bundle/results.json");
    const Outcome second = measured();
    ASSERT_TRUE(exits_with(0, second));
    EXPECT_NE(second.out.find("0 problems to tune, 2 tuned already"), std::string::npos) << second.out;
    EXPECT_EQ(read_bytes(folder / "bundle/results.json"), results);
    // ... and read back here, into a table that is called after the GPU.
    std::filesystem::create_directory(folder / "tuned");
    const Outcome imported = fourfold_command({"tune", "--import", folder / "bundle", "--out", folder / "tuned"});
    ASSERT_TRUE(exits_with(0, imported));
    std::vector<std::string> tables;
    for (const auto &entry : std::filesystem::directory_iterator(folder / "tuned")) {
        tables.push_back(entry.path());
    }
    ASSERT_EQ(tables.size(), 1u);
    EXPECT_EQ(std::filesystem::path(tables[0]).filename().string().rfind("opencl-", 0), 0u) << tables[0];
    std::string winner;
    for (const Json &line : lines_of(results)) {
        winner = line.value("role", "") == "winner" && line["problem"] == "fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1" ? line["choice"] : Json(winner);
    }
    EXPECT_EQ(explained(tables[0]).first, winner);
    EXPECT_EQ(explained(tables[0]).second.rfind("record: record in ", 0), 0u) << explained(tables[0]).second;
    // Plans follow the record, whatever it says.
    std::string slowest;
    write_bytes(folder / "slow.json", with_slowest_first(folder / "bundle/results.json", slowest));
    ASSERT_NE(slowest, winner);
    EXPECT_EQ(explained(folder / "slow.json").first, slowest);
    // Once more changes nothing; what comes later replaces what was.
    const std::string table = read_bytes(tables[0]);
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--import", folder / "bundle/results.json", "--out", folder / "tuned"})));
    EXPECT_EQ(read_bytes(tables[0]), table);
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--import", folder / "slow.json", "--out", tables[0]})));
    EXPECT_EQ(explained(tables[0]).first, slowest);
}

TEST_F(TunedGpu, WhatIsImportedIsOfThisBuildOrCounted) {
    PlanOptions options;
    options.device = Device::opencl();
    options.threads = 1;
    const Conv2dProblem p = *Conv2dProblem::parse(kOne);
    const Result<std::vector<Candidate>> choices = list_choices(p, options);
    ASSERT_TRUE(choices.ok() && choices->size() > 2);
    const auto record = [&](size_t i, bool winner) {
        Record r = cli::make_record(p, options, (*choices)[i].choice);
        r.winner = winner;
        r.seconds_min = r.seconds_median = r.seconds_predicted = 1e-3;
        r.samples = 5;
        return r;
    };
    Record stale = record(1, false), foreign = record(2, false);
    ASSERT_FALSE(stale.variants.empty());
    stale.variants[0].second = "0123456789abcdef";
    foreign.isa = machine().isa;
    const std::string good = cli::record_line(record(0, true), options.device);
    const std::string text = cli::header_line() + good + cli::record_line(stale) + cli::record_line(foreign) + "{\"choice\":7}\nno record\n" + good.substr(0, 40);
    write_bytes(folder / "r.json", text);
    const Outcome outcome = fourfold_command({"tune", "--import", folder / "r.json", "--out", folder / "t.json"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_NE(outcome.out.find("r.json: 1 records; skipped: 1 stale, 1 foreign, 2 unreadable, 1 cut off"), std::string::npos) << outcome.out;
    EXPECT_EQ(lines_of(read_bytes(folder / "t.json")).size(), 2u);
    EXPECT_EQ(explained(folder / "t.json").first, (*choices)[0].choice);
    // Cut anywhere it is a shorter table, or none.
    for (size_t length = 0; length < text.size(); length += 97) {
        write_bytes(folder / "cut.json", text.substr(0, length));
        const Outcome cut = fourfold_command({"tune", "--import", folder / "cut.json", "--out", folder / "c.json"});
        const bool whole = length >= cli::header_line().size() + good.size();
        EXPECT_TRUE(exits_with(whole ? 0 : 2, cut)) << length;
    }
    // A name that would lead elsewhere becomes a plain one.
    Record hostile = record(0, true);
    hostile.microarchitecture = "..";
    write_bytes(folder / "h.json", cli::header_line() + cli::record_line(hostile));
    std::filesystem::create_directory(folder / "tables");
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--import", folder / "h.json", "--out", folder / "tables"})));
    EXPECT_TRUE(std::filesystem::exists(folder / "tables/--.json"));
    write_bytes(folder / "s.json", cli::header_line() + cli::record_line(stale));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--import", folder / "s.json", "--out", folder / "n.json"}), {"none of the records"}));
    EXPECT_FALSE(std::filesystem::exists(folder / "n.json"));
}

TEST_F(TunedGpu, ABundleSearchesAsItWasToldWhenItWasPacked) {
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--device", "opencl", "--export-bundle", folder / "bundle", "--problem", kOne, "--trials", "2", "--hopeless", "1e6", "--budget", "5m", "--seed", "7"})));
    const std::string path = folder / "bundle/manifest.json";
    const Json manifest = Json::parse(read_bytes(path));
    EXPECT_EQ(manifest["search"], Json({{"--trials", "2"}, {"--hopeless", "1e6"}, {"--budget", "5m"}, {"--seed", "7"}}));
    const auto results = [&](const std::vector<std::string> &more) {
        std::filesystem::remove(folder / "bundle/results.json");
        std::vector<std::string> command = {folder / "bundle/measure"};
        command.insert(command.end(), more.begin(), more.end());
        EXPECT_TRUE(exits_with(0, spawn(command)));
        int count = 0;
        for (const Json &line : lines_of(read_bytes(folder / "bundle/results.json"))) {
            count += line.contains("choice");
        }
        return count;
    };
    EXPECT_EQ(results({}), 2);
    EXPECT_EQ(results({"--trials", "3"}), 3) << "what measure is given comes first";
    for (const Json &search : {Json(), Json(5), Json({{"--trials", 2}}), Json({{"--out", "x"}}), Json({{"--trials", "many"}}), Json({{"--hopeless", "0"}})}) {
        Json changed = manifest;
        changed["search"] = search;
        write_bytes(path, changed.dump());
        EXPECT_TRUE(exits_with(2, spawn({folder / "bundle/measure"}), {"no manifest of a bundle"})) << search;
    }
}

TEST_F(TunedGpu, AnExportThatFailsLeavesNothing) {
    SpawnOptions full;
    full.largest_file = 1 << 16;
    const auto fails = [&](const std::string &bundle) {
        return exits_with(1, spawn({FOURFOLD_COMMAND, "tune", "--device", "opencl", "--export-bundle", bundle, "--problem", kOne}, full), {"cannot copy"});
    };
    EXPECT_TRUE(fails(folder / "new/bundle"));
    EXPECT_FALSE(std::filesystem::exists(folder / "new"));
    std::filesystem::create_directory(folder / "empty");
    EXPECT_TRUE(fails(folder / "empty"));
    EXPECT_TRUE(std::filesystem::is_empty(folder / "empty"));
}

TEST_F(TunedGpu, ABundleThatIsNoneOfThisProgramIsRefused) {
    ASSERT_TRUE(exits_with(0, exported()));
    const std::string path = folder / "bundle/manifest.json";
    const Json manifest = Json::parse(read_bytes(path));
    const auto refused = [&](const std::string &text, const std::vector<std::string> &words) {
        write_bytes(path, text);
        return exits_with(2, measured(), words);
    };
    const auto with = [&](const char *key, const Json &value) {
        Json changed = manifest;
        changed[key] = value;
        return changed.dump();
    };
    EXPECT_TRUE(refused("", {"manifest.json"}));
    EXPECT_TRUE(refused("[]", {"manifest.json"}));
    EXPECT_TRUE(refused(std::string(100000, '['), {"too deep"}));
    EXPECT_TRUE(refused(with("format", "other"), {"fourfold-bundle"}));
    EXPECT_TRUE(refused(with("version", 2), {"version 1"}));
    EXPECT_TRUE(refused(with("device", "cpu"), {"no GPU"}));
    EXPECT_TRUE(refused(with("device", 5), {"no GPU"}));
    EXPECT_TRUE(refused(with("library", "0.0.0"), {"another build"}));
    EXPECT_TRUE(refused(with("variants", Json::object()), {"another build"}));
    Json other = manifest;
    other["variants"].begin().value() = "0123456789abcdef";
    EXPECT_TRUE(refused(other.dump(), {"another build"}));
    EXPECT_TRUE(refused(with("accuracy", "perfect"), {"perfect"}));
    write_bytes(path, manifest.dump());
    EXPECT_TRUE(exits_with(2, measured({"--device", "cuda"}), {"'opencl'"}));
    EXPECT_TRUE(exits_with(3, measured({"--device", "opencl:77"}), {"77"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"measure", folder / "absent"}), {"absent"}));
    EXPECT_TRUE(exits_with(2, exported(), {"new folder"}));
}

TEST(TuneGpu, BadArguments) {
    const TemporaryFolder folder;
    const std::string table = folder / "t.json", bundle = folder / "bundle";
    const auto tune = [](std::vector<std::string> more) {
        more.insert(more.begin(), "tune");
        return fourfold_command(more);
    };
    EXPECT_TRUE(exits_with(2, tune({"--problem", kOne}), {"--out is required"}));
    EXPECT_TRUE(exits_with(2, tune({"--problem", kOne, "--device", "abacus", "--out", table}), {"abacus"}));
    EXPECT_TRUE(exits_with(2, tune({"--problem", kOne, "--device", "opencl", "--threads", "2", "--out", table}), {"--threads 2"}));
    EXPECT_TRUE(exits_with(2, tune({"--problem", kOne, "--device", "opencl", "--cold", "--out", table}), {"--cold"}));
    EXPECT_TRUE(exits_with(3, tune({"--problem", kOne, "--device", "cuda:77", "--out", table}), {"cuda"}));
    EXPECT_FALSE(std::filesystem::exists(table));
    EXPECT_TRUE(exits_with(2, tune({"--problem", kOne, "--export-bundle", bundle}), {"for GPUs"}));
    EXPECT_TRUE(exits_with(2, tune({"--device", "opencl", "--export-bundle", bundle}), {"--shapes or --problem"}));
    EXPECT_TRUE(exits_with(2, tune({"--device", "opencl", "--problem", kOne, "--export-bundle", bundle, "--out", table}), {"--out"}));
    EXPECT_TRUE(exits_with(2, tune({"--device", "opencl:1", "--problem", kOne, "--export-bundle", bundle}), {"opencl:1", "measured on is said there"}));
    EXPECT_TRUE(exits_with(2, tune({"--device", "opencl", "--problem", kOne, "--export-bundle", bundle, "--budget", "soon"}), {"--budget is 'soon'"}));
    EXPECT_TRUE(exits_with(2, tune({"--import", folder / "absent.json", "--out", table}), {"absent.json"}));
    EXPECT_TRUE(exits_with(2, tune({"--import", folder / "absent.json"}), {"--out is required"}));
    EXPECT_TRUE(exits_with(2, tune({"--import", folder / "absent.json", "--problem", kOne, "--out", table}), {"--import"}));
    for (const std::vector<std::string> &option : {std::vector<std::string>{"--budget", "10m"}, {"--trials", "3"}, {"--patience", "3"}, {"--hopeless", "2"}, {"--candidate-timeout", "9"}, {"--seed", "7"}, {"--device", "cuda"}, {"--accuracy", "strict"},
                                                   {"--workspace-max", "1G"}, {"--threads", "2"}, {"--operation", "fwd,fold"}, {"--layout", "nhwc"}, {"--cold"}}) {
        std::vector<std::string> import = {"--import", folder / "absent.json", "--out", table};
        import.insert(import.end(), option.begin(), option.end());
        EXPECT_TRUE(exits_with(2, tune(import), {"--import measures nothing", "no use for " + option[0]}));
    }
    EXPECT_FALSE(std::filesystem::exists(bundle));
}

TEST(TuneGpu, ABundleForCudaNeedsNoGpuHere) {
    const std::vector<VariantInfo> variants = list_device_variants();
    if (std::none_of(variants.begin(), variants.end(), [](const VariantInfo &v) { return v.isa == "cuda86"; })) {
        GTEST_SKIP() << "skipped: this build has no CUDA";
    }
    const TemporaryFolder folder;
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--device", "cuda", "--export-bundle", folder / "b", "--problem", kOne, "--operation", "fwd,bwd-data"})));
    const Json manifest = Json::parse(read_bytes(folder / "b/manifest.json"));
    EXPECT_EQ(manifest["problems"], 2);
    EXPECT_EQ(manifest["device"], "cuda");
    for (const VariantInfo &v : variants) {
        EXPECT_EQ(manifest["variants"].contains(v.name), v.isa != "opencl") << v.name;
    }
    if (const Result<DeviceInfo> info = device_info(Device::cuda()); !info) {
        const Outcome outcome = spawn({folder / "b/measure"});
        EXPECT_TRUE(exits_with(3, outcome, {info.status().message()}));
    }
}

}  // namespace
}  // namespace fourfold::test
