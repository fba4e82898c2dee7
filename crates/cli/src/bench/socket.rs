//! A WebSocket client that costs as little as it can, since the generator
//! shares the machine with the servers it measures: frames are written by one
//! system call, and read where they lie, without a copy and without looking
//! at their UTF-8. It speaks as much of RFC 6455 as the edge does.

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FIN: u8 = 0x80;
/// A text frame.
pub(super) const TEXT: u8 = 1;
/// A close frame.
pub(super) const CLOSE: u8 = 8;
/// A ping.
pub(super) const PING: u8 = 9;
/// A pong.
pub(super) const PONG: u8 = 10;

/// Appends a client's frame. The masking key is zero, and so the payload is
/// what it is: masks protect old proxies from scripts in browsers, and here is
/// neither.
pub(super) fn encode(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    const MASKED: u8 = 0x80;
    into.push(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => into.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            into.push(MASKED | 126);
            into.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            into.push(MASKED | 127);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(payload);
}

/// A server's frame at the start of the bytes read so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) opcode: u8,
    pub(super) payload: &'a [u8],
    /// How many bytes it takes in all.
    pub(super) length: usize,
}

/// The first frame, or none where it is not complete yet.
pub(super) fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (payload_length, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let length = head + payload_length;
    let payload = bytes.get(head..length)?;
    Some(Frame {
        opcode: first & 0x0f,
        payload,
        length,
    })
}

/// Opens a socket, says hello and waits for the welcome.
pub(super) async fn connect(url: &str, token: &str) -> Result<TcpStream> {
    let rest = url
        .strip_prefix("ws://")
        .with_context(|| format!("{url}: only connections in the clear are measured: ws://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority)
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    stream.set_nodelay(true)?;
    let upgrade = format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGlkaW5ncyBiZW5jaCB2MQ==\r\n\r\n"
    );
    let hello = json!({"type": "hello", "token": token}).to_string();
    stream.write_all(upgrade.as_bytes()).await?;
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break read.drain(..end + 4).collect::<Vec<u8>>();
        }
        fill(&mut stream, &mut read).await?;
    };
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!(
            "{url}: {}",
            String::from_utf8_lossy(&head)
                .lines()
                .next()
                .unwrap_or_default()
        );
    }
    let mut frame = Vec::new();
    encode(TEXT, hello.as_bytes(), &mut frame);
    stream.write_all(&frame).await?;
    let welcome = next(&mut stream, &mut read).await?;
    if !welcome.starts_with(br#"{"type":"welcome""#) {
        bail!(
            "the server does not welcome us: {}",
            String::from_utf8_lossy(&welcome)
        );
    }
    if !read.is_empty() {
        bail!("the server spoke before it was asked anything");
    }
    Ok(stream)
}

/// The next frame's payload, while a connection is set up. What is read
/// beyond it stays in `read`.
pub(super) async fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Result<Vec<u8>> {
    loop {
        if let Some(frame) = decode(read) {
            let (opcode, length, payload) = (frame.opcode, frame.length, frame.payload.to_vec());
            read.drain(..length);
            match opcode {
                TEXT => return Ok(payload),
                CLOSE => bail!("the server closed: {}", close_reason(&payload)),
                _ => continue,
            }
        }
        fill(stream, read).await?;
    }
}

/// `4008 slow reader` of a close frame's payload.
pub(super) fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => {
            format!(
                "{} {}",
                u16::from_be_bytes(*code),
                String::from_utf8_lossy(reason)
            )
        }
        None => "1005".to_owned(),
    }
}

async fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> Result<()> {
    if stream.read_buf(read).await? == 0 {
        bail!("the connection ended");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut client = Vec::new();
            encode(TEXT, &payload, &mut client);
            assert_eq!(client[0], FIN | TEXT);
            assert!(client.ends_with(&payload));

            // A server's frame is the same without mask bit and key.
            let head = client.len() - length;
            let mut server = client[..head - 4].to_vec();
            server[1] &= 0x7f;
            server.extend_from_slice(&payload);
            for missing in [1, length + 1] {
                assert_eq!(
                    decode(&server[..server.len().saturating_sub(missing)]),
                    None
                );
            }
            server.extend_from_slice(b"more");
            let frame = decode(&server).unwrap();
            assert_eq!((frame.opcode, frame.payload), (TEXT, payload.as_slice()));
            assert_eq!(frame.length, server.len() - 4);
        }
    }
}
