#include "candidate_process.h"
#include "clock.h"
#include "own_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>

#include <fmt/format.h>

namespace fourfold::cli {
namespace {

bool starts_with(const std::string &line, const char *word) {
    return line.compare(0, std::strlen(word), word) == 0;
}

}  // namespace

SharedFloats::SharedFloats(int64_t elements)
    : elements_(elements) {
    const size_t bytes = static_cast<size_t>(elements) * sizeof(float);
    file_ = ::memfd_create("fourfold-result", 0);
    if (file_ >= 0 && ::ftruncate(file_, static_cast<off_t>(bytes)) == 0) {
        void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
        data_ = at == MAP_FAILED ? nullptr : static_cast<float *>(at);
    }
}

SharedFloats::~SharedFloats() {
    if (data_ != nullptr) {
        ::munmap(data_, static_cast<size_t>(elements_) * sizeof(float));
    }
    if (file_ >= 0) {
        ::close(file_);
    }
}

void SharedFloats::fill_nan() {
    std::fill(data_, data_ + elements_, std::numeric_limits<float>::quiet_NaN());
}

CandidateProcess::~CandidateProcess() {
    end();
}

Failure CandidateProcess::start(const std::vector<std::string> &command, double seconds, std::function<bool()> stopped) {
    const Failure failure = launch(command, std::move(stopped));
    return failure ? failure : await_ready(seconds);
}

Failure CandidateProcess::launch(const std::vector<std::string> &command, std::function<bool()> stopped) {
    end();
    buffer_.clear();
    stopped_ = std::move(stopped);
    int to_child[2], from_child[2];
    if (::pipe2(to_child, O_CLOEXEC) != 0) {
        return {"refused", "no pipe"};
    }
    if (::pipe2(from_child, O_CLOEXEC) != 0) {
        ::close(to_child[0]);
        ::close(to_child[1]);
        return {"refused", "no pipe"};
    }
    std::vector<char *> arguments;
    for (const std::string &argument : command) {
        arguments.push_back(const_cast<char *>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    const pid_t child = fork_bound(SIGKILL);
    if (child == 0) {
        // Ctrl-C goes to the whole group; what to do about it is the parent's to say.
        std::signal(SIGINT, SIG_IGN);
        ::dup2(to_child[0], STDIN_FILENO);
        ::dup2(from_child[1], STDOUT_FILENO);
        const int null = ::open("/dev/null", O_WRONLY);
        ::dup2(null, STDERR_FILENO);
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    ::close(to_child[0]);
    ::close(from_child[1]);
    in_ = to_child[1];
    out_ = from_child[0];
    pid_ = child;
    if (child < 0) {
        end();
        return {"refused", "no process"};
    }
    return {};
}

Failure CandidateProcess::add(const std::string &choice, double seconds) {
    const Failure failure = ask_to_add(choice);
    return failure ? failure : await_ready(seconds);
}

Failure CandidateProcess::ask_to_add(const std::string &choice) {
    return send("add " + choice);
}

Failure CandidateProcess::await_ready(double seconds) {
    std::string line;
    if (Failure failure = read_line(seconds, line)) {
        return failure;
    }
    if (line == "ready") {
        return {};
    }
    end();
    for (const char *kind : {"refused", "wrong"}) {
        if (starts_with(line, kind)) {
            return {kind, line.substr(std::min(line.size(), std::strlen(kind) + 1))};
        }
    }
    return {"wrong", "it said '" + line.substr(0, 80) + "'"};
}

Failure CandidateProcess::send(const std::string &line) {
    const std::string text = line + "\n";
    // A child that is gone makes this fail, which read_line then explains; SIGPIPE is ignored by whoever tunes.
    if (::write(in_, text.data(), text.size()) < 0 && errno != EPIPE) {
        return {"crash", std::strerror(errno)};
    }
    return {};
}

Failure CandidateProcess::sample(int which, int warm, int repeats, double seconds, double &elapsed) {
    if (Failure failure = send(fmt::format("sample {} {} {}", which, warm, repeats))) {
        return failure;
    }
    std::string line;
    if (Failure failure = read_line(seconds, line)) {
        return failure;
    }
    char *rest = nullptr;
    elapsed = starts_with(line, "time ") ? std::strtod(line.c_str() + 5, &rest) : -1.0;
    if (rest == nullptr || *rest != '\0' || !std::isfinite(elapsed) || elapsed <= 0.0) {
        end();
        return {"wrong", starts_with(line, "wrong ") ? line.substr(6) : "it said '" + line.substr(0, 80) + "'"};
    }
    return {};
}

Failure CandidateProcess::read_line(double seconds, std::string &line) {
    const double deadline = now() + seconds;
    while (true) {
        if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
            line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return {};
        }
        if (stopped_ && stopped_()) {
            end();
            return {"stopped", ""};
        }
        const double left = deadline - now();
        if (left <= 0.0 || buffer_.size() > 65536) {
            end();
            return left <= 0.0 ? Failure{"timeout", fmt::format("over {:.3g} s", seconds)} : Failure{"wrong", "it talks without end"};
        }
        pollfd ready = {out_, POLLIN, 0};
        // Woken now and then, so that a stop is seen even if its signal came just before.
        if (::poll(&ready, 1, static_cast<int>(std::min(left, 0.2) * 1e3) + 1) <= 0) {
            continue;
        }
        char chunk[4096];
        const ssize_t got = ::read(out_, chunk, sizeof chunk);
        if (got > 0) {
            buffer_.append(chunk, static_cast<size_t>(got));
        } else if (got == 0 || errno != EINTR) {
            return ended();
        }
    }
}

/// Its output is closed: how did it end?
Failure CandidateProcess::ended() {
    int status = 0;
    ::kill(pid_, SIGKILL);  // it may have closed its output only
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    end();
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
        return {"crash", fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))};
    }
    return {"crash", WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status)) : "killed"};
}

void CandidateProcess::end() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    for (int *file : {&in_, &out_}) {
        if (*file >= 0) {
            ::close(*file);
        }
        *file = -1;
    }
    pid_ = -1;
}

}  // namespace fourfold::cli
