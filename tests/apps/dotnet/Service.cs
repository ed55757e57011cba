using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using System.Threading;

namespace Demo.Shop
{
    /// <summary>A service with faults to find: /high-cpu?ms=200 computes discounts, /memory-leak?kb=64 keeps orders for ever,
    /// /lock?ms=50 sleeps with a lock that all its requests need. / is what it should be doing, /metrics what Prometheus sees
    /// of it.</summary>
    internal static class Service
    {
        private static readonly List<Order> orders = new List<Order>();
        private static readonly object till = new object();
        private static long requests;
        private static long spent;
        private static long sink;

        /// <summary>One kibibyte.</summary>
        private sealed class Order
        {
            private readonly byte[] lines = new byte[1000];
        }

        internal static void Run(int port)
        {
            var listener = new HttpListener();
            listener.Prefixes.Add("http://*:" + port + "/");
            listener.Start();
            for (int i = 0; i < 8; i++)
            {
                var thread = new Thread(() => { while (true) { Answer(listener.GetContext()); } }) { IsBackground = true };
                thread.Start();
            }
        }

        private static void Answer(HttpListenerContext context)
        {
            long begin = Stopwatch.GetTimestamp();
            string text = "ok\n";
            string query = context.Request.Url.Query;
            int Number(int usual) => query.Length == 0 ? usual : int.Parse(query.Substring(query.IndexOf('=') + 1));
            switch (context.Request.Url.AbsolutePath)
            {
                case "/high-cpu": ApplyDiscounts(Number(200)); break;
                case "/memory-leak": Remember(Number(64)); break;
                case "/lock": Pay(Number(50)); break;
                case "/metrics":
                    text = string.Format(
                        CultureInfo.InvariantCulture,
                        "# TYPE http_requests_total counter\nhttp_requests_total {0}\n# TYPE http_request_seconds_total counter\nhttp_request_seconds_total {1}\n",
                        Interlocked.Read(ref requests),
                        (double)Interlocked.Read(ref spent) / Stopwatch.Frequency);
                    break;
                default: Sell(Number(1)); break;
            }
            if (text == "ok\n")
            {
                Interlocked.Increment(ref requests);
                Interlocked.Add(ref spent, Stopwatch.GetTimestamp() - begin);
            }
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            context.Response.OutputStream.Write(bytes, 0, bytes.Length);
            context.Response.Close();
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void Sell(int milliseconds) => SpinFor(milliseconds);

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void ApplyDiscounts(int milliseconds) => SpinFor(milliseconds);

        private static void SpinFor(int milliseconds)
        {
            for (var clock = Stopwatch.StartNew(); clock.ElapsedMilliseconds < milliseconds;)
            {
                sink = Split.Spin(sink | 1, 10_000);
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void Remember(int kibibytes)
        {
            lock (orders)
            {
                for (int i = 0; i < kibibytes; i++)
                {
                    orders.Add(new Order());
                }
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static void Pay(int milliseconds)
        {
            lock (till)
            {
                Thread.Sleep(milliseconds);
            }
        }
    }
}
