// A progress bar with the time left, on standard error.
#pragma once

#include <string>

namespace fourfold::cli {

/// On a terminal one line that redraws itself, otherwise a plain line now and then.
class Progress {
public:
    /// `total` is the sum of the steps' weights, which should be about proportional to their times; `budget`, in seconds, ends them all (0: none does).
    Progress(double total, int steps, double budget = 0.0);
    ~Progress();
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;

    /// Names the step under way.
    void begin(const std::string &label);
    /// It goes on: the time left is drawn anew now and then.
    void tick();
    /// The step is done.
    void advance(double weight);

private:
    void draw();
    void clear();

    double total_, budget_, done_ = 0.0, started_, last_line_, last_drawn_ = 0.0;
    int steps_, step_ = 0;
    bool terminal_;
    std::string label_;
};

/// "1:05", "1:02:03".
std::string duration_text(double seconds);

}  // namespace fourfold::cli
