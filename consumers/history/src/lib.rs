//! Projects message.delivered into the history view.
