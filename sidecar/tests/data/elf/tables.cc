// g++ -O2 -fomit-frame-pointer -fasynchronous-unwind-tables -nostdlib -static -no-pie -Wl,--eh-frame-hdr,--build-id=none,-z,noseparate-code -s -o tables tables.cc
extern "C" __attribute__((noinline)) long leaf(long n) { volatile long a[20]; for (long i = 0; i < 20; i++) a[i] = i * n; return a[n % 20]; }
extern "C" __attribute__((noinline)) long deep(long n, long m) { long a = leaf(n), b = leaf(m), c = leaf(a ^ b); return n > 0 ? deep(n - 1, m) + a * b + c : m; }
extern "C" void _start() { deep(50, 7); for (;;) {} }
