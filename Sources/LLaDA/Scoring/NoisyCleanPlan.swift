/// A plan of the blocks of sequences and of their noisy versions that have to run, cut into forwards.
///
/// Clean blocks run before the noisy ones that look back to them, in the same forward or an earlier one. A block that
/// begins several sequences, as a prompt does, runs for the first of them. A block runs only if something is wanted of
/// it, or if a wanted block looks back to it.
package struct NoisyCleanPlan {
    /// A block of a sequence, or of a version of it.
    package struct Block: Equatable {
        package let sequence: Int
        package let version: Int?  // nil: clean
        package let index: Int
    }

    /// The key of a node of the tree of prefixes. A node is a clean block together with all blocks before it.
    private struct Child: Hashable {
        let parent: Int
        let tokens: ArraySlice<Int32>
    }

    let blockLength: Int
    package private(set) var forwards: [[Block]] = []
    /// The nodes of the clean blocks of each sequence that something looks back to.  [sequences][blocks]
    private(set) var paths: [[Int]] = []
    /// The last sequence that each node is part of.  [nodes]
    private(set) var lastUsers: [Int] = []
    /// The number of all rows, for reporting progress.
    package private(set) var rowCount = 0

    private var rowsOfLast = 0
    private var children: [Child: Int] = [:]

    package init(
        _ sequences: [NoisedSequence], blockLength: Int,
        isScored: (_ sequence: Int, _ version: Int, _ position: Int) -> Bool
    ) {
        self.blockLength = blockLength
        for (number, sequence) in sequences.enumerated() {
            var noisy: [Block] = []
            for version in 0..<(sequence.tokens.isEmpty ? 0 : sequence.versions) {
                for index in sequence.promptLength / blockLength..<(sequence.tokens.count + blockLength - 1)
                    / blockLength
                {
                    let positions = positions(index, count: sequence.tokens.count)
                    if positions.contains(where: { isScored(number, version, $0) }) {
                        noisy.append(Block(sequence: number, version: version, index: index))
                    }
                }
            }
            addClean(sequence, number, before: noisy.reduce(0) { max($0, $1.index) })
            for block in noisy { add(block, rows: positions(block.index, count: sequence.tokens.count).count) }
        }
        children = [:]
    }

    func positions(_ block: Int, count: Int) -> Range<Int> {
        block * blockLength..<min((block + 1) * blockLength, count)
    }

    private mutating func addClean(_ sequence: NoisedSequence, _ number: Int, before end: Int) {
        let tokens = Array(sequence.tokens.prefix(end * blockLength))
        var path: [Int] = []
        for index in 0..<end {
            let key = Child(parent: path.last ?? -1, tokens: tokens[index * blockLength..<(index + 1) * blockLength])
            if let known = children[key] {
                lastUsers[known] = number
                path.append(known)
            } else {
                children[key] = lastUsers.count
                path.append(lastUsers.count)
                lastUsers.append(number)
                add(Block(sequence: number, version: nil, index: index), rows: blockLength)
            }
        }
        paths.append(path)
    }

    private mutating func add(_ block: Block, rows: Int) {
        rowCount += rows
        if !forwards.isEmpty, rowsOfLast + rows <= Batch.mostRows(blockLength: blockLength) {
            forwards[forwards.count - 1].append(block)
            rowsOfLast += rows
        } else {
            forwards.append([block])
            rowsOfLast = rows
        }
    }
}
