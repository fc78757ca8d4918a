/// The pages of a sequence's keys and values. Page i holds positions i * blockLength ..< (i + 1) * blockLength.
package struct PageTable {
    package let pages: [Page]
    package let blockLength: Int

    package init(pages: [Page], blockLength: Int) {
        self.pages = pages
        self.blockLength = blockLength
    }
}
