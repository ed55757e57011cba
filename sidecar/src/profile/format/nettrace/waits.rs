//! Which functions of .NET's own libraries wait.
//!
//! A thread in native code was called from managed code, and that is the innermost frame it has. Needed where the runtime does not
//! tell running threads from waiting ones. Called by [`super::collector`].

/// Types with the methods that call into the runtime or the system and come back when something has happened. From
/// System.Private.CoreLib and the libraries for sockets, consoles and files, .NET Core 3.1 to .NET 10.
const WAITS: &[(&str, &[&str])] = &[
    ("System.Threading.Monitor", &["Wait", "ObjWait"]),
    (
        "System.Threading.WaitHandle",
        &[
            "WaitOne",
            "WaitOneCore",
            "WaitOneNoCheck",
            "WaitMultiple",
            "WaitMultipleIgnoringSyncContext",
            "WaitMultipleIgnoringSyncContextCore",
            "WaitAny",
            "WaitAll",
            "SignalAndWait",
            "SignalAndWaitCore",
        ],
    ),
    (
        "System.Threading.Thread",
        &[
            "Sleep",
            "SleepInternal",
            "Join",
            "JoinInternal",
            "UninterruptibleSleep0",
        ],
    ),
    (
        "System.Threading.LowLevelLifoSemaphore",
        &["Wait", "WaitCore", "WaitForSignal", "WaitNative"],
    ),
    ("System.Threading.LowLevelMonitor", &["Wait", "WaitCore"]),
    ("System.Threading.WaitSubsystem", &["Wait", "Sleep"]),
    (
        "Interop+Sys",
        &[
            "Accept",
            "LowLevelMonitor_Wait",
            "LowLevelMonitor_TimedWait",
            "Poll",
            "PRead",
            "Read",
            "ReadStdin",
            "Receive",
            "ReceiveMessage",
            "ReceiveSocketError",
            "WaitForSocketEvents",
            "WaitPidExitedNoHang",
        ],
    ),
    ("System.Net.Sockets.SocketAsyncEngine", &["EventLoop"]),
    ("System.ConsolePal", &["Read"]),
    ("System.GC", &["WaitForPendingFinalizers", "_WaitForPendingFinalizers"]),
];

/// Whether a function waits, by its name `Namespace.Type.Method`.
pub(super) fn is_wait(name: &str) -> bool {
    let Some((type_name, method)) = name.rsplit_once('.') else {
        return false;
    };
    // `<Read>g____PInvoke|1_0` is the part of `Read` that its compiler wrote.
    let method = method
        .strip_prefix('<')
        .and_then(|part| part.split_once('>'))
        .map_or(method, |(method, _)| method);
    WAITS
        .iter()
        .any(|(known, methods)| *known == type_name && methods.contains(&method))
}

/// Whether it is code between a managed caller and a native function, which says nothing of what happens there.
pub(super) fn is_stub(name: &str) -> bool {
    name.contains("IL_STUB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_wait_are_known_and_no_others() {
        for name in [
            "System.Threading.Monitor.Wait",
            "System.Threading.Thread.Sleep",
            "Interop+Sys.<Poll>g____PInvoke|7_0",
            "Interop+Sys.Read",
        ] {
            assert!(is_wait(name), "{name}");
        }
        for name in [
            "System.Threading.Monitor.Enter",
            "Demo.Shop.Thread.Sleep",
            "Sleep",
            "",
            "Interop+Sys.Write",
            "System.Threading.Thread.<StartCore>b__0",
        ] {
            assert!(!is_wait(name), "{name}");
        }
        assert!(is_stub("dynamicClass.IL_STUB_PInvoke") && !is_stub("Shop.Stub"));
    }
}
