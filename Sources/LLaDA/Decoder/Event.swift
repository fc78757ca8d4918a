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

    /// A token to write, as a part of a proposal. The mask id masks the position again.
    public struct Edit: Sendable, Equatable {
        public var position: Int
        public var token: Int32
        /// The confidence in the token; NaN if there is none.
        public var confidence: Float
        public var reason: Reason

        public init(position: Int, token: Int32, confidence: Float = .nan, reason: Reason = .host) {
            self.position = position
            self.token = token
            self.confidence = confidence
            self.reason = reason
        }
    }

    /// A token that has changed.
    public struct Event: Sendable, Equatable {
        /// How the token changed.
        public enum Kind: Int32, Sendable {
            /// Mask to token.
            case unmask
            /// Token to token.
            case replace
            /// Token to mask.
            case remask
        }

        public internal(set) var position: Int
        public internal(set) var kind: Kind
        public internal(set) var oldToken: Int32
        public internal(set) var newToken: Int32
        /// The confidence of the edit; NaN if it has none.
        public internal(set) var confidence: Float
        public internal(set) var reason: Reason
    }
}
