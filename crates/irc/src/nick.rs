use tidings_domain::{NAMESPACE, UserId};
use uuid::Uuid;

/// The most characters of a user id.
const MAX_CHARS: usize = 64;
/// `.` and four hex digits.
const HASH_CHARS: usize = 5;

/// The user id of a nick: the nick itself where it is a user id already; else
/// with `_` for each character that the alphabet `[A-Za-z0-9_.:@-]` lacks,
/// and `.` and four hex digits of a hash of the nick, so that `|jane|` and
/// `[jane]` stay two users. The same for ever for the same nick.
///
/// # Panics
/// Never: what is made is a user id.
#[must_use]
pub fn user_id(nick: &str) -> UserId {
    if let Ok(user) = UserId::parse(nick) {
        return user;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
    let mut text: String = nick
        .chars()
        .take(MAX_CHARS - HASH_CHARS)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    let hash = Uuid::new_v5(&NAMESPACE, format!("irc nick\n{nick}").as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    text.push_str(&format!(".{first:02x}{second:02x}"));
    UserId::parse(&text).expect("only characters of the alphabet, and not too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_become_user_ids() {
        let cases = [
            ("alice", "alice"),
            ("ziggi_", "ziggi_"),
            ("|trey|", "_trey_.d25b"),
            ("[trey]", "_trey_.ef97"),
            ("Ruffian|JANE|", "Ruffian_JANE_.d419"),
            ("brad[] ", "brad___.397c"),
            ("grün", "gr_n.151b"),
            ("", ".198b"),
        ];
        for (nick, expected) in cases {
            assert_eq!(user_id(nick).as_str(), expected, "{nick}");
        }
    }

    #[test]
    fn a_long_nick_is_cut_and_told_apart() {
        let (one, other) = ("x".repeat(80), "x".repeat(81));
        assert_eq!(user_id(&one).as_str().len(), MAX_CHARS);
        assert_ne!(user_id(&one), user_id(&other));
    }
}
