//! Arguments in, operator out; nothing else lives here.
fn main() {}
