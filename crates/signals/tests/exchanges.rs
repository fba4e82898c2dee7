//! Both exchanges, by the one suite.
