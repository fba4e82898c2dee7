//! Tests of the whole system and of its structure; one file each, beside this one.
