# The commands of everyday work; `just --list`.

# What CI runs, in the same order.
default: fmt-check lint doc test fuzz

# Starts the servers once, runs every test, stops the servers.
test *args:
    scripts/test {{args}}

# Plants faults in a copy of the code, and looks whether the tests see them.
faults *args:
    scripts/faults {{args}}

# Makes up inputs for the parsers.
fuzz *args:
    scripts/fuzz {{args}}

# Formats everything.
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

fmt-check:
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check

lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target --locked -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, bans, advisories; needs `cargo install cargo-deny --locked`.
deny:
    cargo deny check

# The whole system in one process.
dev *args:
    cargo run --release --bin tidings -- dev {{args}}

# A local cluster: the servers of `scripts/servers` and our binaries.
cluster command="up":
    cargo build --release --locked
    scripts/cluster {{command}}
