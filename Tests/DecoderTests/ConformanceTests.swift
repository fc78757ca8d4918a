import LLaDA
import TestSupport
import Testing

@Suite struct ConformanceTests {
    /// Same tokens and, against the reference's own loop, the same canvas and number of denoising forwards.
    @Test(arguments: Run.models) func runsAreTheReferences(_ name: String) throws {
        let runs = try Run.all(name)
        #expect(runs.count >= 260)
        let model = try runs[0].model()
        var compared = 0
        for run in runs {
            #expect(model.maskTokenID == run.mask_id && model.eosTokenIDs == run.ends)
            if Self.nearTies.contains(run.id) {
                withKnownIssue("the reference's own rounding decides this run") { try compare(run, model) }
            } else {
                try compare(run, model)
            }
            compared += 1
        }
        #expect(compared == runs.count)
    }

    /// Same tokens, same canvas, as many forwards over blocks, and before each of them the same block.
    @Test func runsThatDeleteAndInsertAreTheReferences() throws {
        let runs = try Run.all(Run.edits)
        #expect(runs.count { $0.isLevenshtein && !$0.isIndel } == 94 && runs.count(where: \.isIndel) == 80)
        let model = try runs[0].model()
        var forwards = 0
        var moves = 0
        for run in runs {
            let decoder = try run.decoder(model)
            var inputs: [[Int32]] = []
            while !decoder.isFinished {
                inputs.append(Array(decoder.canvas[decoder.active]))
                try decoder.step()
            }
            #expect(decoder.output == run.output, "\(run.id)")
            if let canvas = run.canvas { #expect(Array(decoder.canvas) == canvas, "\(run.id)") }
            if let done = run.committed { #expect(decoder.canvas.starts(with: done), "\(run.id)") }
            #expect(inputs == run.inputs, "\(run.id)")
            #expect(decoder.forwards == run.per_block_forwards?.reduce(0, +) ?? run.forwards, "\(run.id)")
            forwards += decoder.forwards
            moves += decoder.insertions + decoder.deletions
        }
        #expect(forwards == 3057 && moves > 100)
    }

    /// Runs whose course hangs on a router margin below f32's resolution. In the one here, layer 1 chooses between
    /// groups 1 and 3 for position 41: 1.31262106 against 1.31262126 in double precision, one and a half units of f32's
    /// last place. We and a plain f32 computation choose group 3, and agree with the reference for eight steps; from
    /// then on, its window wider and its products of another shape, its results are those of group 1.
    private static let nearTies: Set = ["gqa_group/B32/tail/nt3"]

    private func compare(_ run: Run, _ model: Model) throws {
        let decoder = try model.decoder(prompt: run.prompt, options: run.options)
        try decoder.run()
        #expect(decoder.output == run.tie_lowest_index_output ?? run.output, "\(run.id)")
        if run.isReference, run.tie_ambiguous != true {
            #expect(decoder.forwards == run.forwards, "\(run.id)")
            if let canvas = run.canvas { #expect(Array(decoder.canvas) == canvas, "\(run.id)") }
        }
    }
}
