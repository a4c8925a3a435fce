#include "command/command.h"

namespace fourfold::test {

Outcome fourfold_command(const std::vector<std::string> &arguments, const SpawnOptions &options) {
    std::vector<std::string> command = {FOURFOLD_COMMAND};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return spawn(command, options);
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
