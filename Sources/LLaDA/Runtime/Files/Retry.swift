import Glibc

/// Makes a system call again as long as a signal interrupts it. Network and FUSE file systems let signals interrupt
/// even calls that never wait elsewhere.
func retrying(_ call: () -> Int32) -> Int32 {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

/// The same for calls that return a number of bytes.
func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
