using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;
using System.Threading;

namespace Demo.Shop
{
    /// <summary>One kibibyte. Of a type within another the runtime does not tell the other's name.</summary>
    internal sealed class Order
    {
        private readonly byte[] lines = new byte[1000];
    }

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

        /// <summary>By sockets: HttpListener would need a library of OpenSSL.</summary>
        internal static void Run(int port)
        {
            var listener = new TcpListener(IPAddress.Any, port);
            listener.Start();
            for (int i = 0; i < 8; i++)
            {
                new Thread(() => { while (true) { Answer(listener); } }) { IsBackground = true }.Start();
            }
        }

        private static void Answer(TcpListener listener)
        {
            using (TcpClient client = listener.AcceptTcpClient())
            using (var reader = new StreamReader(client.GetStream()))
            {
                string[] request = (reader.ReadLine() ?? "").Split(' ');
                while (!string.IsNullOrEmpty(reader.ReadLine())) { }
                string text = Text(request.Length > 1 ? request[1] : "/");
                byte[] bytes = Encoding.ASCII.GetBytes(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " + text.Length + "\r\n\r\n" + text);
                client.GetStream().Write(bytes, 0, bytes.Length);
            }
        }

        private static string Text(string target)
        {
            long begin = Stopwatch.GetTimestamp();
            int query = target.IndexOf('=');
            int Number(int usual) => query < 0 ? usual : int.Parse(target.Substring(query + 1));
            switch (target.Split('?')[0])
            {
                case "/high-cpu": ApplyDiscounts(Number(200)); break;
                case "/memory-leak": Remember(Number(64)); break;
                case "/lock": Pay(Number(50)); break;
                case "/metrics":
                    return string.Format(
                        CultureInfo.InvariantCulture,
                        "# TYPE http_requests_total counter\nhttp_requests_total {0}\n# TYPE http_request_seconds_total counter\nhttp_request_seconds_total {1}\n",
                        Interlocked.Read(ref requests),
                        (double)Interlocked.Read(ref spent) / Stopwatch.Frequency);
                default: Sell(Number(1)); break;
            }
            Interlocked.Increment(ref requests);
            Interlocked.Add(ref spent, Stopwatch.GetTimestamp() - begin);
            return "ok\n";
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
