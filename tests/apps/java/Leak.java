package demo.shop;

import java.util.Arrays;
import java.util.Scanner;

/**
 * Keeps {@code -Dshop.leak} MiB in objects of one class, and {@code -Dshop.ballast} MiB in arrays; says so, and answers each line, before
 * which it drops 10,000 more objects.
 */
final class Leak {
    private static final int MIB = 1 << 20;
    private static final int DROPPED = 10_000;

    private static volatile ForgottenOrder last;
    private static volatile ForgottenOrder dropped;
    private static volatile byte[][] ballast;

    private Leak() {}

    /** 64 bytes with a header of 12 and compressed pointers, or one of 8. */
    static final class ForgottenOrder {
        private final ForgottenOrder before;
        private final long number;
        private final long customer = 2;
        private final long article = 3;
        private final long price = 4;
        private final long pieces = 5;
        private final long day = 6;

        ForgottenOrder(ForgottenOrder before, long number) {
            this.before = before;
            this.number = number;
        }
    }

    static void run() {
        int objects = Integer.getInteger("shop.leak", 16) * (MIB / 64);
        for (int i = 0; i < objects; i++) {
            last = new ForgottenOrder(last, i);
        }
        // Small enough for a region of G1: others take up to twice their size.
        byte[][] arrays = new byte[4 * Integer.getInteger("shop.ballast", 0)][];
        for (int i = 0; i < arrays.length; i++) {
            arrays[i] = new byte[MIB / 4];
            Arrays.fill(arrays[i], (byte) i);
        }
        ballast = arrays;
        System.out.println("holds " + objects + " " + objects * 64L);
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            lines.nextLine();
            for (int i = 0; i < DROPPED; i++) {
                dropped = new ForgottenOrder(null, i);
            }
            dropped = null;
            System.out.println("alive");
        }
    }
}
