use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::history::StoreError;

/// A row with this `_id` is there already.
const DUPLICATE_KEY: i32 = 11_000;

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
        // write concern not reached in time, conflicts, no space left.
        6 | 7 | 24 | 46 | 50 | 64 | 89 | 91 | 112 | 117 | 133 | 189 | 202 | 262 | 9001 | 10_107
        | 11_600 | 11_602 | 13_435 | 13_436 | 14_031 => StoreError::Transient(message),
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

/// The one error that says what to do about many: what makes all of it wait
/// comes before what is wrong with a single row. Rows that are there already
/// are no error.
pub(super) fn of_write_errors<'a>(
    errors: impl IntoIterator<Item = (i32, &'a str)>,
) -> Result<(), StoreError> {
    let rank = |error: &StoreError| match error {
        StoreError::Fatal(_) => 0,
        StoreError::Transient(_) => 1,
        StoreError::Saturated(_) => 2,
        StoreError::Data(_) => 3,
    };
    errors
        .into_iter()
        .filter(|(code, _)| *code != DUPLICATE_KEY)
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
    of_write_errors(errors.map(|error| (error.code, error.message.as_str())))
}

#[cfg(test)]
mod tests {
    use super::{StoreError, of_write_errors};

    #[test]
    fn rows_that_are_there_are_no_error() {
        assert_eq!(
            of_write_errors([(11_000, "duplicate key"), (11_000, "duplicate key")]),
            Ok(())
        );
    }

    #[test]
    fn what_makes_all_wait_comes_before_what_one_row_did() {
        let errors = [
            (121, "validation"),
            (11_000, "duplicate key"),
            (10_107, "not primary"),
        ];
        assert!(matches!(
            of_write_errors(errors),
            Err(StoreError::Transient(_))
        ));
        let errors = [(11_000, "duplicate key"), (99_999, "who knows")];
        assert!(matches!(of_write_errors(errors), Err(StoreError::Data(_))));
        assert!(matches!(
            of_write_errors([(16_500, "rate")]),
            Err(StoreError::Saturated(_))
        ));
        assert!(matches!(
            of_write_errors([(13, "not authorized")]),
            Err(StoreError::Fatal(_))
        ));
    }
}
