/// The pages of a sequence's keys and values. Page i holds positions i * blockLength ..< (i + 1) * blockLength.
package struct PageTable {
    private let pages: [Page]
    private let last: [Page]
    private let start: Int
    package let blockLength: Int

    /// Makes a table of the first `start` of `pages`, or all, and of `last` behind them.
    package init(pages: [Page], upTo start: Int? = nil, then last: [Page] = [], blockLength: Int) {
        self.pages = pages
        self.last = last
        self.start = start ?? pages.count
        self.blockLength = blockLength
    }

    package subscript(index: Int) -> Page { index < start ? pages[index] : last[index - start] }
}
