#include "command/command.h"

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fourfold::test {

Outcome fourfold_command(const std::vector<std::string> &arguments, const SpawnOptions &options) {
    std::vector<std::string> command = {FOURFOLD_COMMAND};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return spawn(command, options);
}

Outcome signalled(const std::vector<std::string> &arguments, int signal, const std::function<bool(const std::string &)> &ready) {
    const TemporaryFolder folder;
    const std::string out = folder / "out", err = folder / "err";
    std::vector<std::string> command = {FOURFOLD_COMMAND};
    command.insert(command.end(), arguments.begin(), arguments.end());
    std::vector<char *> argv;
    for (std::string &argument : command) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), STDOUT_FILENO);
        dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
        execv(argv[0], argv.data());
        _exit(127);
    }
    int status = 0;
    bool ended = false;
    while (!(ended = waitpid(child, &status, WNOHANG) == child) && !ready(read_bytes(out))) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (!ended) {
        kill(signal == SIGKILL ? child : -child, signal);
        waitpid(child, &status, 0);
    }
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_bytes(out), read_bytes(err)};
}

std::vector<std::string> lines_of(const std::string &text) {
    std::vector<std::string> lines;
    std::stringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

bool says(const Outcome &outcome, const std::string &word) {
    return outcome.out.find(word) != std::string::npos;
}

::testing::AssertionResult exits_with(int code, const Outcome &outcome, const std::vector<std::string> &words) {
    const auto wrong = [&](const std::string &what) {
        return ::testing::AssertionFailure() << what << "; exit code " << outcome.exit_code << "\nstdout: " << outcome.out.substr(0, 2000)
                                             << "\nstderr: " << outcome.err.substr(0, 2000);
    };
    if (outcome.exit_code != code) {
        return wrong("exit code " + std::to_string(code) + " was expected");
    }
    if (code != 0 && outcome.err.empty()) {
        return wrong("a failure must say why on stderr");
    }
    for (const std::string &word : words) {
        if (outcome.err.find(word) == std::string::npos) {
            return wrong("stderr does not say '" + word + "'");
        }
    }
    return ::testing::AssertionSuccess();
}

}  // namespace fourfold::test
