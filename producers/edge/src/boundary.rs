use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

/// The longest header of a frame, in bytes.
const LONGEST_HEADER: usize = 14;

/// Where the bytes that came from a connection end: between two messages, or
/// within one. It looks at the frames' headers only, and judges nothing.
#[derive(Debug, Default)]
pub(crate) struct Boundary {
    /// What has come of the header of the next frame.
    header: [u8; LONGEST_HEADER],
    known: u8,
    /// What has not come of the payload of the last frame, in bytes.
    missing: u64,
    /// A message's first frame has come and its last one has not.
    in_fragments: bool,
    /// What came are no frames: there is no next one.
    lost: bool,
}

impl Boundary {
    /// Takes note of the next bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !self.lost && !bytes.is_empty() {
            if self.missing > 0 {
                let passed = usize::try_from(self.missing)
                    .map_or(bytes.len(), |missing| missing.min(bytes.len()));
                self.missing -= passed as u64;
                bytes = &bytes[passed..];
            } else {
                bytes = self.next_header(bytes);
            }
        }
    }

    /// Whether whatever has come is whole messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        !self.lost && self.known == 0 && self.missing == 0 && !self.in_fragments
    }

    /// Goes on with a header; gives the bytes behind it.
    fn next_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let known = usize::from(self.known);
        let more = bytes.len().min(LONGEST_HEADER - known);
        self.header[known..known + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.header[..known + more]);
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, length))) => {
                let taken = cursor.position() as usize - known;
                if let OpCode::Data(_) = header.opcode {
                    self.in_fragments = !header.is_final;
                }
                self.missing = length;
                self.known = 0;
                &bytes[taken..]
            }
            Ok(None) => {
                self.known = (known + more) as u8;
                &bytes[more..]
            }
            Err(_) => {
                self.lost = true;
                &[]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::Bytes;
    use tungstenite::protocol::frame::Frame;
    use tungstenite::protocol::frame::coding::Data;

    fn bytes(mut frame: Frame, is_masked: bool) -> Vec<u8> {
        if is_masked {
            frame.header_mut().mask = Some([1, 2, 3, 4]);
        }
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn data(opcode: Data, length: usize, is_final: bool) -> Frame {
        Frame::message(vec![b'x'; length], OpCode::Data(opcode), is_final)
    }

    #[test]
    fn messages_end_where_their_last_frame_does_however_they_come() {
        let frames = [
            (data(Data::Text, 0, true), true),
            (data(Data::Text, 125, true), true),
            (data(Data::Binary, 126, true), true),
            (data(Data::Text, 70_000, true), true),
            (data(Data::Text, 3, false), false),
            (Frame::ping(Bytes::from_static(b"?")), false),
            (data(Data::Continue, 0, false), false),
            (data(Data::Continue, 2, true), true),
            (Frame::close(None), true),
        ];
        for (is_masked, step) in [(true, 1), (false, 1), (true, 5), (true, 100_000)] {
            let mut boundary = Boundary::default();
            for (frame, ends) in &frames {
                let bytes = bytes(frame.clone(), is_masked);
                let (last, before) = bytes.split_last().unwrap();
                for chunk in before.chunks(step) {
                    boundary.pass(chunk);
                    assert!(!boundary.is_between_messages());
                }
                boundary.pass(&[*last]);
                assert_eq!(boundary.is_between_messages(), *ends, "{frame:?}");
            }
            let all: Vec<u8> = frames
                .iter()
                .flat_map(|(frame, _)| bytes(frame.clone(), is_masked))
                .collect();
            boundary.pass(&all);
            assert!(boundary.is_between_messages());
        }
    }

    #[test]
    fn what_are_no_frames_never_ends() {
        let mut boundary = Boundary::default();
        boundary.pass(&[0x83, 0x00]);
        assert!(!boundary.is_between_messages());
        boundary.pass(&bytes(data(Data::Text, 0, true), true));
        assert!(!boundary.is_between_messages());
    }
}
