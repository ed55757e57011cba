import java.lang.reflect.Field;
import sun.misc.Unsafe;

/** Asks for native memory: as much of it is given back at once as is kept, up to a limit. */
public final class Leaky {
    private static final long BLOCK = 256 << 10;
    private static Unsafe unsafe;
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        unsafe = (Unsafe) field.get(null);
        System.out.println("ready " + ProcessHandle.current().pid());
        // 100 MB in 20 s.
        for (int round = 0; round < 400; round++) {
            kept();
            freed();
            Thread.sleep(50);
        }
    }

    static void kept() {
        sum += unsafe.allocateMemory(BLOCK);
    }

    static void freed() {
        unsafe.freeMemory(unsafe.allocateMemory(BLOCK));
    }
}
