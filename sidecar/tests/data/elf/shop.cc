extern "C" int printf(const char *, ...);
namespace shop {
int sum;
struct Cart { void add(int n); };
__attribute__((always_inline)) inline void twice(int n) { sum += n * 2; sum ^= n; }
__attribute__((noinline)) void Cart::add(int n) {
    for (int i = 0; i < n; i++) {
        twice(i);
    }
}
}
asm(".text\n.globl spin\nspin:\n nop\n nop\n ret\n");
extern "C" void _start() { shop::Cart().add(3); for (;;) {} }
