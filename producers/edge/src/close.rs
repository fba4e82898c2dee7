use tidings_wire::frames::ServerFrame;

/// Why the edge closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    BadFrame,
    NotAuthorized,
    HelloMissing,
    TooManyConnections,
    SlowReader,
    Silent,
    Draining,
    Unavailable,
}

impl CloseReason {
    pub(crate) fn code(self) -> u16 {
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

    pub(crate) fn message(self) -> &'static str {
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
    pub(crate) fn retry_after_ms(self) -> Option<u64> {
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
