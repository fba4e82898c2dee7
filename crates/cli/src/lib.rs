//! The tidings command: dev, import, tail, topics, token, bench.
