using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Diagnostics.Tracing;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using System.Threading;

namespace Demo.Shop
{
    /// <summary>Spends a resource in a known split, 60/30/10, over three functions: Split scenario [threads].</summary>
    public sealed class Split
    {
        private static long sink;
        private static byte[] keep;
        private static ForgottenOrder[] forgotten;

        private readonly object gate = new object();
        private readonly AutoResetEvent request = new AutoResetEvent(false);
        private readonly AutoResetEvent held = new AutoResetEvent(false);

        public static void Main(string[] args)
        {
            string scenario = args.Length > 0 ? args[0] : "cpu";
            int threads = args.Length > 1 ? int.Parse(args[1]) : 1;
            WarmUp();
            if (scenario == "service")
            {
                Service.Run(threads);
                threads = 0;
            }
            for (int i = 1; i <= threads; i++)
            {
                Start("shop-worker-" + i, new Split().Choose(scenario));
            }
            Thread.Sleep(500);
            Console.WriteLine("ready " + Process.GetCurrentProcess().Id);
            Thread.Sleep(Timeout.Infinite);
        }

        private Action Choose(string scenario)
        {
            switch (scenario)
            {
                case "cpu": return Cpu;
                case "wall": return Wall;
                case "alloc": return Alloc;
                case "lock": return Lock;
                case "exceptions": return Exceptions;
                case "trace": return Trace;
                case "counted": return Counted;
                case "jit": return Jit;
                case "rate": return Rate;
                case "leak": return Leak;
                case "idle": return () => Thread.Sleep(Timeout.Infinite);
                default: throw new ArgumentException("unknown scenario: " + scenario);
            }
        }

        /// <summary>Works, and says every 100 ms how much it did.</summary>
        private static void Rate()
        {
            var clock = Stopwatch.StartNew();
            for (long next = 100; ; next += 100)
            {
                long did = 0;
                for (; clock.ElapsedMilliseconds < next; did++)
                {
                    sink = Spin(sink + did, 1000);
                }
                Console.WriteLine("did " + did);
            }
        }

        /// <summary>Makes a method, calls it, and goes on to the next.</summary>
        private static void Jit()
        {
            var all = new List<Func<long, long>>();
            for (int n = 0; ; n++)
            {
                var made = new DynamicMethod("Made" + n, typeof(long), new[] { typeof(long) });
                ILGenerator code = made.GetILGenerator();
                // With a loop: a thread is only stopped inside of a function that could go on for long.
                Label again = code.DefineLabel();
                LocalBuilder left = code.DeclareLocal(typeof(int));
                code.Emit(OpCodes.Ldc_I4, 20000);
                code.Emit(OpCodes.Stloc, left);
                code.MarkLabel(again);
                code.Emit(OpCodes.Ldarg_0);
                code.Emit(OpCodes.Ldc_I8, (long)n | 1);
                code.Emit(OpCodes.Mul);
                code.Emit(OpCodes.Starg, 0);
                code.Emit(OpCodes.Ldloc, left);
                code.Emit(OpCodes.Ldc_I4_1);
                code.Emit(OpCodes.Sub);
                code.Emit(OpCodes.Dup);
                code.Emit(OpCodes.Stloc, left);
                code.Emit(OpCodes.Brtrue, again);
                code.Emit(OpCodes.Ldarg_0);
                code.Emit(OpCodes.Ret);
                var call = (Func<long, long>)made.CreateDelegate(typeof(Func<long, long>));
                // Kept: what is collected is gone from the runtime, names and all.
                all.Add(call);
                sink = call(sink);
                // Without a pause a fast machine makes more than the runtime's buffers of 3.1 hold, and it drops their names.
                if (n % 50 == 49)
                {
                    Thread.Sleep(5);
                }
                if (n % 5000 == 4999)
                {
                    Console.WriteLine("made " + (n + 1));
                }
            }
        }

        /// <summary>Collects garbage five times a second, holds 40 MB, and says what it counts itself.</summary>
        private static void Counted()
        {
            keep = new byte[40000000];
            for (long n = 0; ; n++)
            {
                GC.Collect(0);
                long at = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
                Console.WriteLine("counted " + at + " " + GC.CollectionCount(0) + " " + GC.GetTotalMemory(false) + " " + ThreadPool.ThreadCount);
                Thread.Sleep(200);
            }
        }

        private static void Start(string name, Action work)
        {
            new Thread(() => work()) { Name = name, IsBackground = true }.Start();
        }

