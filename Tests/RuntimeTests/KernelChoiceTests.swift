import Kernels
import LLaDA
import Testing

struct KernelChoiceTests {
    @Test func nothingAsksForTheBest() throws {
        #expect(try KernelChoice.choose(nil) == llk_best_isa())
        #expect(try KernelChoice.choose("") == llk_best_isa())
        #expect(KernelChoice.available.first == llk_best_isa())
        #expect(KernelChoice.available.last == LLK_PORTABLE)
    }

    @Test func aNameAsksForItsKernels() throws {
        for isa in KernelChoice.available { #expect(try KernelChoice.choose(KernelChoice.name(isa)) == isa) }
    }

    @Test(arguments: ["sse", "AVX2", "avx2 ", "avx2\nx", "99"])
    func otherNamesAreRefused(_ text: String) {
        do {
            _ = try KernelChoice.choose(text)
            Issue.record("\(text) is taken")
        } catch {
            #expect(error.status == .invalidArgument)
            #expect(error.message.contains("LLADA_KERNELS") && error.message.contains("portable"))
            #expect(error.message.contains(text.debugDescription) && !error.message.contains("\n"))
        }
    }

    /// Which kernels a CPU gets, of processors that this machine is not.
    @Test func theBestForOtherProcessors() {
        func best(_ change: (inout llk_cpu) -> Void) -> llk_isa {
            var cpu = llk_cpu()
            change(&cpu)
            return llk_best_for(cpu)
        }
        #expect(best { _ in } == LLK_PORTABLE)
        #expect(best { $0.avx2 = true } == LLK_AVX2)
        #expect(best { ($0.avx2, $0.avx_vnni) = (true, true) } == LLK_AVXVNNI)
        #expect(best { ($0.avx2, $0.avx_vnni, $0.avx512) = (true, true, true) } == LLK_AVX512)
        #expect(best { ($0.neon, $0.dot_product) = (true, true) } == LLK_NEON)
        #expect(best { ($0.neon, $0.dot_product, $0.i8mm) = (true, true, true) } == LLK_I8MM)
        #expect(best { ($0.neon, $0.dot_product, $0.bf16) = (true, true, true) } == LLK_NEON)
    }
}
