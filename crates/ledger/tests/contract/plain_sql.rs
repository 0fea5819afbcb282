//! What a role of the database may do with the SQL functions, and what it may not: applications share the ledger's database,
//! and none of them may do what is another one's.

use std::process::Command;

use seawall_ledger::store::Store;
use seawall_ledger::{ActionId, End, Known, NewAction, Refusal, Same, SqlTerms};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::scratch::program;
use crate::suite::{asking, charge, soon, until};
use crate::world::{PostgresWorld, TwoVersions, World, ledger, quick};

/// The functions that applications call, as the documentation grants them.
const CALLED: &str = "FUNCTION seawall.record(text, text, text, text, text, bigint), \
     seawall.record(text, text, text, json, text, bigint), seawall.record(text, text, text, jsonb, text, bigint), \
     seawall.settle(uuid), seawall.cancel(uuid), seawall.outcome(uuid)";

/// A role of a database that can log in.
struct Role {
    name: String,
    url: String,
}

impl Role {
    /// Makes a role without any right. Roles belong to all databases of a server, so its name has the database's.
    fn new(world: &PostgresWorld, name: &str, attributes: &str) -> Role {
        let database = world.url.split('?').next().unwrap().rsplit('/').next().unwrap();
        let name = format!("{name}_{database}");
        let role = Role { url: world.url.replace("postgres@", &format!("{name}@")), name };
        admin(world, &format!("CREATE ROLE {} LOGIN {attributes}", role.name));
        role
    }

    /// Makes a role with the rights that the documentation gives to an application.
    fn of_application(world: &PostgresWorld, name: &str) -> Role {
        let role = Role::new(world, name, "");
        admin(
            world,
            &format!("GRANT USAGE ON SCHEMA seawall TO {0}; GRANT EXECUTE ON {CALLED} TO {0}", role.name),
        );
        role
    }

    /// Runs statements in one session. Returns what they print, one line for each row, or the error with its SQLSTATE.
    fn runs(&self, statements: &[&str]) -> Result<String, String> {
        psql(&self.url, statements)
    }

    fn is_refused(&self, statements: &[&str], state: &str) -> String {
        let error = self.runs(statements).expect_err(&format!("{} may: {statements:?}", self.name));
        assert!(error.contains(&format!("ERROR:  {state}: ")), "{statements:?}: {error}");
        error
    }
}

