import Glibc

/// The memory nodes of a machine that has several, found through libnuma at run time; without it, or on one node, there
/// is nothing to do and no object.
///
/// Weights are read by all threads alike, so their pages go to the nodes in turn. `mbind` of libnuma does that and
/// returns an error where the kernel refuses, as it does in many containers; `numa_interleave_memory` above it would
/// print one.
package final class NUMA: Sendable {
    /// libnuma's `struct bitmask`.
    private struct Bitmask {
        let size: UInt  // bits
        let words: UnsafeMutablePointer<UInt>?
    }

    private typealias Integer = @convention(c) () -> Int32
    /// mode, node mask, its bits, address, flags
    private typealias GetPolicy =
        @convention(c) (
            UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<UInt>?, UInt, UnsafeMutableRawPointer?, UInt32
        ) -> Int
    /// address, length, mode, node mask, its bits, flags
    private typealias Bind =
        @convention(c) (
            UnsafeMutableRawPointer?, UInt, Int32, UnsafePointer<UInt>?, UInt, UInt32
        ) -> Int

    private static let defaultPolicy: Int32 = 0  // MPOL_DEFAULT
    private static let interleave: Int32 = 3  // MPOL_INTERLEAVE

    private let bind: Bind
    /// The nodes this process may use: a mask of libnuma's, which is never freed.
    private let nodes: UInt  // the address of its words
    private let bits: UInt

    /// Loaded at most once a process, when first asked for, and for itself (RTLD_LOCAL).
    package static let shared: NUMA? = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL).flatMap { library in
        NUMA { dlsym(library, $0) }
    }

    /// `symbol` finds a function or a variable of libnuma by its name.
    package init?(_ symbol: (String) -> UnsafeMutableRawPointer?) {
        guard let available = symbol("numa_available"), let maxNode = symbol("numa_max_node"),
            let getPolicy = symbol("get_mempolicy"), let bind = symbol("mbind"), let all = symbol("numa_all_nodes_ptr"),
            // The others may only be called if this does not fail.
            unsafeBitCast(available, to: Integer.self)() >= 0, unsafeBitCast(maxNode, to: Integer.self)() > 0
        else { return nil }
        // A host that was started with a policy of its own (numactl, say) has said where memory goes.
        var mode: Int32 = -1
        guard unsafeBitCast(getPolicy, to: GetPolicy.self)(&mode, nil, 0, nil, 0) == 0, mode == Self.defaultPolicy,
            let mask = all.load(as: UnsafePointer<Bitmask>?.self)?.pointee, let words = mask.words
        else { return nil }
        self.bind = unsafeBitCast(bind, to: Bind.self)
        nodes = UInt(bitPattern: words)
        bits = mask.size + 1  // the kernel takes one bit less than it is told
    }

    /// Has the pages of this memory, none of which has been touched, lie on all nodes in turn. Should the system
    /// refuse, they lie where they are first touched, as without us.
    package func interleave(_ base: UnsafeMutableRawPointer, count: Int) {
        _ = bind(base, UInt(count), Self.interleave, UnsafePointer(bitPattern: nodes), bits, 0)
    }
}
