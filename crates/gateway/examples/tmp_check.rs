fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "schema" { println!("{:#}", seawall_gateway::config::schema()); return; }
    match seawall_gateway::config::load(std::path::Path::new(&a[1]), &|n| std::env::var(n).ok()) {
        Ok(l) => { for n in &l.notes { println!("note: {n}"); } println!("{}", seawall_gateway::config::effective(&l.settings)); }
        Err(r) => { print!("{}", r.render(false)); for l in r.lines() { println!("{l}"); } }
    }
}
