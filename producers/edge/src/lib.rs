//! The socket server: commands in, acknowledgements and events out.
