package demo.shop;

import java.io.IOException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.locks.LockSupport;

/** Spends a resource in a known split, 60/30/10, over three functions: {@code Split <scenario>[,<scenario>...] [threads]}, or
 * serves {@code Split service <port>}. */
public final class Split extends Thread {
    private static final int BLOCK = 1024;
    private static final long MILLI = 1_000_000;

    private static volatile long sink;
    private static volatile boolean changed;
    private static volatile byte[] keep;
    private static volatile Object[][] live;

    private final String scenario;
    private final int threads;
    private final SynchronousQueue<Boolean> request = new SynchronousQueue<>();
    private final SynchronousQueue<Boolean> held = new SynchronousQueue<>();

    private Split(String name, String scenario, int threads) {
        super(name);
        this.scenario = scenario;
        this.threads = threads;
    }

    public static void main(String[] args) throws InterruptedException, IOException {
        String scenario = args.length > 0 ? args[0] : "cpu";
        int threads = args.length > 1 ? Integer.parseInt(args[1]) : scenario.equals("threads") ? 4 : 1;
        warmUp();
        if (scenario.equals("service")) {
            Service.run(Integer.parseInt(args[1]));
            threads = 0;
        }
        for (String one : scenario.split(",")) {
            for (int i = 1; i <= threads; i++) {
                new Split("shop-worker-" + i, one, threads).start();
            }
        }
        // One second of the real load settles the compilers and the first garbage collections.
        Thread.sleep(1000);
        System.out.println("ready " + ProcessHandle.current().pid());
        Thread.currentThread().join();
    }

