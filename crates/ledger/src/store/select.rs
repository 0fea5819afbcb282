//! The statements that only read, written once for both databases.

use crate::machine::AttemptRow;

use super::columns;
use super::dialect::Dialect;
use super::{Filter, Standing};

/// The SQL for the standing of a row, in the words of [`Standing`]. The index `action_standing` of both databases has
/// the same expression after the dependency and before the id. The databases use the index only if the two expressions
/// are equal.
const STANDING: &str = "coalesce(ended, CASE WHEN effect = 'unknown' THEN effect ELSE 'open' END)";

/// The texts of the statements for one database. Their parameters are numbered from `$1`.
pub(crate) struct Select {
    /// The statement that reads one action by its id.
    pub(crate) load: String,
    /// The statement that finds one action by its dependency and a key: the caller's key or the key under which it is
    /// sent. An action with this caller's key comes first. So a caller finds its own action even if another action is
    /// sent under this key.
    pub(crate) find: String,
    /// The statement that reads the members of a scope (actions that settle together), in the order of recording.
    pub(crate) members: String,
    /// The statement that reads the attempt log of an action. Its first column is the action's id.
    pub(crate) attempts: String,
    /// The statement that reads the marks of an action.
    pub(crate) marks: String,
    /// The statement that counts a dependency's rows which have a due time, now or later. All open rows have one, and
    /// so has an ended row about which the provider is still to be asked. [`counts`](super::kept::counts) reads the
    /// result.
    pub(crate) open: String,
    /// The statement that counts a dependency's stuck rows. Its result has the same columns as that of `open`.
    pub(crate) stuck: String,
    all: String,
    /// The statements that list actions. For each standing there are two: one lists the actions of one dependency, and
    /// the other those of all dependencies. The statements beside `None` list actions with any standing.
    lists: Vec<(Option<Standing>, [String; 2])>,
}

impl Select {
    pub(crate) fn of(dialect: Dialect) -> Select {
        let [action, attempt, mark] = ["action", "attempt", "mark"].map(|name| dialect.table(name));
        let select = |rest: &str| format!("SELECT {} FROM {action} {rest}", columns::action());
        let logged = columns::names::<AttemptRow>();
        Select {
            load: select("WHERE id = $1"),
            find: select(
                "WHERE dependency = $1 AND (key = $2 OR sent_key = $2) ORDER BY key = $2 DESC LIMIT 1",
            ),
            members: select("WHERE scope = $1 ORDER BY id"),
            attempts: format!("SELECT action, {logged} FROM {attempt} WHERE action = $1 ORDER BY number"),
            marks: format!(
                "SELECT at, who, what, why, via, was, became FROM {mark} WHERE action = $1 ORDER BY id"
            ),
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
            all: select("WHERE id > $1 ORDER BY id LIMIT $2"),
            lists: Standing::ALL
                .into_iter()
                .map(Some)
                .chain([None])
                .map(|standing| {
                    let words = words(standing);
                    (standing, [one(dialect), each(dialect)].map(|of| list(dialect, &of, &words)))
                })
                .collect(),
        }
    }

    /// Returns the statement that lists the actions which match the filter. Its parameters are the id after which the
    /// list begins, the maximum number of actions and, if the filter names one, the dependency.
    pub(crate) fn list(&self, filter: &Filter) -> &str {
        if filter.dependency.is_none() && filter.standing.is_none() {
            return &self.all;
        }
        let of = self.lists.iter().find(|(standing, _)| *standing == filter.standing);
        let (_, [one, each]) = of.expect("there is a statement for each standing");
        if filter.dependency.is_some() { one } else { each }
    }
}

/// Returns an SQL table of the words that the expression [`STANDING`] can give to rows of this standing. With `None`,
/// the table has all words. For example, an open row can have the words `open` and `unknown`.
fn words(standing: Option<Standing>) -> String {
    let words = match standing {
        None => Standing::ALL.to_vec(),
        Some(Standing::Open) => vec![Standing::Open, Standing::Unknown],
        Some(one) => vec![one],
    };
    let rows: Vec<String> = words.iter().map(|word| format!("('{}')", word.as_str())).collect();
    format!("(SELECT column1 AS word FROM (VALUES {}) AS v) AS s", rows.join(", "))
}

/// Returns the SQL for a list of dependencies that has only one: the third parameter of the statement.
fn one(dialect: Dialect) -> String {
    format!("SELECT {}", dialect.text("$3"))
}

/// Returns the SQL for a list of all dependencies. Each dependency is found by one search of an index, while `SELECT
/// DISTINCT` would read all rows. The list ends with a NULL, since the search for the dependency after the last one
/// finds nothing.
fn each(dialect: Dialect) -> String {
    let action = dialect.table("action");
    format!(
        "SELECT min(dependency) FROM {action} UNION ALL \
         SELECT (SELECT min(a.dependency) FROM {action} a WHERE a.dependency > d.name) FROM dependencies d \
         WHERE d.name IS NOT NULL"
    )
}

/// Returns the SQL for a page of a list. For each dependency and each standing, the index `action_standing` has the ids
/// in order. Such a series of ids is called a stream here. The statement merges the streams into one order, and then
/// reads only the rows of the page. So it never reads a row that is not in the list, even if the list has only a few
/// rows of a large table.
///
/// The obvious statement has the filter in its WHERE. Both databases then prefer to read all rows in the order of their
/// ids, since they expect to find a full page soon. If few rows match, they read the whole table.
fn list(dialect: Dialect, dependencies: &str, words: &str) -> String {
    let (action, all) = (dialect.table("action"), columns::action());
    let next = |name: &str, word: &str, after: &str| {
        format!(
            "SELECT a.id FROM {action} a WHERE a.dependency = {name} AND {STANDING} = {word} AND a.id > {after} \
             ORDER BY a.id"
        )
    };
    let streams = format!("FROM dependencies AS d CROSS JOIN {words}");
    match dialect {
        // In SQLite, a recursive query keeps the rows that it has still to handle in a queue. With ORDER BY it takes
        // the smallest of them in each step. Here the queue has the next id of each stream, so each step takes the
        // smallest id and then adds the next id of the same stream. In this way the query merges the streams.
        Dialect::Sqlite => format!(
            "WITH RECURSIVE dependencies (name) AS ({dependencies}), page (name, word, id) AS (\
             SELECT d.name, s.word, ({} LIMIT 1) {streams} UNION ALL \
             SELECT p.name, p.word, ({} LIMIT 1) FROM page AS p WHERE p.id IS NOT NULL \
             ORDER BY 3 NULLS LAST LIMIT $2) \
             SELECT {all} FROM {action} WHERE id IN (SELECT id FROM page) ORDER BY id",
            next("d.name", "s.word", "$1"),
            next("p.name", "p.word", "p.id"),
        ),
        // From each stream, as many ids are read as a page has, since all ids of the page can be in one stream. The
        // planner could also choose the primary key here, and would then read rows of other streams. `NULLS FIRST`
        // prevents that choice: the index `action_standing` has this order, and the primary key does not.
        Dialect::Postgres => format!(
            "WITH RECURSIVE dependencies (name) AS ({dependencies}), page AS (\
             SELECT i.id {streams} CROSS JOIN LATERAL ({} NULLS FIRST LIMIT $2) AS i ORDER BY i.id LIMIT $2) \
             SELECT {all} FROM {action} WHERE id = ANY (ARRAY(SELECT id FROM page)) ORDER BY id",
            next("d.name", "s.word", "$1"),
        ),
    }
}
