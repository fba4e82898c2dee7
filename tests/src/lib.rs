//! Tests of the whole system and of its structure; see the files beside `src`.
