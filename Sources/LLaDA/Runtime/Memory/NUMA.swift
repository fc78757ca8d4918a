import Glibc
import Kernels

/// The memory nodes of a machine that has several, found through libnuma at run time. Without libnuma, or with one
/// node, there is nothing to do and no object.
///
/// All threads read the weights alike, so the pages of weights go to the nodes in turn. `mbind` of libnuma does that,
/// and returns an error where the kernel refuses, as it does in many containers. `numa_interleave_memory`, which calls
/// `mbind`, would print the error.
package final class NUMA: Sendable {
    /// The layout of libnuma's `struct bitmask`.
    private struct Bitmask {
        let size: UInt  // bits
        let words: UnsafeMutablePointer<UInt>?
    }

    private typealias Integer = @convention(c) () -> Int32
    /// Arguments: mode, node mask, bits of the mask, address, flags.
    private typealias GetPolicy =
        @convention(c) (
            UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<UInt>?, UInt, UnsafeMutableRawPointer?, UInt32
        ) -> Int
    /// Arguments: address, length, mode, node mask, bits of the mask, flags.
    private typealias Bind =
        @convention(c) (
            UnsafeMutableRawPointer?, UInt, Int32, UnsafePointer<UInt>?, UInt, UInt32
        ) -> Int

    private static let defaultPolicy: Int32 = 0  // MPOL_DEFAULT
    private static let interleave: Int32 = 3  // MPOL_INTERLEAVE

    private let bind: Bind
    /// The nodes that this process may use. The mask belongs to libnuma, which never frees it.
    private let nodes: UInt  // the address of the mask's words
    private let bits: UInt

    /// The nodes of this machine. libnuma is loaded once per process, at the first use, with RTLD_LOCAL; on a machine
    /// with one node it is not loaded.
    package static let shared: NUMA? = {
        guard hasSeveralNodes, let library = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL) else { return nil }
        return NUMA { dlsym(library, $0) }
    }()

    /// Whether the system tells of several nodes ("0-1" or "0,2"), and of the CPUs of this process. Where it does not,
    /// libnuma would print a warning when it is loaded.
    private static var hasSeveralNodes: Bool {
        let nodes = SystemFile.lines("/sys/devices/system/node/online").first ?? ""
        return nodes.contains { $0 == "-" || $0 == "," } && llk_affinity() > 0
    }

    /// Finds the nodes; nil if there is nothing to do. `symbol` returns the address of a function or variable of
    /// libnuma.
    package init?(_ symbol: (String) -> UnsafeMutableRawPointer?) {
        guard let available = symbol("numa_available"), let maxNode = symbol("numa_max_node"),
            let getPolicy = symbol("get_mempolicy"), let bind = symbol("mbind"), let all = symbol("numa_all_nodes_ptr"),
            // libnuma allows calls of its other functions only if numa_available succeeds.
            unsafeBitCast(available, to: Integer.self)() >= 0, unsafeBitCast(maxNode, to: Integer.self)() > 0
        else { return nil }
        // A host that was started with a policy of its own (numactl, for example) has decided where memory goes.
        var mode: Int32 = -1
        guard unsafeBitCast(getPolicy, to: GetPolicy.self)(&mode, nil, 0, nil, 0) == 0, mode == Self.defaultPolicy,
            let mask = all.load(as: UnsafePointer<Bitmask>?.self)?.pointee, let words = mask.words
        else { return nil }
        self.bind = unsafeBitCast(bind, to: Bind.self)
        nodes = UInt(bitPattern: words)
        bits = mask.size + 1  // the kernel uses one bit less than this number
    }

    /// Places the pages of this memory on all nodes in turn. None of the pages may have been touched. If the system
    /// refuses, each page lies on the node that touches it first.
    package func interleave(_ base: UnsafeMutableRawPointer, count: Int) {
        _ = bind(base, UInt(count), Self.interleave, UnsafePointer(bitPattern: nodes), bits, 0)
    }
}
