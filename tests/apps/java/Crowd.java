package demo.shop;

import java.lang.reflect.Method;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/** A thread that holds locks, one that waits for each, and on JDK 21 and later {@code -Dshop.guests} virtual threads that wait as well. */
final class Crowd {
    private static final Object DOOR = new Object();
    private static final ReentrantLock TILL = new ReentrantLock();

    private Crowd() {}

    static void run() throws InterruptedException {
        CountDownLatch open = new CountDownLatch(1);
        new Thread(() -> hold(open), "shop-holder").start();
        open.await();
        new Thread(Crowd::enter, "shop-waiter").start();
        new Thread(Crowd::pay, "shop-payer").start();
        try {
            invite(Integer.getInteger("shop.guests", 0));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
        System.out.println("waiting");
        LockSupport.park();
    }

    private static void hold(CountDownLatch open) {
        synchronized (DOOR) {
            TILL.lock();
            open.countDown();
            while (true) {
                LockSupport.park();
            }
        }
    }

    private static void enter() {
        synchronized (DOOR) {
            throw new IllegalStateException("the door is held");
        }
    }

    private static void pay() {
        TILL.lock();
    }

    private static void invite(int guests) throws ReflectiveOperationException, InterruptedException {
        if (guests == 0) {
            return;
        }
        Class<?> named = Class.forName("java.lang.Thread$Builder$OfVirtual");
        Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
        builder = named.getMethod("name", String.class, long.class).invoke(builder, "shop-guest-", 1L);
        Method start = Class.forName("java.lang.Thread$Builder").getMethod("start", Runnable.class);
        for (int i = 0; i < guests; i++) {
            Runnable waits = Crowd::pay;
            start.invoke(builder, waits);
        }
        while (TILL.getQueueLength() <= guests) {
            Thread.sleep(10);
        }
    }
}
