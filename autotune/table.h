// Rows of text in columns, printed as they come.
#pragma once

#include <string>
#include <vector>

namespace fourfold::cli {

struct Column {
    std::string title;
    int width = 0;
    bool left = false;  ///< aligned left
};

class Table {
public:
    explicit Table(std::vector<Column> columns);
    /// Each ends with a newline and without trailing blanks. Cells wider than their column push the rest along.
    std::string header() const;
    std::string row(const std::vector<std::string> &cells) const;

private:
    std::vector<Column> columns_;
};

}  // namespace fourfold::cli
