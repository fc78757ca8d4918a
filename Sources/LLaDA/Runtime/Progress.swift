/// A callback that receives the part of a long call that is done, from 0 to 1. An error that it throws ends the call
/// and is rethrown.
public typealias Progress = (Double) throws(LLaDAError) -> Void
