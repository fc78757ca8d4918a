import Foundation
import LLaDA
import Synchronization
import Testing

/// What a libnuma of ours is told, and what it answers. C functions capture nothing, so it stands here.
private enum Fake {
    struct State {
        var available: Int32 = 0
        var maxNode: Int32 = 1
        var policy: Int32 = 0
        var refuses = false
        var calls: [Call] = []
    }

    struct Call: Equatable {
        let base: UInt
        let count: UInt
        let mode: Int32
        let nodes: UInt
        let bits: UInt
        let flags: UInt32
    }

    static let state = Mutex(State())

    static let available: @convention(c) () -> Int32 = { state.withLock { $0.available } }
    static let maxNode: @convention(c) () -> Int32 = { state.withLock { $0.maxNode } }
    static let getPolicy: @convention(c) (UnsafeMutablePointer<Int32>?, UInt, UInt, UInt, UInt32) -> Int = {
        mode, _, _, _, _ in
        mode?.pointee = state.withLock { $0.policy }
        return 0
    }
    static let bind: @convention(c) (UInt, UInt, Int32, UnsafePointer<UInt>?, UInt, UInt32) -> Int = {
        let call = Call(base: $0, count: $1, mode: $2, nodes: $3?.pointee ?? 0, bits: $4, flags: $5)
        return state.withLock {
            $0.calls.append(call)
            return $0.refuses ? -1 : 0
        }
    }

    /// numa_all_nodes_ptr: a pointer to a struct bitmask, of two nodes.
    nonisolated(unsafe) static let allNodes: UnsafeMutableRawPointer = {
        let words = UnsafeMutablePointer<UInt>.allocate(capacity: 1)
        words.pointee = 0b11
        let mask = UnsafeMutablePointer<(UInt, UnsafeMutablePointer<UInt>)>.allocate(capacity: 1)
        mask.initialize(to: (64, words))
        let variable = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: 1)
        variable.initialize(to: UnsafeMutableRawPointer(mask))
        return UnsafeMutableRawPointer(variable)
    }()

    static func symbol(_ name: String) -> UnsafeMutableRawPointer? {
        switch name {
        case "numa_available": unsafeBitCast(available, to: UnsafeMutableRawPointer.self)
        case "numa_max_node": unsafeBitCast(maxNode, to: UnsafeMutableRawPointer.self)
        case "get_mempolicy": unsafeBitCast(getPolicy, to: UnsafeMutableRawPointer.self)
        case "mbind": unsafeBitCast(bind, to: UnsafeMutableRawPointer.self)
        case "numa_all_nodes_ptr": allNodes
        default: nil
        }
    }
}

@Suite(.serialized) struct NUMATests {
    init() { Fake.state.withLock { $0 = .init() } }

    @Test func hugePagesAreInterleaved() throws {
        let numa = try #require(NUMA(Fake.symbol))
        let count = 5 << 20
        let pages = try #require(HugePages(count: count, numa: numa))
        let expected = Fake.Call(
            base: UInt(bitPattern: pages.base), count: UInt(count), mode: 3, nodes: 0b11, bits: 65, flags: 0)
        #expect(Fake.state.withLock { $0.calls } == [expected])
        // What fills no page is not worth a call, and might share one with other memory.
        _ = HugePages(count: 1000, numa: numa)
        #expect(Fake.state.withLock { $0.calls.count } == 1)
    }

    @Test func aRefusalIsNoError() throws {
        Fake.state.withLock { $0.refuses = true }
        let numa = try #require(NUMA(Fake.symbol))
        let pages = try #require(HugePages(count: 4 << 20, numa: numa))
        pages.base.storeBytes(of: 7, toByteOffset: pages.count - 1, as: UInt8.self)
        #expect(Fake.state.withLock { $0.calls.count } == 1)
    }

    @Test func oneNodeOrNoneIsNothing() {
        Fake.state.withLock { $0.available = -1 }
        #expect(NUMA(Fake.symbol) == nil)
        Fake.state.withLock { $0 = .init(maxNode: 0) }
        #expect(NUMA(Fake.symbol) == nil)
        // Started under numactl --membind: the host has decided.
        Fake.state.withLock { $0 = .init(policy: 2) }
        #expect(NUMA(Fake.symbol) == nil)
    }

    @Test func anIncompleteLibraryIsNothing() {
        #expect(NUMA { _ in nil } == nil)
        for missing in ["numa_available", "numa_max_node", "get_mempolicy", "mbind", "numa_all_nodes_ptr"] {
            #expect(NUMA { $0 == missing ? nil : Fake.symbol($0) } == nil, "\(missing)")
        }
    }

    /// Whatever this machine has.
    @Test func theSystemsOwnDoesNoHarm() throws {
        let pages = try #require(HugePages(count: 4 << 20))
        memset(pages.base, 1, pages.count)
    }
}
