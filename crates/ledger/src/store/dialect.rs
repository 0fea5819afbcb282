//! What differs between the SQL of the two databases. A statement is composed of these parts, so it is written only
//! once.

use std::time::Duration;

/// The SQL dialects of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The dialect of SQLite. Times are microseconds, and ids are text.
    Sqlite,
    /// The dialect of PostgreSQL. Times are `timestamptz`, and ids are `uuid`.
    Postgres,
}

impl Dialect {
    pub(crate) fn table(self, name: &str) -> String {
        match self {
            Dialect::Sqlite => format!("seawall_{name}"),
            Dialect::Postgres => format!("seawall.{name}"),
        }
    }

    /// Returns `text` as an SQL literal. The text must not contain the character NUL.
    pub(crate) fn literal(self, text: &str) -> String {
        let quoted = text.replace('\'', "''");
        match self {
            // In PostgreSQL, the meaning of a backslash in `'…'` depends on a setting. In `E'…'`, a doubled backslash
            // always means one backslash.
            Dialect::Postgres if text.contains('\\') => format!("E'{}'", quoted.replace('\\', "\\\\")),
            Dialect::Postgres | Dialect::Sqlite => format!("'{quoted}'"),
        }
    }

    /// Returns the SQL for the time that is `micros` microseconds after the time `at`.
    pub(crate) fn plus(self, at: &str, micros: &str) -> String {
        match self {
            Dialect::Sqlite => format!("({at} + {micros})"),
            Dialect::Postgres => format!("({at} + {micros} * interval '1 microsecond')"),
        }
    }

    /// Returns the SQL for a time `span` after the time `at`.
    pub(crate) fn later(self, at: &str, span: Duration) -> String {
        self.plus(at, &span.as_micros().to_string())
    }

    /// Returns the SQL for a counter: the number of entries that this connection has read from the index of due rows.
    /// A statement reads the counter before and after a search. The difference is the number of entries that the
    /// search has read, old entries of rows that were changed included.
    ///
    /// For SQLite, the counter is always 0. For PostgreSQL, it is always 0 if the server's setting `track_counts` is
    /// off.
    pub(crate) fn walked(self) -> &'static str {
        match self {
            Dialect::Sqlite => "0",
            Dialect::Postgres => {
                "coalesce(pg_stat_get_xact_tuples_returned(to_regclass('seawall.action_due')), 0)"
            }
        }
    }

    /// Returns the SQL for the time that is `micros` microseconds after 1970-01-01 00:00 UTC.
    pub(crate) fn at(self, micros: &str) -> String {
        match self {
            Dialect::Sqlite => micros.to_owned(),
            Dialect::Postgres => format!("(timestamptz 'epoch' + {micros} * interval '1 microsecond')"),
        }
    }

    /// Returns the SQL for the number of microseconds from 1970-01-01 00:00 UTC to the time `at`.
    pub(crate) fn micros(self, at: &str) -> String {
        match self {
            Dialect::Sqlite => at.to_owned(),
            Dialect::Postgres => format!("(extract(epoch from {at}) * 1000000)::bigint"),
        }
    }

    /// Returns the SQL that turns `text` into the database's type for an action's id.
    pub(crate) fn id(self, text: &str) -> String {
        match self {
            Dialect::Sqlite => text.to_owned(),
            Dialect::Postgres => format!("{text}::uuid"),
        }
    }

    /// Returns the SQL for a parameter that is text or null.
    pub(crate) fn text(self, parameter: &str) -> String {
        match self {
            Dialect::Sqlite => parameter.to_owned(),
            Dialect::Postgres => format!("{parameter}::text"),
        }
    }

    /// Returns the SQL for an action's id as text.
    pub(crate) fn id_text(self, id: &str) -> String {
        match self {
            Dialect::Sqlite => id.to_owned(),
            Dialect::Postgres => format!("{id}::text"),
        }
    }

    /// Returns the SQL for the value of a column of bytes, or for null if the value has more than `most` bytes.
    pub(crate) fn bytes_within(self, column: &str, most: usize) -> String {
        match self {
            Dialect::Sqlite => format!("CASE WHEN length({column}) <= {most} THEN {column} END"),
            Dialect::Postgres => format!("CASE WHEN octet_length({column}) <= {most} THEN {column} END"),
        }
    }

    /// Returns a hint for a statement. The hint makes SQLite search the listed records by their key; for PostgreSQL the
    /// hint is empty. Without it, SQLite assumes that a report has about ten rows, because it has no statistics. Then
    /// it would read all rows of the report for each key.
    pub(crate) const fn by_key(self) -> &'static str {
        match self {
            Dialect::Sqlite => " INDEXED BY seawall_listed_key",
            Dialect::Postgres => "",
        }
    }

    /// Returns the SQL for a column in a condition that is not meant to be searched by an index. For SQLite, the column
    /// is written as `+column`, and then SQLite does not choose an index on it. For PostgreSQL, it is the column's name
    /// alone.
    pub(crate) fn unsearched(self, column: &str) -> String {
        match self {
            Dialect::Sqlite => format!("+{column}"),
            // PostgreSQL has statistics, and chooses a good index by itself. So the column needs no change.
            Dialect::Postgres => column.to_owned(),
        }
    }

    /// Returns the SQL for a table `r` that is made from a JSON array of objects. `#` before a field's name means that
    /// the field is a number.
    pub(crate) fn records(self, json: &str, fields: &[&str]) -> String {
        let columns = fields.iter().map(|field| match (self, field.strip_prefix('#')) {
            (Dialect::Sqlite, number) => {
                let name = number.unwrap_or(field);
                format!("json_extract(value, '$.{name}') AS {name}")
            }
            (Dialect::Postgres, Some(number)) => format!("{number} bigint"),
            (Dialect::Postgres, None) => format!("{field} text"),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        match self {
            Dialect::Sqlite => format!("(SELECT {columns} FROM json_each({json})) AS r"),
            Dialect::Postgres => format!("jsonb_to_recordset({json}::jsonb) AS r({columns})"),
        }
    }
}
