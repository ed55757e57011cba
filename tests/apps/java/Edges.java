package demo.shop;

import java.io.FileInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Scanner;
import java.util.concurrent.Exchanger;
import java.util.concurrent.locks.LockSupport;

/** What profilers stumble over: deep stacks, no descriptors left, odd names, threads that are on no thread. */
final class Edges {
    private static final int DEEPEST = 6000;

    private static volatile long sink;

    private Edges() {}

    static void run(String scenario) throws InterruptedException {
        switch (scenario) {
            case "recursion" -> beside(Edges::recursion);
            case "descriptors" -> {
                beside(Edges::burn);
                takeDescriptors();
            }
            case "names" -> names();
            case "deadlock" -> deadlock();
            default -> virtual();
        }
    }

    /** On a thread with a stack for everything; the caller's has none to spare. */
    private static void beside(Runnable work) {
        new Thread(null, work, "shop-edge", 1L << 30).start();
    }

    private static void burn() {
        while (true) {
            spin();
        }
    }

    private static void spin() {
        long x = sink | 1;
        for (int i = 0; i < 100_000; i++) {
            x = x * 6364136223846793005L + i;
        }
        sink = x;
    }

    /** A parser whose depth differs from call to call, for three users of it, 60 : 30 : 10 of its time. */
    private static void recursion() {
        Random random = new Random(7);
        while (true) {
            for (int user = 0; user < 10; user++) {
                int depth = DEEPEST / 2 + random.nextInt(DEEPEST / 2);
                switch (user) {
                    case 0 -> checkHealth(depth);
                    case 1, 2, 3 -> renderReport(depth);
                    default -> importOrders(depth);
                }
            }
        }
    }

    private static void importOrders(int depth) {
        visit(depth);
    }

    private static void renderReport(int depth) {
        visit(depth);
    }

    private static void checkHealth(int depth) {
        visit(depth);
    }

    private static long visit(int left) {
        return left == 0 ? leaf() : visitChild(left - 1) + 1;
    }

    private static long visitChild(int left) {
        return left == 0 ? leaf() : visit(left - 1) + 1;
    }

    private static long leaf() {
        long end = System.nanoTime() + 10_000_000;
        while (System.nanoTime() < end) {
            spin();
        }
        return sink;
    }

    /** With the first line takes every descriptor there is, and starts a thread that works. */
    private static void takeDescriptors() {
        new Scanner(System.in).nextLine();
        List<FileInputStream> taken = new ArrayList<>();
        try {
            while (true) {
                taken.add(new FileInputStream("/dev/null"));
            }
        } catch (IOException full) {
            System.out.println("full " + taken.size());
        }
        beside(Edges::burn);
        LockSupport.park();
    }

    /** A letter beyond the first plane, as a name of a class and of a method. */
    static final class \uD835\uDCAEhop {
        static void \uD835\uDCC7un() {
            spin();
        }
    }

    private static void names() {
        Runnable lambda = () -> \uD835\uDCAEhop.\uD835\uDCC7un();
        while (true) {
            lambda.run();
        }
    }

    /** Two threads that wait for each other, and one that waits for one of them. */
    private static void deadlock() throws InterruptedException {
        Object left = new Object();
        Object right = new Object();
        Exchanger<Object> both = new Exchanger<>();
        new Thread(() -> takeBoth(left, right, both), "shop-left").start();
        new Thread(() -> takeBoth(right, left, both), "shop-right").start();
        Thread.sleep(500);
        synchronized (left) {
            throw new IllegalStateException("nobody else has it");
        }
    }

    private static void takeBoth(Object first, Object second, Exchanger<Object> both) {
        synchronized (first) {
            try {
                both.exchange(first);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            synchronized (second) {
                throw new IllegalStateException("no deadlock");
            }
        }
    }

    /** Ten virtual threads that wait; JDK 21 has them. */
    private static void virtual() {
        try {
            for (int i = 0; i < 10; i++) {
                Runnable waits = () -> LockSupport.parkNanos(Long.MAX_VALUE / 2);
                Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, waits);
            }
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
        System.out.println("waiting");
        LockSupport.park();
    }
}
