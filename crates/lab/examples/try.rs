//! scratch
use seawall_lab::sim::scenarios::{Ask, find};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut ask = Ask::default();
    for x in &a[2..] {
        let (k, v) = x.split_once('=').expect("k=v");
        match k {
            "callers" => ask.callers = v.parse().ok(),
            "seeds" => ask.seeds = v.parse().ok(),
            "seed" => ask.seed = v.parse().expect("seed"),
            "threads" => ask.threads = v.parse().expect("t"),
            "instances" => ask.seawall.guards.instances = v.parse().expect("i"),
            _ => ask.set.push((k.into(), v.into())),
        }
    }
    let t = std::time::Instant::now();
    match find(&a[1]).and_then(|s| s.run(&ask, &|_, _| {})) {
        Ok(f) => {
            for g in &f.figures {
                let n: Vec<String> = g
                    .numbers()
                    .iter()
                    .map(|e| format!("{:.4}±{:.4} (worst {:.2})", e.mean, e.half, e.worst))
                    .collect();
                println!(
                    "{:70} {} {}",
                    g.name,
                    n.join(" · "),
                    if n.is_empty() { format!("{:?}", g.value) } else { String::new() }
                );
            }
            println!("{} events {:016x} {:?}", f.events, f.hash, t.elapsed());
        }
        Err(e) => println!("{e}"),
    }
}
