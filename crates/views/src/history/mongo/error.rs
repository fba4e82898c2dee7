use mongodb::bson::{Bson, Document};
use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::history::StoreError;

/// A row with this `_id` is there already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;
/// The collection is not there.
pub(super) const NO_SUCH_COLLECTION: i32 = 26;

/// What an error of the driver means for whoever wanted to write or read.
pub(super) fn classify(error: &Error) -> StoreError {
    let message = error.to_string();
    match error.kind.as_ref() {
        ErrorKind::Command(command) => of_code(command.code, message, StoreError::Transient),
        ErrorKind::Write(WriteFailure::WriteError(write)) => {
            of_code(write.code, message, StoreError::Data)
        }
        ErrorKind::BsonSerialization(_)
        | ErrorKind::BsonDeserialization(_)
        | ErrorKind::Bson(_) => StoreError::Data(message),
        ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::Shutdown => StoreError::Fatal(message),
        // Not reachable, no primary, connection lost, answer cut short.
        _ => StoreError::Transient(message),
    }
}

/// Classes by the server's codes, from `src/mongo/base/error_codes.yml` of
/// MongoDB's sources; 429 and 16500 are Azure Cosmos DB's.
fn of_code(code: i32, message: String, otherwise: fn(String) -> StoreError) -> StoreError {
    match code {
        // Unreachable, not primary, shutting down, timed out, interrupted,
        // write concern not reached in time, conflicts, no space left; and two
        // upserts of one `_id` at once, one of which inserted it.
        6 | 7 | 24 | 46 | 50 | 64 | 89 | 91 | 112 | 117 | 133 | 189 | 202 | 262 | 9001 | 10_107
        | 11_600 | 11_602 | 13_435 | 13_436 | 14_031 | DUPLICATE_KEY => {
            StoreError::Transient(message)
        }
        // Asked to slow down, or out of memory for this.
        146 | 429 | 462 | 16_500 => StoreError::Saturated(message),
        // Not allowed, not authenticated, unknown command or option, index or
        // collection that is there with other options, bad name.
        13 | 18 | 48 | 59 | 67 | 72 | 73 | 85 | 86 => StoreError::Fatal(message),
        // Bad value or type, invalid or too large BSON, refused by a
        // validator, key too long, resulting document too large.
        2 | 14 | 22 | 121 | 10_334 | 17_280 | 17_419 | 17_420 => StoreError::Data(message),
        _ => otherwise(message),
    }
}

/// Whether a single insert found its `_id` taken.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    matches!(
        error.kind.as_ref(),
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY
    )
}

/// The one error that says what to do about many: what makes all of it wait
/// comes before what is wrong with a single row.
fn worst_of<'a>(errors: impl IntoIterator<Item = (i32, &'a str)>) -> Result<(), StoreError> {
    let rank = |error: &StoreError| match error {
        StoreError::Fatal(_) => 0,
        StoreError::Transient(_) => 1,
        StoreError::Saturated(_) => 2,
        StoreError::Data(_) => 3,
    };
    errors
        .into_iter()
        .map(|(code, message)| {
            of_code(
                code,
                format!("write error {code}: {message}"),
                StoreError::Data,
            )
        })
        .min_by_key(rank)
        .map_or(Ok(()), Err)
}

/// The result of an unordered insert, without the rows that were there.
pub(super) fn of_insert<T>(result: Result<T, Error>) -> Result<(), StoreError> {
    let Err(error) = result else { return Ok(()) };
    let ErrorKind::InsertMany(failed) = error.kind.as_ref() else {
        return Err(classify(&error));
    };
    if let Some(concern) = &failed.write_concern_error {
        return Err(StoreError::Transient(format!(
            "write concern error {}: {}",
            concern.code, concern.message
        )));
    }
    let errors = failed.write_errors.iter().flatten();
    let others = errors.filter(|error| error.code != DUPLICATE_KEY);
    worst_of(others.map(|error| (error.code, error.message.as_str())))
}

/// The result of an update command. The driver is content where the command as
/// a whole was; what became of each statement stands in the answer.
pub(super) fn of_update(answer: &Document) -> Result<(), StoreError> {
    if let Ok(concern) = answer.get_document("writeConcernError") {
        return Err(StoreError::Transient(format!(
            "write concern error: {concern}"
        )));
    }
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(());
    };
    worst_of(errors.iter().filter_map(Bson::as_document).map(|error| {
        let code = error.get_i32("code").unwrap_or_default();
        (code, error.get_str("errmsg").unwrap_or_default())
    }))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::{StoreError, of_update, worst_of};

    #[test]
    fn what_makes_all_wait_comes_before_what_one_row_did() {
        let errors = [(121, "validation"), (10_107, "not primary")];
        assert!(matches!(worst_of(errors), Err(StoreError::Transient(_))));
        let unknown = [(99_999, "who knows")];
        assert!(matches!(worst_of(unknown), Err(StoreError::Data(_))));
        assert!(matches!(
            worst_of([(16_500, "rate")]),
            Err(StoreError::Saturated(_))
        ));
        assert!(matches!(
            worst_of([(13, "not authorized")]),
            Err(StoreError::Fatal(_))
        ));
        assert_eq!(worst_of([]), Ok(()));
    }

    #[test]
    fn each_statement_of_an_update_is_looked_at() {
        assert_eq!(of_update(&doc! { "ok": 1, "n": 3 }), Ok(()));
        let raced = doc! { "ok": 1, "writeErrors": [{ "index": 0, "code": 11_000 }] };
        assert!(matches!(of_update(&raced), Err(StoreError::Transient(_))));
        let bad = doc! { "ok": 1, "writeErrors": [
            { "index": 1, "code": 121, "errmsg": "failed validation" },
        ] };
        assert!(matches!(of_update(&bad), Err(StoreError::Data(_))));
        let concern = doc! { "ok": 1, "writeConcernError": { "code": 64 } };
        assert!(matches!(of_update(&concern), Err(StoreError::Transient(_))));
    }
}
