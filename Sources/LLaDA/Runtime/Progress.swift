/// Told the part of a long work that is done, 0 to 1. What it throws ends the work, and is thrown.
public typealias Progress = (Double) throws(LLaDAError) -> Void
