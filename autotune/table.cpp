#include "table.h"

#include <algorithm>

#include <fmt/format.h>

namespace fourfold::cli {

Table::Table(std::vector<Column> columns)
    : columns_(std::move(columns)) {
    for (Column &column : columns_) {
        column.width = std::max(column.width, static_cast<int>(column.title.size()));
    }
}

std::string Table::header() const {
    std::vector<std::string> titles;
    for (const Column &column : columns_) {
        titles.push_back(column.title);
    }
    return row(titles);
}

std::string Table::row(const std::vector<std::string> &cells) const {
    std::string line;
    for (size_t i = 0; i < cells.size() && i < columns_.size(); ++i) {
        line += i > 0 ? "  " : "";
        line += columns_[i].left ? fmt::format("{:<{}}", cells[i], columns_[i].width) : fmt::format("{:>{}}", cells[i], columns_[i].width);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
}

}  // namespace fourfold::cli
