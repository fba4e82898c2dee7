# The commands of everyday work; `just --list`.

# What CI runs, in the same order.
default: fmt-check lint doc test

# Starts the servers once, runs every test, stops the servers.
test *args:
    scripts/test {{args}}

# Plants faults in a copy of the code, and looks whether the tests see them.
faults *args:
    scripts/faults {{args}}

# Formats everything.
fmt:
    cargo fmt --all

fmt-check:
    cargo fmt --all --check

lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

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
