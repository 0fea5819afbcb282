//! The statements that only read, written once for both databases.

use crate::machine::AttemptRow;

use super::Standing;
use super::columns;
use super::dialect::Dialect;

/// The texts of the statements for one database. Their parameters are numbered from `$1`.
pub(crate) struct Select {
    /// One action, by its id.
    pub(crate) load: String,
    /// One action, by its dependency and either of its keys. The caller's key comes first, so that a caller finds its own
    /// action even if another action is sent under this key.
    pub(crate) find: String,
    /// The members of a scope, in the order of recording.
    pub(crate) members: String,
    /// The attempt log of an action. Its first column is the action's id.
    pub(crate) attempts: String,
    /// The marks of an action.
    pub(crate) marks: String,
    /// The numbers of a dependency's rows that are due at some time, as [`counts`](super::kept::counts) reads them.
    pub(crate) open: String,
    /// The same for its stuck rows.
    pub(crate) stuck: String,
    all: String,
    of_open: String,
    of_ended: String,
    of_stuck: String,
}

impl Select {
    pub(crate) fn of(dialect: Dialect) -> Select {
        let [action, attempt, mark] = ["action", "attempt", "mark"].map(|name| dialect.table(name));
        let select = |rest: &str| format!("SELECT {} FROM {action} {rest}", columns::action());
        let (dependency, word) = (dialect.text("$2"), dialect.text("$4"));
        let list = |which: &str| {
            let of = format!("({dependency} IS NULL OR dependency = $2)");
            select(&format!("WHERE id > $1 AND {of}{which} ORDER BY id LIMIT $3"))
        };
        let logged = columns::names::<AttemptRow>();
        Select {
            load: select("WHERE id = $1"),
            find: select(
                "WHERE dependency = $1 AND (key = $2 OR sent_key = $2) ORDER BY key = $2 DESC LIMIT 1",
            ),
            members: select("WHERE scope = $1 ORDER BY id"),
            attempts: format!("SELECT action, {logged} FROM {attempt} WHERE action = $1 ORDER BY number"),
            marks: format!("SELECT at, who, what, why FROM {mark} WHERE action = $1 ORDER BY id"),
            open: format!(
                "SELECT count(*), count(*) FILTER (WHERE ended IS NULL), \
                 count(*) FILTER (WHERE ended IS NULL AND effect = 'unknown'), \
                 count(*) FILTER (WHERE ended IS NULL AND handler_tries > 0), min(created_at) FROM \
                 (SELECT effect, ended, handler_tries, created_at FROM {action} \
                 WHERE dependency = $1 AND due_at IS NOT NULL ORDER BY operation, due_at LIMIT $2) AS looked_at"
            ),
            stuck: format!(
                "SELECT count(*), min(created_at) FROM (SELECT created_at FROM {action} \
                 WHERE dependency = $1 AND ended = 'stuck' ORDER BY id LIMIT $2) AS looked_at"
            ),
            all: list(""),
            of_open: list(&format!(" AND ended IS NULL AND ({word} IS NULL OR effect = $4)")),
            of_ended: list(" AND ended = $4"),
            of_stuck: list(" AND ended = 'stuck'"),
        }
    }

    /// Returns the statement that lists the actions with this standing, and its fourth parameter if it has one.
    pub(crate) fn list(&self, standing: Option<Standing>) -> (&str, Word) {
        match standing {
            None => (&self.all, Word::None),
            Some(Standing::Open) => (&self.of_open, Word::Bound(None)),
            Some(Standing::Unknown) => (&self.of_open, Word::Bound(Some("unknown"))),
            Some(Standing::Stuck) => (&self.of_stuck, Word::None),
            Some(ended @ (Standing::Done | Standing::Failed | Standing::Cancelled)) => {
                (&self.of_ended, Word::Bound(Some(ended.as_str())))
            }
        }
    }
}

/// Whether a statement has a fourth parameter, and its value.
pub(crate) enum Word {
    None,
    Bound(Option<&'static str>),
}