    @Override
    public void run() {
        try {
            switch (scenario) {
                case "cpu" -> cpu();
                case "change" -> change();
                case "threads" -> inTurn();
                case "wall" -> wall();
                case "alloc" -> alloc();
                case "heap" -> heap();
                case "lock" -> lock();
                case "deep" -> deep();
                case "spans" -> Spans.run();
                case "leak" -> Leak.run();
                case "crowd" -> Crowd.run();
                case "recursion", "descriptors", "names", "virtual", "deadlock" -> Edges.run(scenario);
                case "idle" -> LockSupport.park();
                default -> {
                    System.err.println("unknown scenario: " + scenario);
                    Runtime.getRuntime().halt(2);
                }
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A chain of dependent operations: bound by latency, so each compiled copy of it runs equally fast. */
    static long spin(long x, int n) {
        for (int i = 0; i < n; i++) {
            x ^= x << 13;
            x ^= x >>> 7;
            x ^= x << 17;
        }
        return x;
    }

    private static long sixty(long x, int unit) {
        return spin(x, 6 * unit);
    }

    private static long thirty(long x, int unit) {
        return spin(x, 3 * unit);
    }

    private static long ten(long x, int unit) {
        return spin(x, unit);
    }

    /** Many short calls bring each function to its final compiled form before the long calls start. */
    private static void warmUp() {
        for (int i = 0; i < 30_000; i++) {
            sink = ten(thirty(sixty(i + 1, 100), 100), 100);
        }
    }

    /** 0.75 to 1.25 in a mixed order: rounds of constant length could run in step with a sampler's period. */
    static double jitter(int round) {
        return 0.75 + round * 7 % 51 / 100.0;
    }

    /** About 100 ms: a sampler at 100 Hz meets each function in every round. */
    private static void round(int i) {
        int unit = (int) (5_000_000 * jitter(i));
        sink = ten(thirty(sixty(sink | 1, unit), unit), unit);
    }

    private void cpu() {
        for (int i = 0; ; i = (i + 1) % 51) {
            round(i);
        }
    }

    private static long favourite(long x, int n) {
        return spin(x, n);
    }

    private static long other(long x, int n) {
        return spin(x, n);
    }

    private static long oldWay(long x, int unit) {
        return other(favourite(x, 7 * unit), 3 * unit);
    }

    private static long newWay(long x, int unit) {
        return other(favourite(x, 4 * unit), 6 * unit);
    }

    /** 70/30 of two functions, and 40/60 on another way once somebody sends a line. */
    private void change() {
        for (int i = 0; i < 30_000; i++) {
            sink = newWay(oldWay(i + 1, 100), 100);
        }
        Thread listener = new Thread(() -> {
            new java.util.Scanner(System.in).nextLine();
            changed = true;
        });
        listener.setDaemon(true);
        listener.start();
        boolean said = false;
        for (int i = 0; ; i = (i + 1) % 51) {
            int unit = (int) (5_000_000 * jitter(i));
            if (changed && !said) {
                System.out.println("changed");
                said = true;
            }
            sink = said ? newWay(sink | 1, unit) : oldWay(sink | 1, unit);
        }
    }

    /** Each thread is busy for one part in {@code threads}, so that together they fill one core. */
    private void inTurn() {
        for (int i = 0; ; i = (i + 1) % 51) {
            long start = System.nanoTime();
            round(i);
            LockSupport.parkNanos((System.nanoTime() - start) * (threads - 1));
        }
    }

    /** Allocates some 20 times a millisecond from 2^40 stacks: nearly every sample has a stack of its own. */
    private void deep() {
        for (long path = 1; ; path += 0x9E3779B97F4A7C15L) {
            left(path, 40);
        }
    }

    private static void left(long path, int depth) {
        if (depth == 0) {
            sink = spin(sink | 1, 20_000);
            keep = new byte[BLOCK];
        } else if ((path & 1) == 0) {
            left(path >>> 1, depth - 1);
        } else {
            right(path >>> 1, depth - 1);
        }
    }

    private static void right(long path, int depth) {
        left(path, depth);
    }

    /** Absolute deadlines, so that the overshoots of the sleeps cancel out. */
    private static long parkUntil(long deadline) {
        for (long left; (left = deadline - System.nanoTime()) > 0; ) {
            LockSupport.parkNanos(left);
        }
        return deadline;
    }

    private static long wallSixty(long now, long unit) {
        return parkUntil(now + 6 * unit);
    }

    private static long wallThirty(long now, long unit) {
        return parkUntil(now + 3 * unit);
    }

    private static long wallTen(long now, long unit) {
        return parkUntil(now + unit);
    }

    private void wall() {
        long now = System.nanoTime();
        for (int i = 0; ; i = (i + 1) % 51) {
            long unit = (long) (10 * MILLI * jitter(i));
            now = wallTen(wallThirty(wallSixty(now, unit), unit), unit);
        }
    }

    private static void allocate(int blocks) {
        for (int i = 0; i < blocks; i++) {
            keep = new byte[BLOCK];
        }
    }

    private static void allocSixty() {
        allocate(6);
    }

    private static void allocThirty() {
        allocate(3);
    }

    private static void allocTen() {
        allocate(1);
    }

    /** About 400 MB/s: some 800 samples a second at the usual interval of 512 KiB. */
    private void alloc() {
        while (true) {
            for (int i = 0; i < 400; i++) {
                allocSixty();
                allocThirty();
                allocTen();
            }
            LockSupport.parkNanos(10 * MILLI);
        }
    }

    private static Object[] heapBig() {
        return new Object[] {new byte[100 << 20]};
    }

    private static Object[] heapSmall() {
        Object[] small = new Object[60_000];
        for (int i = 0; i < small.length; i++) {
            small[i] = new byte[BLOCK];
        }
        return small;
    }

    /** Keeps 100 MiB in one array and 59.5 MiB in 60,000, once somebody sends a line. */
    private void heap() {
        new java.util.Scanner(System.in).nextLine();
        live = new Object[][] {heapBig(), heapSmall()};
        System.gc();
        System.out.println("allocated");
        LockSupport.park();
    }

    /** Enters, ten times a round, a monitor that a second thread holds for another 3 ms each time. */
    private void lock() throws InterruptedException {
        Thread holder = new Thread(this::hold, "shop-holder");
        holder.setDaemon(true);
        holder.start();
        while (true) {
            lockSixty();
            lockThirty();
            lockTen();
        }
    }

    private void hold() {
        try {
            while (true) {
                request.take();
                synchronized (request) {
                    held.put(true);
                    Thread.sleep(3);
                }
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private void contend(int times) throws InterruptedException {
        for (int i = 0; i < times; i++) {
            request.put(true);
            held.take();
            synchronized (request) {
                sink++;
            }
        }
    }

    private void lockSixty() throws InterruptedException {
        contend(6);
    }

    private void lockThirty() throws InterruptedException {
        contend(3);
    }

    private void lockTen() throws InterruptedException {
        contend(1);
    }
}
