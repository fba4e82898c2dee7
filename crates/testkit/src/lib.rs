//! Servers, clients and generators for tests.
