//! Actions of the ledger, for the people who look after it: lists, one action with its story, and how many are stuck.

pub(super) mod orders;
pub(super) mod view;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use seawall_ledger::store::Standing;
use seawall_ledger::{Action, ActionId, Error, Refusal};
use serde_json::{Value, json};

use super::body::bad;
use super::desk::Desk;
use super::problem::AdminProblem;
use crate::durable::books::Books;
use crate::durable::shown::View;
use crate::request::asked::key_of;
use crate::running::compiled::Compiled;
use crate::running::durable::DurableOperation;
use view::{ActionPage, ActionRow, StuckView};
use wanted::Wanted;

/// How long the ledger may take to say how many actions are stuck, where that is shown beside other things.
const COUNT_TIME: Duration = Duration::from_secs(2);

/// Answers a list. Without `state` these come first: what is stuck, then what is open with an unknown effect, then what is
/// open otherwise.
pub(super) async fn list(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<Json<ActionPage>, AdminProblem> {
    let wanted = Wanted::read(uri.query().unwrap_or_default()).map_err(bad)?;
    let books = desk.books().await?;
    if let (Some(dependency), Some(key)) = (&wanted.dependency, &wanted.key) {
        let found = match books.find(dependency, key).await {
            Ok(action) => vec![desk.row(&books, &action).await],
            Err(Error::Refused(Refusal::NotFound)) => Vec::new(),
            Err(error) => return Err(failed(&error)),
        };
        return Ok(Json(ActionPage { actions: found, next: None }));
    }
    let standings = wanted.standings();
    let mut page = ActionPage { actions: Vec::new(), next: None };
    let mut after = wanted.after;
    for (at, standing) in standings.iter().enumerate() {
        if after.is_some_and(|(from, _)| from > at) {
            continue;
        }
        let from = after.take().and_then(|(_, id)| id);
        let most = wanted.limit - u32::try_from(page.actions.len()).unwrap_or(u32::MAX);
        let found = books.search(wanted.search(*standing), from, most).await.map_err(|e| failed(&e))?;
        for action in &found.actions {
            // The filter for open actions also finds those with an unknown effect, which were listed before.
            if standings.len() == 1 || Some(Standing::of(&action.state)) == *standing {
                page.actions.push(desk.row(&books, action).await);
            }
        }
        let is_full = page.actions.len() >= usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        page.next = match found.next {
            Some(id) => Some(format!("{at}:{id}")),
            None if is_full && at + 1 < standings.len() => Some(format!("{}:", at + 1)),
            None => None,
        };
        if page.next.is_some() {
            break;
        }
    }
    Ok(Json(page))
}

/// Answers how many actions are stuck, for each operation.
pub(super) async fn counts(State(desk): State<Arc<Desk>>) -> Result<Json<Value>, AdminProblem> {
    let counts = desk.books().await?.stuck_counts().await.map_err(|error| failed(&error))?;
    let stuck: Vec<StuckView> = counts.into_iter().map(StuckView::of).collect();
    let number: u64 = stuck.iter().map(|of| of.number).sum();
    Ok(Json(json!({ "number": number, "stuck": stuck })))
}

/// Answers one action with its attempts and with what people did with it.
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, AdminProblem> {
    let id = id_of(&id)?;
    let books = desk.books().await?;
    let story = books.story(id).await.map_err(|error| failed(&error))?;
    let compiled = desk.running.compiled.load_full();
    let operation = operation(&compiled, &story.action);
    let view = desk.view(&books, &story.action, operation).await;
    Ok(Json(view::story(&story, view)))
}

fn id_of(text: &str) -> Result<ActionId, AdminProblem> {
    ActionId::parse(text).ok_or_else(|| bad(format!("`{text}` is not the id of an action")))
}

/// Returns the problem to answer when the ledger fails with this error.
fn failed(error: &Error) -> AdminProblem {
    let status = match error {
        Error::Refused(Refusal::NotFound) => StatusCode::NOT_FOUND,
        Error::Refused(_) | Error::Misused(_) => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    AdminProblem::new(status, view::in_words(error))
}

fn operation<'c>(compiled: &'c Compiled, action: &Action) -> Option<&'c DurableOperation> {
    let (_, dependency) = compiled.by_name(&action.dependency)?;
    let mut durable = dependency.operations.durable();
    durable.find(|operation| *operation.name == *action.operation).map(Arc::as_ref)
}

impl Desk {
    /// Returns the ledger.
    ///
    /// # Errors
    /// If it is not open. The problem says why.
    async fn books(&self) -> Result<Books, AdminProblem> {
        match self.ledger.books() {
            Ok(books) => Ok(books),
            Err(_) => {
                let compiled = self.running.compiled.load_full();
                let used = compiled.dependencies.iter().any(|it| it.operations.durable().next().is_some());
                let how = self.ledger.in_words(used).await;
                Err(AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the ledger is {how}")))
            }
        }
    }

    async fn view<'a>(
        &self,
        books: &Books,
        action: &'a Action,
        operation: Option<&'a DurableOperation>,
    ) -> View<'a> {
        let undeclared = operation.is_none()
            && action.state.end().is_none()
            && self.ledger.is_undeclared(books, &action.dependency, &action.operation).await;
        View {
            key: key_of(action, operation),
            rules: operation.map(|operation| &operation.rules),
            undeclared,
        }
    }

    async fn row(&self, books: &Books, action: &Action) -> ActionRow {
        let compiled = self.running.compiled.load_full();
        ActionRow::of(action, self.view(books, action, operation(&compiled, action)).await)
    }

    /// Returns the numbers of stuck actions; `None` if there is no ledger, or if it does not answer in time.
    pub(super) async fn stuck(&self) -> Option<Vec<StuckView>> {
        let books = self.ledger.books().ok()?;
        let counts = tokio::time::timeout(COUNT_TIME, books.stuck_counts()).await.ok()?.ok()?;
        Some(counts.into_iter().map(StuckView::of).collect())
    }
}
