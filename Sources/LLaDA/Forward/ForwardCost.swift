import Glibc

/// What a forward takes, as a function of its rows: it says whether rows are cheaper in the forward at hand or in one
/// of their own (docs/decisions/0021-the-next-block-rides.md). An estimate, by which no result is decided.
package struct ForwardCost: Sendable, Equatable {
    /// What the machine can do with this model's weights.
    package struct Machine: Sendable, Equatable {
        /// The bytes of weights that all threads read in a second.
        package var bandwidth: Double
        /// The multiplications and additions of all threads in a second.
        package var arithmetic: Double
        /// The seconds of a layer in which threads wait for each other and nothing is computed.
        package var pause = 20e-6

        package init(bandwidth: Double, arithmetic: Double) {
            (self.bandwidth, self.arithmetic) = (bandwidth, arithmetic)
        }
    }

    package var machine: Machine
    /// The number of layers.
    package var layers = 0
    /// The bytes of weights that all rows use, and the operations of a row with them.
    package var sharedBytes = 0.0
    package var sharedOperations = 0.0
    /// The operations of a row for each position that it sees.
    package var scoreOperations = 0.0
    /// The number of layers with experts, the experts of each, and how many of them a row uses.
    package var mixtures = 0
    package var experts = 0
    package var expertsPerRow = 0
    /// The bytes of an expert, and the operations of a row with it.
    package var expertBytes = 0.0
    package var expertOperations = 0.0

    package init(machine: Machine) { self.machine = machine }

    /// Returns the seconds of a forward of `rows` rows that see `seen` positions each; 0 without rows. Weights are read
    /// while they are multiplied, so the slower of the two counts.
    package func seconds(rows: Int, seen: Int) -> Double {
        if rows == 0 { return 0 }
        let count = Double(rows)
        func time(_ bytes: Double, _ operations: Double) -> Double {
            max(bytes / machine.bandwidth, operations / machine.arithmetic)
        }
        // The experts that so many rows use together, if routers chose at random.
        let used =
            experts == 0 ? 0 : Double(experts) * (1 - pow(1 - Double(expertsPerRow) / Double(experts), count))
        return Double(layers) * machine.pause
            + time(sharedBytes, count * sharedOperations)
            + Double(mixtures)
            * time(used * expertBytes, count * Double(expertsPerRow) * expertOperations)
            + count * Double(seen) * scoreOperations / machine.arithmetic
    }

    /// How often a block that could be left is left: the share of forwards without masks that change nothing.
    package static let chance = 0.85

    /// Whether `rider` rows are worth a place in a forward of `rows` rows beside `others` of other sequences. If the
    /// block of the `rows` is left, the riders need no forward of their own, but for what the others do anyway.
    package func pays(rider: Int, rows: Int, others: Int, seen: Int) -> Bool {
        let more = seconds(rows: others + rows + rider, seen: seen) - seconds(rows: others + rows, seen: seen)
        let saved = seconds(rows: others + rider, seen: seen) - seconds(rows: others, seen: seen)
        return more < Self.chance * saved
    }
}
