// Says where functions of it are.
#include <cstdio>
#include <cstring>
#include <ctime>
#include <sys/auxv.h>

extern "C" int in_library(int);

namespace shop {
volatile int sum;
extern const char inlined_at[] asm("inlined_at");
struct Cart {
    static int add(int n);
    static int total(int n);
};
__attribute__((always_inline)) inline int twice(int n) {
    asm volatile(".globl inlined_at\ninlined_at: nop" ::: "memory"); sum = sum + n; /* inlined_here */
    return sum * 2;
}
__attribute__((noinline)) int Cart::add(int n) {
    sum = sum + n;
    return sum;
}
__attribute__((noinline)) int Cart::total(int n) {
    sum = sum ^ n;
    int doubled = twice(n); /* calls twice */
    sum = sum - doubled;
    return sum;
}
}

int main() {
    using shop::Cart;
    std::printf("add %lx\n", (unsigned long)&Cart::add);
    std::printf("inlined %lx\n", (unsigned long)shop::inlined_at);
    std::printf("library %lx\n", (unsigned long)&in_library);
    std::printf("vdso %lx\n\n", getauxval(AT_SYSINFO_EHDR) + 0x100);
    std::fflush(stdout);
    int used = in_library(Cart::add(1) + Cart::total(2));
    return std::getchar() == used;
}
