import Glibc
import Kernels

/// The kernels that this process computes with: those that `LLADA_KERNELS` in the environment names, or else the best
/// that the CPU has. All give the same bits.
package enum KernelChoice {
    package static let variable = "LLADA_KERNELS"

    /// All that this CPU has, the best first.
    package static var available: [llk_isa] {
        [LLK_AVX512, LLK_AVXVNNI, LLK_AVX2, LLK_I8MM, LLK_NEON, LLK_PORTABLE].filter { llk_get($0) != nil }
    }

    /// What the environment said when it was first asked for, and never again.
    private static let decided = Result { () throws(LLaDAError) in
        try choose(getenv(variable).map { String(cString: $0) })
    }

    /// Throws `.invalidArgument` if the environment names no kernels that this CPU has.
    package static func check() throws(LLaDAError) { _ = try decided.get() }

    /// Where nothing has been checked, the best.
    package static var isa: llk_isa { (try? decided.get()) ?? llk_best_isa() }

    /// For people: "avx2", or why there are none.
    package static var description: String {
        switch decided {
        case .success(let isa): name(isa)
        case .failure(let error): "none: \(error.message)"
        }
    }

    package static func name(_ isa: llk_isa) -> String { String(cString: llk_isa_name(isa)) }

    /// Returns the kernels that a value of the variable asks for; nil and nothing ask for the best.
    package static func choose(_ text: String?) throws(LLaDAError) -> llk_isa {
        guard let text, text != "" else { return llk_best_isa() }
        guard let isa = available.first(where: { name($0) == text }) else {
            let names = available.map(name).joined(separator: ", ")
            throw LLaDAError(
                .invalidArgument,
                "\(variable) in the environment is \(String(text.prefix(40)).debugDescription); expected one of those "
                    + "that this CPU has, which are \(names)")
        }
        return isa
    }
}
