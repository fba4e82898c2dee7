//! The log in the data folder's SQLite file.
