use tidings_wire::frames::ServerFrame;

/// Why the edge closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A frame is no JSON object, or too large.
    BadFrame,
    /// The first frame was no hello with a valid token.
    NotAuthorized,
    /// No hello came in time.
    HelloMissing,
    /// The user, or the edge, has too many.
    TooManyConnections,
    /// Frames were not read fast enough.
    SlowReader,
    /// Nothing came for two heartbeats.
    Silent,
    /// The edge is stopping.
    Draining,
    /// The edge cannot read the log.
    Unavailable,
}

impl CloseReason {
    /// Every reason, in the order of the protocol's text.
    pub const ALL: [Self; 8] = [
        Self::BadFrame,
        Self::NotAuthorized,
        Self::HelloMissing,
        Self::TooManyConnections,
        Self::SlowReader,
        Self::Silent,
        Self::Draining,
        Self::Unavailable,
    ];

    /// The close frame's code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::BadFrame => 4400,
            Self::NotAuthorized => 4401,
            Self::HelloMissing => 4408,
            Self::TooManyConnections => 4429,
            Self::SlowReader => 4008,
            Self::Silent => 4009,
            Self::Draining => 4012,
            Self::Unavailable => 4013,
        }
    }

    /// The same for a person.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::BadFrame => "a frame is one JSON object in text, not larger than max_frame_bytes",
            Self::NotAuthorized => "the first frame must be a hello with a valid token",
            Self::HelloMissing => "no hello came in time",
            Self::TooManyConnections => "too many connections",
            Self::SlowReader => "frames were not read fast enough",
            Self::Silent => "nothing came for two heartbeats",
            Self::Draining => "this server is stopping",
            Self::Unavailable => "this server cannot read the log right now",
        }
    }

    /// Within how many milliseconds, at random, the client is to come back;
    /// none: it is not to.
    #[must_use]
    pub fn retry_after_ms(self) -> Option<u64> {
        match self {
            Self::BadFrame
            | Self::NotAuthorized
            | Self::HelloMissing
            | Self::TooManyConnections => None,
            Self::SlowReader | Self::Silent => Some(1_000),
            Self::Draining => Some(5_000),
            Self::Unavailable => Some(10_000),
        }
    }

    pub(crate) fn bye(self) -> String {
        let retry_after_ms = self.retry_after_ms();
        ServerFrame::Bye {
            code: self.code(),
            reconnect: retry_after_ms.is_some(),
            retry_after_ms,
            message: self.message(),
        }
        .to_json()
    }
}
