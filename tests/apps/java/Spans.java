package demo.shop;

import one.profiler.Span;

/** Serves endpoints by one method, 60 : 30 : 10 of its time, and tells async-profiler which. */
final class Spans {
    private static volatile long sink;

    private Spans() {}

    static void run() {
        for (int i = 0; i < 30_000; i++) {
            serve(100);
        }
        for (int i = 0; ; i = (i + 1) % 51) {
            int unit = (int) (5_000_000 * Split.jitter(i));
            request("/cart", 6 * unit);
            request("/search", 3 * unit);
            request("/health", unit);
        }
    }

    /** What reads the price of it says so within. */
    private static void request(String endpoint, int n) {
        long outer = Span.start();
        serve(n / 2);
        long inner = Span.start();
        serve(n / 2);
        if (endpoint.equals("/search")) {
            Span.end(inner, "/search/price");
        }
        Span.end(outer, endpoint);
    }

    private static void serve(int n) {
        sink = Split.spin(sink | 1, n);
    }
}
