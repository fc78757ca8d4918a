extension Decoder {
    /// Why a token was written or is to be written.
    public enum Reason: Int32, Sendable {
        /// Mask-to-token: confidence > threshold.
        case threshold
        /// Mask-to-token: one of the most confident, where too few were above the threshold.
        case fallback
        /// Token-to-token, while the block has masks.
        case edit
        /// Token-to-token, after the block's last mask.
        case postEdit
        /// Token-to-token in a finished block (multi-block editing).
        case blockEdit
        /// An edit of the host.
        case host
    }

    /// A part of a proposal: a token to write, to put in, or to take out.
    public struct Edit: Sendable, Equatable {
        /// What an edit does.
        public enum Kind: Int32, Sendable {
            /// The token is written at the position. The mask id masks the position again.
            case write
            /// The token at the position is taken out. Those behind it move up, and a mask comes in at the end: of the
            /// block, or before the next position that is of the prompt or locked.
            case delete
            /// The token, or the mask id, is put in before the token at the position. That one and those behind it
            /// move back, and the last one is lost: at the end of the block, or before the next position that is of
            /// the prompt or locked.
            case insert
        }

        /// On the canvas as it is before the step; the edits of a proposal do not see each other.
        public var position: Int
        /// The token to write or to put in. For `delete`, the one that goes.
        public var token: Int32
        /// The confidence in the token; NaN if there is none.
        public var confidence: Float
        public var reason: Reason
        public var kind: Kind
        /// The place in the host's list, which is that of several tokens put in at one position.
        var order: Int32 = 0

        public init(
            position: Int, token: Int32, confidence: Float = .nan, reason: Reason = .host, kind: Kind = .write
        ) {
            self.position = position
            self.token = token
            self.confidence = confidence
            self.reason = reason
            self.kind = kind
        }

        public static func == (a: Edit, b: Edit) -> Bool {
            a.position == b.position && a.token == b.token && a.confidence == b.confidence && a.reason == b.reason
                && a.kind == b.kind
        }

        /// Whether `a` stands before `b` in a proposal: by position; there, what is put in before the rest.
        static func isBefore(_ a: Edit, _ b: Edit) -> Bool {
            if a.position != b.position { return a.position < b.position }
            if (a.kind == .insert) != (b.kind == .insert) { return a.kind == .insert }
            return a.order < b.order
        }
    }

    /// A token that has changed, or tokens that have moved. Positions are those at the moment of the change, after the
    /// changes before it: who does what the events of a step say, in their order, has the canvas after the step.
    public struct Event: Sendable, Equatable {
        /// How the token changed.
        public enum Kind: Int32, Sendable {
            /// Mask to token.
            case unmask
            /// Token to token.
            case replace
            /// Token to mask.
            case remask
            /// `newToken` was put in at `position`. What stood from there to `last - 1` moved back by one, and
            /// `oldToken`, which stood at `last`, is lost.
            case insert
            /// `oldToken` was taken out at `position`. What stood from `position + 1` to `last` moved up by one, and
            /// `newToken`, the mask, came in at `last`.
            case delete
        }

        public internal(set) var position: Int
        public internal(set) var kind: Kind
        public internal(set) var oldToken: Int32
        public internal(set) var newToken: Int32
        /// The confidence of the edit; NaN if it has none.
        public internal(set) var confidence: Float
        public internal(set) var reason: Reason
        /// The last position that changed; `position`, if no token moved.
        public internal(set) var last: Int
    }
}
