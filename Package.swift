// swift-tools-version: 6.1
import PackageDescription

// Set by `make test-asan` and `test-tsan`: a sanitizer's runtime lives in the program, so its symbols stay undefined in
// the library.
let sanitizing = Context.environment["LLADA_SANITIZE"] != nil

let library = "\(Context.packageDirectory)/Sources/LibLLaDA"
/// Flags for the linker of libllada.so.
func linker(_ flags: String...) -> [String] { flags.flatMap { ["-Xlinker", $0] } }
// Hardened: addresses are read-only once they are known. Lean: no debug information, functions of equal code once, and
// texts that end others (-O2) within them.
let shipped = linker(
    "-O2", "-z", "defs", "-z", "relro", "-z", "now", "--strip-debug", "--icf=all", "-T", "\(library)/layout.ld",
    "--wrap=_swift_stdlib_getScalarName")
// What Sources/Allocator stands in the place of, in libllada.so: C's functions, and C++'s new and delete.
let wrapped = [
    "malloc", "calloc", "realloc", "posix_memalign", "free", "malloc_usable_size",
    "_Znwm", "_ZnwmSt11align_val_t", "_ZdlPv", "_ZdlPvm", "_ZdlPvmSt11align_val_t",
]

let package = Package(
    name: "llada",
    products: [
        .library(name: "LLaDA", targets: ["LLaDA"]),
        .library(name: "llada", type: .dynamic, targets: ["LibLLaDA"]),
    ],
    targets: [
        .target(name: "Kernels", exclude: ["templates"], cSettings: [.headerSearchPath(".")]),
        // The contract: the hand-written C header, seen from Swift as a module.
        .target(name: "CLLaDA", path: "include", publicHeadersPath: "."),
        .target(name: "LLaDA", dependencies: ["Kernels"]),
        .target(name: "CAPI", dependencies: ["LLaDA", "CLLaDA"]),
        // What libllada.so has in place of some of Swift's static library.
        .target(name: "StandIns"),
        // What stands in the place of malloc in libllada.so, and there alone.
        .target(name: "Allocator", dependencies: ["Kernels"]),
        // libllada.so: links the above. The linker flags stand here alone: Swift clients of LLaDA do not inherit them.
        .target(
            name: "LibLLaDA", dependencies: ["CAPI", "StandIns", "Allocator"], exclude: ["exports.map", "layout.ld"],
            linkerSettings: [
                .unsafeFlags(
                    ["-use-ld=lld", "-static-stdlib"]
                        + linker(
                            "-soname", "libllada.so.0", "--version-script=\(library)/exports.map", "-z", "nodelete",
                            "--gc-sections") + wrapped.flatMap { linker("--wrap=\($0)") }
                        + (sanitizing ? [] : shipped))
            ]),
        .target(name: "Probes"),  // the machine's limits, for the benchmark
        .executableTarget(name: "llada-bench", dependencies: ["LLaDA", "Kernels", "Probes"]),
        .executableTarget(name: "llada-example", dependencies: ["LLaDA"], path: "examples/swift"),
        // Tests, one target a room, and what they share.
        .target(name: "TestSupport", dependencies: ["LLaDA"], path: "Tests/Support"),
        .testTarget(name: "KernelsTests", dependencies: ["Kernels"]),
    ]
        + [
            "Runtime", "Checkpoint", "Text", "Weights", "KeyValues", "Forward", "Sequence", "Scoring", "Decoder",
            "Snapshot",
        ].map { .testTarget(name: "\($0)Tests", dependencies: ["LLaDA", "Kernels", "TestSupport"]) }
)
