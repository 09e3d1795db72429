// fuzz [ROUNDS [SEED [OPERATION]]]: random shapes and values through the native operations, every level against the
// portable one, without Python. Built with sanitizers by scripts/sanitize, for ARM by scripts/check-neon.

#include "tests/fuzz.h"

#include <cstring>

using namespace gatework::fuzz;

int main(int count, char** arguments) {
    static constexpr struct {
        const char* name;
        Operation run;
    } operations[] = {{"threads", threads}, {"recurrent", recurrent}, {"crf", crf}, {"generate", generate}, {"decode", decode}};
    const std::int64_t rounds = count > 1 ? std::atoll(arguments[1]) : 200;
    const std::uint64_t seed = count > 2 ? (std::uint64_t)std::atoll(arguments[2]) : 1;
    bool any = false;
    for (const auto& operation : operations) {
        if (count > 3 && std::strcmp(arguments[3], operation.name) != 0) continue;
        any = true;
        operation.run(rounds, seed);
    }
    if (!any) fail("no operation %s", arguments[3]);
    std::puts("fuzz: passed");
    return 0;
}
