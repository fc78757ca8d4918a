/// The tokens by which a model of LLaDA2.2 says that a token is to go, or that a mask is to come before it.
package struct EditTokens: Sendable, Equatable {
    package let delete: Int32
    package let split: Int32

    package init(delete: Int32, split: Int32) {
        self.delete = delete
        self.split = split
    }
}
