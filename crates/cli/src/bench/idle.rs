use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::fleet;
use crate::client::Dialer;

/// How long memory is given to come to rest.
const REST: Duration = Duration::from_secs(2);

/// What idle connections cost the server.
#[derive(Debug, Serialize)]
pub(super) struct IdleReport {
    pub(super) connections: usize,
    /// The server's resident memory before, with one connection open, in bytes.
    pub(super) resident_before: u64,
    /// And with the connections.
    pub(super) resident_after: u64,
    /// The difference for each connection.
    pub(super) bytes_per_connection: f64,
}

impl IdleReport {
    pub(super) fn describe(&self) -> String {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        format!(
            "{} idle connections: {:.1} MB before, {:.1} MB with them, {:.1} KB each",
            self.connections,
            mb(self.resident_before),
            mb(self.resident_after),
            self.bytes_per_connection / 1e3
        )
    }
}

pub(super) async fn run(dialer: &Dialer, connections: usize, pid: u32) -> Result<IdleReport> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let run = &id[..8];
    // For its first user a server that has just started reads what it needs of
    // its log: that is no cost of a connection.
    let first = fleet::open(dialer, &format!("{run}-first"), 1).await?;
    tokio::time::sleep(REST).await;
    let resident_before = resident_bytes(pid)?;
    let lines = fleet::open(dialer, run, connections).await?;
    tokio::time::sleep(REST).await;
    let resident_after = resident_bytes(pid)?;
    drop((first, lines));
    let more = resident_after.saturating_sub(resident_before);
    let bytes_per_connection = more as f64 / connections as f64;
    Ok(IdleReport {
        connections,
        resident_before,
        resident_after,
        bytes_per_connection,
    })
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("no process {pid} ({path})"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kb.with_context(|| format!("{path} tells no resident memory"))? * 1024)
}