        /// <summary>Dependent operations: bound by latency, so it runs equally fast for each caller.</summary>
        [MethodImpl(MethodImplOptions.NoInlining)]
        internal static long Spin(long x, int n)
        {
            for (int i = 0; i < n; i++)
            {
                x ^= x << 13;
                x ^= (long)((ulong)x >> 7);
                x ^= x << 17;
            }
            return x;
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static long Sixty(long x, int unit) => Spin(x, 6 * unit);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static long Thirty(long x, int unit) => Spin(x, 3 * unit);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static long Ten(long x, int unit) => Spin(x, unit);

        /// <summary>Tiered compilation recompiles after 30 calls, but only once 100 ms passed without new code.</summary>
        private static void WarmUp()
        {
            for (int i = 0; i < 200; i++)
            {
                sink = Ten(Thirty(Sixty(i + 1, 1000), 1000), 1000);
                Thread.Sleep(i % 40 == 0 ? 120 : 0);
            }
        }

        /// <summary>0.75 to 1.25 in a mixed order: constant rounds could run in step with a sampler's period.</summary>
        private static double Jitter(int round) => 0.75 + round * 7 % 51 / 100.0;

        /// <summary>Rounds of about 100 ms: a sampler at 100 Hz meets each function in every round.</summary>
        private void Cpu()
        {
            for (int i = 0; ; i = (i + 1) % 51)
            {
                int unit = (int)(5_000_000 * Jitter(i));
                sink = Ten(Thirty(Sixty(sink | 1, unit), unit), unit);
            }
        }

        /// <summary>Absolute deadlines in ms, so that the overshoots of the sleeps cancel out.</summary>
        private static double SleepUntil(double deadline)
        {
            for (double left; (left = deadline - Now()) > 0;)
            {
                Thread.Sleep((int)Math.Ceiling(left));
            }
            return deadline;
        }

        private static double Now() => Stopwatch.GetTimestamp() * 1000.0 / Stopwatch.Frequency;

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static double WallSixty(double now, double unit) => SleepUntil(now + 6 * unit);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static double WallThirty(double now, double unit) => SleepUntil(now + 3 * unit);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static double WallTen(double now, double unit) => SleepUntil(now + unit);

        private void Wall()
        {
            double now = Now();
            for (int i = 0; ; i = (i + 1) % 51)
            {
                double unit = 10 * Jitter(i);
                now = WallTen(WallThirty(WallSixty(now, unit), unit), unit);
            }
        }

        private static void Allocate(int blocks, int size)
        {
            for (int i = 0; i < blocks; i++)
            {
                keep = new byte[size];
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void AllocSixty(int size) => Allocate(6, size);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void AllocThirty(int size) => Allocate(3, size);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void AllocTen(int size) => Allocate(1, size);

        /// <summary>About 100 MB/s: some 1000 ticks a second at the runtime's fixed 100 KB.</summary>
        private void Alloc()
        {
            for (int i = 0; ; i = (i + 1) % 51)
            {
                int size = (int)(1000 * Jitter(i));
                AllocSixty(size);
                AllocThirty(size);
                AllocTen(size);
                if (i == 0)
                {
                    Thread.Sleep(5);
                }
            }
        }

        /// <summary>Enters, ten times a round, a monitor that a second thread holds for another 3 ms each time.</summary>
        private void Lock()
        {
            Start("shop-holder", Hold);
            while (true)
            {
                LockSixty();
                LockThirty();
                LockTen();
            }
        }

        private void Hold()
        {
            while (true)
            {
                request.WaitOne();
                lock (gate)
                {
                    held.Set();
                    Thread.Sleep(3);
                }
            }
        }

        private void Contend(int times)
        {
            for (int i = 0; i < times; i++)
            {
                request.Set();
                held.WaitOne();
                lock (gate)
                {
                    sink++;
                }
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private void LockSixty() => Contend(6);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private void LockThirty() => Contend(3);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private void LockTen() => Contend(1);

        private static void Throw(int times)
        {
            for (int i = 0; i < times; i++)
            {
                try
                {
                    throw new InvalidOperationException("out of stock");
                }
                catch (InvalidOperationException)
                {
                    sink++;
                }
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void ThrowSixty() => Throw(6);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void ThrowThirty() => Throw(3);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void ThrowTen() => Throw(1);

        /// <summary>About 500 exceptions a second.</summary>
        private void Exceptions()
        {
            while (true)
            {
                ThrowSixty();
                ThrowThirty();
                ThrowTen();
                Thread.Sleep(20);
            }
        }

        /// <summary>Events of 16 KB as long as somebody listens, 1 MB each 10 ms at most.</summary>
        private void Trace()
        {
            string note = new string('x', 8000);
            for (int number = 0; ; Thread.Sleep(10))
            {
                for (int i = 0; i < 64 && Orders.Log.IsEnabled(); i++)
                {
                    Orders.Log.Shipped(number++, note);
                }
            }
        }

        /// <summary>Holds many small objects, says how many bytes they have, and answers each line of its input.</summary>
        private void Leak()
        {
            const int Count = 200_000;
            forgotten = new ForgottenOrder[Count];
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < Count; i++)
            {
                forgotten[i] = new ForgottenOrder();
            }
            Console.WriteLine("holds " + Count + " " + (GC.GetAllocatedBytesForCurrentThread() - before));
            while (Console.ReadLine() != null)
            {
                Console.WriteLine("alive");
            }
            Thread.Sleep(Timeout.Infinite);
        }
    }

    /// <summary>48 bytes on 64 bits: its header, its type, and four numbers.</summary>
    internal sealed class ForgottenOrder
    {
        public long Number = 1, Customer = 2, Amount = 3, Time = 4;
    }

    [EventSource(Name = "Demo-Shop")]
    internal sealed class Orders : EventSource
    {
        public static readonly Orders Log = new Orders();

        [Event(1, Level = EventLevel.Verbose)]
        public void Shipped(int number, string note) => WriteEvent(1, number, note);
    }
}