fn psql(url: &str, statements: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program("psql"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", url]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    let out = command.output().unwrap();
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

/// Runs statements as the role that made the tables, and returns what they print.
fn admin(world: &PostgresWorld, statement: &str) -> String {
    psql(&world.url, &[statement]).unwrap()
}

fn record(dependency: &str, operation: &str, key: &str) -> String {
    format!("SELECT seawall.record('{dependency}', '{operation}', '{key}', '{{\"amount\": 5}}')")
}

/// Returns terms with these roles, each with its client; an empty client is none.
fn roles(all: &[(&Role, &str)]) -> SqlTerms {
    let client = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    let roles = all.iter().map(|(role, name)| (role.name.clone(), client(name))).collect();
    SqlTerms { roles: Some(roles), ..SqlTerms::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_needs_execute_and_nothing_else() {
    let world = PostgresWorld::new().await;
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    world.declare_charge().await;

    let shop = Role::new(&world, "shop", "");
    let charge = record("pay", "charge", "k");
    shop.is_refused(&[&charge], "42501");
    admin(&world, &format!("GRANT USAGE ON SCHEMA seawall TO {}", shop.name));
    shop.is_refused(&[&charge], "42501");
    admin(&world, &format!("GRANT EXECUTE ON {CALLED} TO {}", shop.name));
    let id = ActionId::parse(&shop.runs(&[&charge]).unwrap()).unwrap();
    until(&ledger, id, |action| action.state.known() == Known::Applied).await;
    let done = shop.runs(&[&format!("SELECT seawall.settle('{id}') ->> 'state'")]).unwrap();
    assert_eq!(done, "done");
    let shown = shop.runs(&[&format!("SELECT seawall.outcome('{id}')")]).unwrap();
    assert!(shown.contains("\"effect\": \"applied\"") && !shown.contains("amount"), "{shown}");
    shop.runs(&[&format!("SELECT seawall.cancel('{id}')")]).unwrap();
    until(&ledger, id, |action| action.state.end() == Some(End::Cancelled)).await;

    // All the rest is closed: each table, and each function that the four use.
    let tables = admin(&world, "SELECT tablename FROM pg_tables WHERE schemaname = 'seawall'");
    assert!(tables.lines().count() >= 8, "{tables}");
    for table in tables.lines() {
        for statement in ["SELECT FROM", "INSERT INTO", "DELETE FROM", "TRUNCATE"] {
            let end = if statement.starts_with("INSERT") { " DEFAULT VALUES" } else { "" };
            shop.is_refused(&[&format!("{statement} seawall.{table}{end}")], "42501");
        }
    }
    let names = "SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'seawall'::regnamespace";
    let helpers = format!("{names} AND proname NOT IN ('record', 'settle', 'cancel', 'outcome')");
    let helpers = admin(&world, &helpers);
    assert!(helpers.lines().count() >= 7, "{helpers}");
    for helper in helpers.lines() {
        let (name, arguments) = helper.trim_end_matches(')').split_once('(').unwrap();
        let nulls: Vec<String> = arguments
            .split(',')
            .filter(|kind| !kind.is_empty())
            .map(|kind| format!("NULL::{kind}"))
            .collect();
        shop.is_refused(&[&format!("SELECT {name}({})", nulls.join(", "))], "42501");
    }
    let replaced =
        "CREATE OR REPLACE FUNCTION seawall.settle(uuid) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'";
    shop.is_refused(&[replaced], "42501");
    shop.is_refused(&["CREATE TABLE seawall.mine (id int)"], "42501");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_have_an_owner_with_few_rights_and_are_closed_to_the_public() {
    let world = PostgresWorld::new().await;
    let open = "SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x \
         WHERE pronamespace = 'seawall'::regnamespace AND x.grantee = 0";
    let paths = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'seawall'::regnamespace \
         AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']";
    let owners = "SELECT string_agg(DISTINCT r.rolname, ' ') FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner \
         WHERE pronamespace = 'seawall'::regnamespace";
    assert_eq!((admin(&world, open), admin(&world, paths)), ("0".to_owned(), "0".to_owned()));
    let owner = admin(&world, owners);
    let oid = admin(&world, "SELECT oid FROM pg_database WHERE datname = current_database()");
    assert_eq!(owner, format!("seawall_functions_{oid}"));
    let flags = format!(
        "SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = '{owner}'"
    );
    assert_eq!(admin(&world, &flags), "f");
    let rights = format!(
        "SELECT string_agg(c.relname || ' ' || lower(x.privilege_type), ', ' ORDER BY c.relname, x.privilege_type) \
         FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = '{owner}'::regrole"
    );
    let wanted = "action insert, action select, action update, declared select, secret select";
    assert_eq!(admin(&world, &rights), wanted);

    // A role that may not create roles makes the tables, too, and the functions are its own then.
    for (attributes, is_own) in [("", true), ("CREATEROLE", false)] {
        let world = PostgresWorld::without_tables().await;
        let ledger_role = Role::new(&world, "ledger", attributes);
        let database = world.url.split('?').next().unwrap().rsplit('/').next().unwrap();
        admin(&world, &format!("ALTER DATABASE {database} OWNER TO {}", ledger_role.name));
        let owned = world.as_role(&ledger_role.url);
        owned.open().await.migrate().await.unwrap();
        assert_eq!((admin(&world, open), admin(&world, paths)), ("0".to_owned(), "0".to_owned()));
        assert_eq!(admin(&world, owners) == ledger_role.name, is_own);
        owned.declare_charge().await;
        let shop = Role::new(&world, "shop", "");
        let charge = record("pay", "charge", "k");
        shop.is_refused(&[&charge], "42501");
        let grant =
            format!("GRANT USAGE ON SCHEMA seawall TO {0}; GRANT EXECUTE ON {CALLED} TO {0}", shop.name);
        ledger_role.runs(&[&grant]).unwrap();
        shop.runs(&[&charge]).unwrap();
        ledger_role.runs(&[&charge]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_caller_plants_is_used() {
    let world = PostgresWorld::new().await;
    world.declare_charge().await;
    let shop = Role::of_application(&world, "shop");
    // Without this right, PostgreSQL would leave the schema out when a function runs as its owner.
    let open = "GRANT USAGE ON SCHEMA evil TO PUBLIC";
    admin(&world, &format!("CREATE SCHEMA evil AUTHORIZATION {}; {open}", shop.name));
    // Functions and operators that the ledger's functions use, and tables with the names of the ledger's.
    let mut plants = vec![
        "CREATE FUNCTION evil.planted() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$".to_owned(),
        "CREATE FUNCTION evil.planted(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.planted()'".to_owned(),
        "CREATE FUNCTION evil.planted(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT evil.planted()'".to_owned(),
        "CREATE FUNCTION evil.planted(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT evil.planted()'".to_owned(),
        "CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT evil.planted(); SELECT $1'".to_owned(),
        "CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE sql AS 'SELECT evil.planted(); SELECT 1'".to_owned(),
        "CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT evil.planted(); SELECT now()'".to_owned(),
        "CREATE FUNCTION evil.pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.planted()'".to_owned(),
        "CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT evil.planted(); SELECT $1'".to_owned(),
    ];
    for kind in ["text", "uuid", "bigint"] {
        for operator in ["=", "<>", ">"] {
            plants.push(format!(
                "CREATE OPERATOR evil.{operator} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = evil.planted)"
            ));
        }
    }
    let plants: Vec<&str> = plants.iter().map(String::as_str).collect();
    shop.runs(&plants).unwrap();
    let path = "SET search_path = evil, pg_temp, seawall, pg_catalog";
    assert!(shop.is_refused(&[path, "SELECT 'a'::text = 'a'::text"], "P0001").contains("planted"));

    let temporary = "CREATE TEMP TABLE action (id uuid, dependency text, key text, scope text); \
         CREATE TEMP TABLE declared (dependency text, operation text, declared_at timestamptz, terms text); \
         CREATE TEMP TABLE secret (print_key bytea); CREATE TEMP TABLE pg_roles (rolname name, oid oid)";
    let charge = record("pay", "charge", "k");
    let id = shop.runs(&[temporary, path, &charge]).unwrap();
    let [outcome, cancel, settle] =
        ["outcome", "cancel", "settle"].map(|name| format!("SELECT seawall.{name}('{id}')"));
    shop.is_refused(&[temporary, path, &settle], "SW003");
    assert_eq!(shop.runs(&[temporary, path, &charge]).unwrap(), id);
    shop.runs(&[temporary, path, &outcome, &cancel]).unwrap();
    let recorded = "SELECT count(*) FROM seawall.action WHERE ended = 'cancelled' AND key = 'k'";
    assert_eq!(admin(&world, recorded), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_acts_only_on_the_operations_that_name_it() {
    let world = PostgresWorld::new().await;
    let [shop, mail, pooled] = ["shop", "mail", "pooled"].map(|name| Role::of_application(&world, name));
    let terms = [("pay", "charge", roles(&[(&shop, "")])), ("post", "send", roles(&[(&mail, "")]))];
    world.declare(7, &terms).await;
    let (charge, send) = (record("pay", "charge", "k"), record("post", "send", "k"));
    let id = shop.runs(&[&charge]).unwrap();
    mail.runs(&[&send]).unwrap();

    for refused in [mail.is_refused(&[&charge], "SW009"), shop.is_refused(&[&send], "SW009")] {
        assert!(refused.contains("not-allowed") && refused.contains("sql_roles"), "{refused}");
    }
    for name in ["settle", "cancel", "outcome"] {
        mail.is_refused(&[&format!("SELECT seawall.{name}('{id}')")], "SW005");
    }
    // Actions of one scope settle together, so nobody may join a scope of somebody else.
    let joined = |of: &str| format!("SELECT seawall.record({of}, 'in scope', '{{}}', 'order', 2)");
    shop.runs(&[&joined("'pay', 'charge'")]).unwrap();
    mail.is_refused(&[&joined("'post', 'send'")], "SW009");

    // A caller cannot say that it is another role.
    for forged in [
        format!("SET ROLE {}", shop.name),
        format!("SELECT set_config('role', '{}', false)", shop.name),
        format!("SET SESSION AUTHORIZATION {}", shop.name),
    ] {
        mail.is_refused(&[&forged, &charge], "42501");
    }
    // Behind a pooler with one login, an application takes its role in each transaction.
    pooled.is_refused(&[&charge], "SW009");
    admin(&world, &format!("GRANT {}, {} TO {}", shop.name, mail.name, pooled.name));
    let as_mail = format!("SET LOCAL ROLE {}", mail.name);
    assert_eq!(
        pooled.runs(&["BEGIN", &format!("SET LOCAL ROLE {}", shop.name), &charge, "COMMIT"]).unwrap(),
        id
    );
    pooled.is_refused(&["BEGIN", &as_mail, &charge], "SW009");
    assert_eq!(pooled.runs(&[&charge]).unwrap(), id, "as a member of the role");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_mistake_and_each_declaration_counts() {
    let world = PostgresWorld::new().await;
    let shop = Role::of_application(&world, "shop");
    let bounded = SqlTerms { request_max: Some(100), key_max: Some(10), ..SqlTerms::default() };
    let unsendable =
        SqlTerms { refused: Some("its path has a variable part".to_owned()), ..SqlTerms::default() };
    world.declare(7, &[("pay", "charge", bounded), ("pay", "change", unsendable)]).await;
    let requests =
        |key: &str, request: &str| format!("SELECT seawall.record('pay', 'charge', {key}, {request})");
    let long = "repeat('k', 11)";
    let large = "'\"' || repeat('x', 99) || '\"'";
    for (statement, state, told) in [
        (requests(long, "'{}'"), "SW007", "the key has 11 bytes"),
        (requests("E'a\\nb'", "'{}'"), "SW007", "control character"),
        (requests("''", "'{}'"), "SW007", "empty"),
        (requests("'k'", large), "SW008", "101 bytes; at most 100"),
        (requests("'k'", "'{\"card\": 4111'"), "SW000", "not JSON"),
        (requests("NULL", "'{}'"), "SW000", "NULL"),
        (record("pay", "charg", "k"), "SW006", "no program declares the operation charg of pay"),
        (record("pay", "change", "k"), "SW000", "its path has a variable part"),
    ] {
        let error = shop.is_refused(&[&statement], state);
        assert!(error.contains(told) && error.contains("HINT:"), "{statement}: {error}");
        assert!(!error.contains("4111"), "a part of the request is shown: {error}");
    }
    // If the provider reads the key from the request, it must be there.
    let within = SqlTerms { key_at: Some(vec!["order".to_owned(), "id".to_owned()]), ..SqlTerms::default() };
    world.declare(9, &[("pay", "order", within)]).await;
    let ordered =
        |key: &str, request: &str| format!("SELECT seawall.record('pay', 'order', '{key}', '{request}')");
    shop.runs(&[&ordered("7", "{\"order\": {\"id\": 7}}")]).unwrap();
    for request in ["{\"order\": {\"id\": 8}}", "{\"order\": 7}"] {
        assert!(shop.is_refused(&[&ordered("7", request)], "SW007").contains("at /order/id"));
    }
    // While an upgrade rolls, what one of two gateways allows is allowed. An earlier program knows no terms, and does not
    // allow what the newer one refuses.
    let old = "INSERT INTO seawall.declared (owner, dependency, operation, declared_at) \
         VALUES (gen_random_uuid(), 'pay', 'charge', statement_timestamp())";
    admin(&world, old);
    shop.is_refused(&[&requests(long, "'{}'")], "SW007");
    let wider = SqlTerms { key_max: Some(20), request_max: Some(10), ..SqlTerms::default() };
    world.declare(8, &[("pay", "charge", wider)]).await;
    shop.runs(&[&requests(long, "'{}'")]).unwrap();
    shop.runs(&[&requests("'k'", "'\"' || repeat('x', 90) || '\"'")]).unwrap();
    shop.is_refused(&[&requests("'k2'", large)], "SW008");
    // All gateways have been down for six days, and then for seven.
    let ages =
        |interval: &str| format!("UPDATE seawall.declared SET declared_at = now() - interval '{interval}'");
    admin(&world, &ages("6 days"));
    let id = shop.runs(&[&requests("'k3'", "'{}'")]).unwrap();
    let shown = shop.runs(&[&format!("SELECT seawall.outcome('{id}') ->> 'state'")]).unwrap();
    assert_eq!(shown, "undeclared");
    admin(&world, &ages("7 days"));
    shop.is_refused(&[&requests("'k4'", "'{}'")], "SW006");
    shop.is_refused(&[&format!("SELECT seawall.cancel('{id}')")], "SW006");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_belong_to_the_client_of_the_role() {
    let world = PostgresWorld::new().await;
    let [shop, desk, stranger] = ["shop", "desk", "stranger"].map(|name| Role::of_application(&world, name));
    let terms = SqlTerms { client_keys: true, ..roles(&[(&shop, "web"), (&desk, "till"), (&stranger, "")]) };
    world.declare(7, &[("pay", "charge", terms)]).await;
    let charge = record("pay", "charge", "k");
    let ids = [&shop, &desk].map(|role| role.runs(&[&charge]).unwrap());
    let keys = "SELECT string_agg(key || ' ' || client, ', ' ORDER BY key) FROM seawall.action";
    assert_eq!(admin(&world, keys), "till:k till, web:k web");
    for name in ["settle", "cancel", "outcome"] {
        desk.is_refused(&[&format!("SELECT seawall.{name}('{}')", ids[0])], "SW005");
    }
    stranger.is_refused(&[&charge], "SW009");
    // A role of two clients says for which one it acts.
    let both = Role::of_application(&world, "both");
    admin(&world, &format!("GRANT {}, {} TO {}", shop.name, desk.name, both.name));
    assert!(both.is_refused(&[&charge], "SW009").contains("several clients"));
    assert_eq!(both.runs(&[&format!("SET ROLE {}", desk.name), &charge]).unwrap(), ids[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_one_action_for_sql_and_for_programs() {
    let world = PostgresWorld::new().await;
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &Provider::new());
    let [shop, desk] = ["shop", "desk"].map(|name| Role::of_application(&world, name));
    world.declare(7, &[("pay", "charge", roles(&[(&shop, "web"), (&desk, "till")]))]).await;
    // As the gateway records a request: its line and headers before the body.
    let request = |key: &str, body: &str| {
        let head = "POST /v1/charges HTTP/1.1\r\n\r\n";
        let same = Same { head: b"POST /v1/charges\n".to_vec(), body_at: head.len() };
        let request = format!("{head}{body}").into_bytes();
        NewAction { request, same: Some(same), client: Some("web".to_owned()), ..charge(key) }
    };
    let body = "{\"amount\":12,\"currency\":\"EUR\"}";
    let by_sql = |key: &str, body: &str| format!("SELECT seawall.record('pay', 'charge', '{key}', '{body}')");

    let first = ledger.record(&request("program first", body)).await.unwrap();
    assert_eq!(shop.runs(&[&by_sql("program first", body)]).unwrap(), first.id.to_string());
    let refused = shop.is_refused(&[&by_sql("program first", "{\"amount\":13}")], "SW001");
    assert!(refused.contains("another body") && !refused.contains("12"), "{refused}");
    desk.is_refused(&[&by_sql("program first", body)], "SW001");

    let id = shop.runs(&[&by_sql("sql first", body)]).unwrap();
    assert_eq!(ledger.record(&request("sql first", body)).await.unwrap().id.to_string(), id);
    let other = ledger.record(&request("sql first", "{\"amount\":13}")).await.unwrap_err();
    assert_eq!(other.refusal(), Some(Refusal::KeyConflict));
    let stranger = NewAction { client: None, ..request("sql first", body) };
    assert_eq!(ledger.record(&stranger).await.unwrap_err().refusal(), Some(Refusal::KeyConflict));

    // The fingerprints are compared, and not the recorded requests, which may be gone.
    admin(&world, "UPDATE seawall.action SET request = ''");
    assert_eq!(shop.runs(&[&by_sql("program first", body)]).unwrap(), first.id.to_string());
    assert_eq!(shop.runs(&[&by_sql("sql first", body)]).unwrap(), id);
    assert_eq!(ledger.record(&request("sql first", body)).await.unwrap().id.to_string(), id);
    shop.is_refused(&[&by_sql("sql first", "{}")], "SW001");
    // Rows of earlier programs have no fingerprints.
    let earlier = format!(
        "UPDATE seawall.action SET head_print = NULL, body_print = NULL, request = convert_to('{body}', 'UTF8')"
    );
    admin(&world, &earlier);
    assert_eq!(shop.runs(&[&by_sql("sql first", body)]).unwrap(), id);
    shop.is_refused(&[&by_sql("sql first", "{}")], "SW001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_could_use_the_functions_before_an_upgrade_go_on() {
    let world = PostgresWorld::without_tables().await;
    world.load_dump().await;
    let [shop, other] = ["shop", "other"].map(|name| Role::new(&world, name, ""));
    for role in [&shop, &other] {
        admin(&world, &format!("GRANT USAGE ON SCHEMA seawall TO {}", role.name));
    }
    admin(&world, &format!("GRANT SELECT, INSERT, UPDATE ON seawall.action TO {}", shop.name));
    world.open().await.migrate().await.unwrap();
    world.declare_charge().await;
    shop.runs(&[&record("pay", "charge", "k")]).unwrap();
    other.is_refused(&[&record("pay", "charge", "k")], "42501");
}
