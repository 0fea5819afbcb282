//! The provider's business: charges, refunds, customers.
//!
//! Each request is one synchronous step under the lock of the books. So no other request can see an effect without its
//! entry in the books.

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::asked::{Asked, Reply};
use super::books::{Charge, Entry, Pages, Refund, Status};

impl Pages {
    /// Does what the request asks for, and enters it in the books with the time `at`. Returns the answer.
    pub(super) fn perform(&mut self, asked: &Asked, at: Timestamp) -> Reply {
        let segments: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        let method = if asked.method == Method::HEAD { &Method::GET } else { &asked.method };
        let allowed = match segments.as_slice() {
            ["health"] | ["v1", "ping"] => "GET",
            ["v1", "charges"] => "GET, POST",
            ["v1", "charges", _] => "GET, DELETE",
            ["v1", "refunds"] => "POST",
            ["v1", "refunds", _] => "GET",
            ["v1", "customers", _] => "GET, PUT",
            _ => return Reply::not_found("nothing here"),
        };
        if !allowed.split(", ").any(|name| name == method.as_str()) {
            let refusal = Reply::refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("here only {allowed}"));
            return Reply { allow: Some(allowed), ..refusal };
        }
        match (method.as_str(), segments.as_slice()) {
            ("GET", ["health"]) => Reply::ok(&json!({ "status": "ok" })),
            ("GET", ["v1", "ping"]) => Reply::ok(&json!({ "pong": true })),
            ("POST", ["v1", "charges"]) => self.charge(asked, at),
            ("GET", ["v1", "charges"]) => match asked.parameter("key") {
                Some(key) => self.find(self.charge_by_key.get(&key).copied()),
                None => self.list(asked),
            },
            ("GET", ["v1", "charges", id]) => self.find(self.charge_by_id.get(*id).copied()),
            ("DELETE", ["v1", "charges", id]) => self.delete(asked, id),
            ("POST", ["v1", "refunds"]) => self.refund(asked, at),
            ("GET", ["v1", "refunds", id]) => match self.refunds.iter().find(|refund| refund.id == *id) {
                Some(refund) => Reply::ok(refund),
                None => Reply::not_found("no such refund"),
            },
            ("GET", ["v1", "customers", id]) => match self.customers.get(*id) {
                Some(customer) => Reply::ok(customer),
                None => Reply::not_found("no such customer"),
            },
            // All other requests that `allowed` lets through were handled above, so this one is a PUT of a customer.
            (_, rest) => self.put_customer(asked, rest.last().copied().unwrap_or_default()),
        }
    }

    fn charge(&mut self, asked: &Asked, at: Timestamp) -> Reply {
        let Ok(Value::Object(order)) = serde_json::from_slice(&asked.body) else {
            return Reply::wrong("a charge is a JSON object with `amount` and `currency`");
        };
        let Some(amount) = order.get("amount").and_then(Value::as_u64).filter(|amount| *amount > 0) else {
            return Reply::wrong("`amount` must be a whole number above zero");
        };
        let mut metadata = match order.get("metadata") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(given)) => given.clone(),
            Some(_) => return Reply::wrong("`metadata` must be an object"),
        };
        let currency = match order.get("currency") {
            None => "usd".to_owned(),
            Some(Value::String(given)) => given.clone(),
            Some(_) => return Reply::wrong("`currency` must be a string"),
        };
        let declined = amount == 402 || metadata.get("decline") == Some(&Value::Bool(true));
        if let Some(key) = &asked.key {
            metadata.insert("key".to_owned(), Value::String(key.clone()));
        }
        let charge = Charge {
            id: self.next_id("ch"),
            amount,
            amount_refunded: 0,
            currency,
            status: if declined { Status::Failed } else { Status::Succeeded },
            code: if declined { "DECLINED" } else { "OK" },
            created: at,
            key: asked.key.clone(),
            metadata,
        };
        let reply = Reply::ok(&charge);
        if !declined {
            self.enter(asked);
            self.kept += asked.body.len();
            let position = self.charges.len();
            self.charge_by_id.insert(charge.id.clone(), position);
            if let Some(key) = &asked.key {
                self.charge_by_key.insert(key.clone(), position);
            }
            self.charges.push(Entry { charge, deleted: false });
        }
        reply
    }

    fn find(&self, position: Option<usize>) -> Reply {
        match position.and_then(|at| self.charges.get(at)).filter(|entry| !entry.deleted) {
            Some(entry) => Reply::ok(&entry.charge),
            None => Reply::not_found("no such charge"),
        }
    }

    /// Returns one page of charges, the oldest first. The query's `from` and `to` choose them by the time at which they
    /// were made: `from` itself is included, `to` is not. The cursor of the next page is the id of the last charge on
    /// this page.
    fn list(&self, asked: &Asked) -> Reply {
        let (from, to) = match (moment(asked, "from"), moment(asked, "to")) {
            (Ok(from), Ok(to)) => (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX)),
            (Err(why), _) | (_, Err(why)) => return Reply::wrong(&why),
        };
        let limit = match asked.parameter("limit").map(|limit| limit.parse()) {
            None => 100,
            Some(Ok(limit @ 1..=1000)) => limit,
            Some(_) => return Reply::wrong("`limit` lies between 1 and 1000"),
        };
        let start = match asked.parameter("cursor").filter(|cursor| !cursor.is_empty()) {
            None => 0,
            Some(cursor) => match self.charge_by_id.get(&cursor) {
                Some(at) => at + 1,
                None => return Reply::wrong("no such cursor"),
            },
        };
        let within = |charge: &&Charge| from <= charge.created && charge.created < to;
        let mut rest = self.charges[start..].iter().filter(|e| !e.deleted).map(|e| &e.charge).filter(within);
        let data: Vec<&Charge> = rest.by_ref().take(limit).collect();
        let next = rest.next().and_then(|_| data.last().map(|charge| charge.id.clone()));
        Reply::ok(&json!({ "data": data, "next": next }))
    }

    /// Deletes a charge, and returns the answer. A second delete of the charge is no new effect, and gets the answer
    /// that the first one got.
    fn delete(&mut self, asked: &Asked, id: &str) -> Reply {
        let Some(entry) = self.charge_by_id.get(id).and_then(|at| self.charges.get_mut(*at)) else {
            return Reply::not_found("no such charge");
        };
        if !std::mem::replace(&mut entry.deleted, true) {
            self.enter(asked);
        }
        Reply { status: StatusCode::NO_CONTENT, body: Bytes::new(), allow: None }
    }

    /// Refunds a charge, and returns the answer.
    ///
    /// - Without an amount: refunds all that is left of the charge. If nothing is left, answers with the last refund of
    ///   the charge and does nothing.
    /// - With an amount: refunds this amount. If less than this amount is left of the charge, answers that the amount
    ///   is wrong and does nothing.
    fn refund(&mut self, asked: &Asked, at: Timestamp) -> Reply {
        let Ok(Value::Object(order)) = serde_json::from_slice(&asked.body) else {
            return Reply::wrong("a refund is a JSON object with `charge`");
        };
        let Some(id) = order.get("charge").and_then(Value::as_str) else {
            return Reply::wrong("`charge` must be the id of a charge");
        };
        let refund_id = self.next_id("re");
        let Some(entry) =
            self.charge_by_id.get(id).and_then(|at| self.charges.get_mut(*at)).filter(|e| !e.deleted)
        else {
            return Reply::not_found("no such charge");
        };
        let charge = &mut entry.charge;
        let left = charge.amount - charge.amount_refunded;
        let amount = match order.get("amount") {
            None | Some(Value::Null) if left == 0 => {
                let done = self.refunds.iter().rev().find(|refund| refund.charge == id);
                return done.map_or_else(|| Reply::not_found("no such refund"), Reply::ok);
            }
            None | Some(Value::Null) => left,
            Some(given) => match given.as_u64().filter(|amount| (1..=left).contains(amount)) {
                Some(amount) => amount,
                None => {
                    return Reply::wrong(&format!(
                        "`amount` must lie between 1 and the {left} that are left"
                    ));
                }
            },
        };
        charge.amount_refunded += amount;
        if charge.amount_refunded == charge.amount {
            charge.status = Status::Refunded;
        }
        let refund = Refund {
            id: refund_id,
            charge: id.to_owned(),
            amount,
            status: Status::Succeeded,
            code: "OK",
            created: at,
        };
        let reply = Reply::ok(&refund);
        let key_of_charge = charge.key.clone();
        self.refunds.push(refund);
        self.counts.refunds += 1;
        self.enter(asked);
        if let Some(key) = key_of_charge {
            self.counts.by_key.entry(key).or_default().refunds += 1;
        }
        reply
    }

    /// Writes a customer. Writing the content that the customer already has is no new effect.
    fn put_customer(&mut self, asked: &Asked, id: &str) -> Reply {
        let Ok(Value::Object(mut customer)) = serde_json::from_slice(&asked.body) else {
            return Reply::wrong("a customer is a JSON object");
        };
        customer.insert("id".to_owned(), Value::String(id.to_owned()));
        let customer = Value::Object(customer);
        let reply = Reply::ok(&customer);
        if self.customers.get(id) != Some(&customer) {
            self.kept += asked.body.len();
            self.customers.insert(id.to_owned(), customer);
            self.enter(asked);
        }
        reply
    }
}

/// Reads a time from the query's parameter `name`. The time is written as in RFC 3339, as a date (its midnight in UTC),
/// or as seconds since 1970. Returns `None` if the parameter is missing or empty, and an error text if it is not a
/// time.
fn moment(asked: &Asked, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = asked.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = text.parse::<Timestamp>().ok().or_else(|| {
        let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
        text.parse::<i64>().ok().map_or_else(midnight, |seconds| Timestamp::from_second(seconds).ok())
    });
    parsed.map(Some).ok_or_else(|| format!("`{name}` must be a time such as 2026-11-01T00:00:00Z"))
}
