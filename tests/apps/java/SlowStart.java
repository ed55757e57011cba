package demo.shop;

/**
 * A system class loader that takes its time: until it is made, the JVM answers but is not in JVMTI's live phase.
 *
 * <p>{@code java -Djava.system.class.loader=demo.shop.SlowStart}
 */
public final class SlowStart extends ClassLoader {
    public SlowStart(ClassLoader parent) throws InterruptedException {
        super(parent);
        Thread.sleep(6000);
    }
}
