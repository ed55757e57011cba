using System;

/// <summary>Runs Split inside another .NET application: DOTNET_STARTUP_HOOKS calls Initialize before Main.</summary>
internal static class StartupHook
{
    public static void Initialize()
    {
        string scenario = Environment.GetEnvironmentVariable("SPLIT_SCENARIO") ?? "cpu";
        string threads = Environment.GetEnvironmentVariable("SPLIT_THREADS") ?? "1";
        Demo.Shop.Split.Main(new[] { scenario, threads });
    }
}
