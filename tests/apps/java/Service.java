package demo.shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.DoubleAdder;
import java.util.concurrent.atomic.LongAdder;

/**
 * A service with faults to find: /high-cpu?ms=200 computes discounts, /memory-leak?kb=64 keeps orders for ever, /lock?ms=50 sleeps with
 * a lock that all its requests need. / is what it should be doing, /metrics what Prometheus sees of it.
 */
final class Service {
    private static final List<Order> orders = new ArrayList<>();
    private static final Object till = new Object();
    private static final LongAdder requests = new LongAdder();
    private static final DoubleAdder seconds = new DoubleAdder();
    private static volatile long sink;

    private Service() {}

    /** One kibibyte. */
    static final class Order {
        private final byte[] lines = new byte[1000];
    }

    private interface Work {
        void with(int number) throws InterruptedException;
    }

    static void run(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        at(server, "/", 1, Service::sell);
        at(server, "/high-cpu", 200, Service::applyDiscounts);
        at(server, "/memory-leak", 64, Service::remember);
        at(server, "/lock", 50, Service::pay);
        server.createContext("/metrics", exchange -> answer(exchange, """
            # TYPE http_requests_total counter
            http_requests_total %d
            # TYPE http_request_seconds_total counter
            http_request_seconds_total %f
            """.formatted(requests.sum(), seconds.sum())));
        server.start();
    }

    private static void at(HttpServer server, String path, int usual, Work work) {
        server.createContext(path, exchange -> {
            long begin = System.nanoTime();
            try {
                work.with(number(exchange.getRequestURI(), usual));
                answer(exchange, "ok\n");
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } finally {
                requests.increment();
                seconds.add((System.nanoTime() - begin) / 1e9);
            }
        });
    }

    /** The number behind the first = of the query. */
    private static int number(URI uri, int usual) {
        String query = uri.getQuery();
        return query == null ? usual : Integer.parseInt(query.substring(query.indexOf('=') + 1));
    }

    private static void answer(HttpExchange exchange, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private static void sell(int milliseconds) {
        spinFor(milliseconds);
    }

    private static void applyDiscounts(int milliseconds) {
        spinFor(milliseconds);
    }

    private static void spinFor(int milliseconds) {
        for (long end = System.nanoTime() + milliseconds * 1_000_000L; System.nanoTime() < end; ) {
            sink = Split.spin(sink | 1, 10_000);
        }
    }

    private static void remember(int kibibytes) {
        synchronized (orders) {
            for (int i = 0; i < kibibytes; i++) {
                orders.add(new Order());
            }
        }
    }

    private static void pay(int milliseconds) throws InterruptedException {
        synchronized (till) {
            Thread.sleep(milliseconds);
        }
    }
}
