// Spends CPU time in a known split, 60/30/10, over three functions of a namespace, called by way of a template, a lambda and a
// virtual function, as C++ is written.
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <unistd.h>

namespace shop {

volatile std::uint64_t sink;

template <typename Number> [[gnu::noinline]] Number spin(Number x, int rounds) {
    for (int i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

[[gnu::noinline]] std::uint64_t sixty(std::uint64_t x, int unit) { return spin<std::uint64_t>(x, 6 * unit) + 1; }
[[gnu::noinline]] std::uint64_t thirty(std::uint64_t x, int unit) { return spin<std::uint64_t>(x, 3 * unit) + 1; }
[[gnu::noinline]] std::uint64_t ten(std::uint64_t x, int unit) { return spin<std::uint64_t>(x, unit) + 1; }

struct Work {
    virtual ~Work() = default;
    virtual std::uint64_t round(std::uint64_t x, int unit) const = 0;
};

struct Split final : Work {
    [[gnu::noinline]] std::uint64_t round(std::uint64_t x, int unit) const override {
        return ten(thirty(sixty(x, unit), unit), unit) + 1;
    }
};

} // namespace shop

int main() {
    std::printf("ready %d\n", static_cast<int>(getpid()));
    std::fflush(stdout);
    std::unique_ptr<shop::Work> work = std::make_unique<shop::Split>();
    std::function<std::uint64_t(std::uint64_t, int)> round = [&](std::uint64_t x, int unit) { return work->round(x, unit) + 1; };
    for (int i = 0;; i = (i + 1) % 51) {
        shop::sink = round(shop::sink | 1, 3750000 + i * 7 % 51 * 50000);
    }
}
