// The readers of tuned tables and of lists of shapes: records that the look-up can use, problems that are valid, or a sentence.
#include <cmath>
#include <string>
#include <vector>

#include "fuzz.h"
#include "shapes.h"
#include "tables.h"

using namespace fourfold;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const std::string text(reinterpret_cast<const char *>(data), bytes);
    const ReadTable table = read_table(text);
    fuzz::expect(table.header || table.records.empty(), "records without a header");
    for (const Record &record : table.records) {
        fuzz::expect(record.spectral ? record.spectral->validate().ok() : record.problem.error() == nullptr, "a record of no valid problem");
        fuzz::expect(!record.choice.empty() && record.threads >= 1, "a record of no choice");
        fuzz::expect(!record.failure.empty() || (std::isfinite(record.seconds_min) && record.seconds_min > 0 && std::isfinite(record.seconds_median) && record.seconds_median > 0), "a record without a time");
    }
    Tables tables;
    TableInfo info;
    info.name = "fuzz";
    info.unreadable = table.unreadable;
    info.torn = table.torn;
    tables.add(std::move(info), table.records);
    tables.finish();
    for (const Record &record : table.records) {
        if (record.spectral) {
            fuzz::expect(tables.spectral(*record.spectral, {}).measured == nullptr || tables.spectral(*record.spectral, {}).tier != Tier::kCostModel, "a measured product that decides nothing");
            continue;
        }
        const Tables::Query query = {record.problem, record.accuracy, record.threads, record.cache, record.workspace_limit};
        const auto [algorithm, words] = split_choice(record.choice);
        const double residual = tables.ranking(query).residual(algorithm, std::string(words));
        fuzz::expect(std::isfinite(residual), "a correction that is no number: " + record.choice);
        for (const MeasuredProblem *measured : tables.exact(query)) {
            fuzz::expect(!measured->entries.empty(), "a measured problem without measurements");
        }
    }
    if (const Result<std::vector<cli::Shape>> shapes = cli::parse_shapes(text, "fuzz.csv", cli::SpectralLines::kTaken)) {
        for (const cli::Shape &shape : *shapes) {
            fuzz::expect(shape.spectral ? shape.spectral->validate().ok() : shape.problem.error() == nullptr, "a shape that is no valid problem: " + shape.name);
        }
    } else {
        fuzz::expect(shapes.status().message().find("fuzz.csv") != std::string::npos, shapes.status().message());
    }
    return 0;
}
