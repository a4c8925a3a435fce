// Stands before a candidate's function: does as it does, and crashes once it has been called more often than a check calls it.
#include <cstdlib>

extern "C" int real_candidate(void **arguments);

extern "C" int crash_later(void **arguments) {
    static int calls = 0;
    if (++calls > 20) {
        std::abort();
    }
    return real_candidate(arguments);
}
