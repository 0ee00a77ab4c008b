//! Mines the examples' case, compares every byte with what the command line wrote, measures, and prints a line of JSON.
//!
//! ```sh
//! cargo run --release --example mine -- plugin.wasm CACHE CASE VERSION
//! ```

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use quarry_plugin::{Engine, Operation, Pairs, Part, Plugin, Vectors};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LOADS: usize = 20;

/// A folder of data as quarry reads it: ids, judgements, and vectors of each model in .npy files.
pub struct Data {
    documents: Vec<String>,
    queries: Vec<String>,
    pairs: Vec<(String, String)>,
    excluded: HashMap<String, BTreeSet<String>>,
    models: Vec<Model>,
}

struct Model {
    name: String,
    width: usize,
    documents: Vec<u16>,
    queries: Vec<u16>,
}

impl Data {
    pub fn read(folder: &Path) -> Result<Self> {
        let (documents, queries) = (ids(&folder.join("corpus.jsonl"))?, ids(&folder.join("queries.jsonl"))?);
        let (mut pairs, mut excluded) = (Vec::new(), HashMap::new());
        for split in ["train", "test"] {
            for (query, document) in judged(&folder.join("qrels").join(split).with_extension("tsv"))? {
                // A document that is the query itself is no negative either.
                let never = excluded.entry(query.clone()).or_insert_with(|| BTreeSet::from([query.clone()]));
                never.insert(document.clone());
                pairs.push((query, document));
            }
        }
        let mut models = Vec::new();
        for entry in fs::read_dir(folder.join("vectors"))? {
            let path = entry?.path();
            let (documents, queries) =
                (npy(&path.join("docs.npy"), documents.len())?, npy(&path.join("queries.npy"), queries.len())?);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            models.push(Model { name, width: documents.1, documents: documents.0, queries: queries.0 });
        }
        Ok(Self { documents, queries, pairs, excluded, models })
    }

    pub fn raw_documents(&self) -> Vectors<'_> {
        self.models.iter().fold(Vectors::raw(), |v, m| v.f16(&m.name, &m.documents, m.width))
    }

    pub fn raw_queries(&self) -> Vectors<'_> {
        self.models.iter().fold(Vectors::raw(), |v, m| v.f16(&m.name, &m.queries, m.width))
    }

    /// All pairs. Every document is a row of the positives here; a large corpus gives those that are some.
    pub fn pairs<'a>(&self, queries: Vectors<'a>, positives: Vectors<'a>) -> Pairs<'a> {
        let row = |ids: &[String]| -> HashMap<String, usize> { ids.iter().cloned().enumerate().map(|(i, id)| (id, i)).collect() };
        let (query, document) = (row(&self.queries), row(&self.documents));
        let positions = |ids: &BTreeSet<String>| ids.iter().filter_map(|id| document.get(id)).map(|&i| i as i64).collect();
        Pairs {
            queries,
            positives,
            pairs: self.pairs.iter().map(|(q, d)| (query[q], document[d])).collect(),
            exclude: self.excluded.iter().map(|(q, ids)| (query[q], positions(ids))).collect(),
        }
    }

    /// The lines of negatives.jsonl.
    pub fn lines(&self, part: &Part) -> Result<String> {
        let mut out = String::new();
        for (i, (query, positive)) in self.pairs.iter().enumerate() {
            let (query, positive) = (serde_json::to_string(query)?, serde_json::to_string(positive)?);
            let distance = number(1.0 - part.positive_scores[i]);
            write!(out, r#"{{"query_id":{query},"positive_id":{positive},"d_q_pd":{distance},"negatives":["#)?;
            for (j, n) in part.negatives(i).iter().enumerate() {
                let (comma, id) = (if j == 0 { "" } else { "," }, serde_json::to_string(&self.documents[n.position as usize])?);
                let (to_query, to_positive) = (number(1.0 - n.score), number(1.0 - n.score_to_positive));
                write!(out, r#"{comma}{{"id":{id},"rank":{},"d_q_d":{to_query},"d_pd_d":{to_positive}}}"#, j + 1)?;
            }
            let none = match (part.negatives(i).is_empty(), part.window[i]) {
                (false, _) => "",
                (true, 0) => r#","none":"window""#,
                (true, _) => r#","none":"eq6""#,
            };
            writeln!(out, "]{none}}}")?;
        }
        Ok(out)
    }
}

fn ids(jsonl: &Path) -> Result<Vec<String>> {
    let id = |line: &str| Ok(serde_json::from_str::<Value>(line)?["_id"].as_str().ok_or("a line without _id")?.to_string());
    fs::read_to_string(jsonl)?.lines().map(id).collect()
}

/// The pairs of query and document whose score is above 0. The first line may name the columns.
pub fn judged(tsv: &Path) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (number, line) in (1..).zip(fs::read_to_string(tsv)?.lines()) {
        let score = match line.split('\t').collect::<Vec<_>>()[..] {
            [query, document, score] => score.parse::<f64>().map(|score| (query, document, score)).ok(),
            _ => None,
        };
        match score {
            Some((query, document, score)) if score > 0.0 => pairs.push((query.to_string(), document.to_string())),
            None if number > 1 => {
                return Err(format!("{}:{number}: expected query, document and score, by tabs", tsv.display()).into());
            }
            _ => {}
        }
    }
    Ok(pairs)
}

/// Reads so many rows of float16, as the example has them, and says how wide they are.
fn npy(file: &Path, rows: usize) -> Result<(Vec<u16>, usize)> {
    let bytes = fs::read(file)?;
    let (header, values) = bytes[10..].split_at(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])));
    let header = String::from_utf8_lossy(header);
    if !header.contains("'<f2'") || header.contains("'fortran_order': True") {
        return Err(format!("{}: this example reads float16 in C order, and the file has {header}", file.display()).into());
    }
    Ok((values.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(), values.len() / 2 / rows))
}

/// The shortest decimal that parses back, as JavaScript writes numbers of this size.
fn number(x: f64) -> String {
    if x == 0.0 || x.abs() >= 1e-6 { x.to_string() } else { format!("{x:e}") }
}

/// Mines by both rules, in one call with raw vectors and in blocks of projected ones, and compares.
pub fn equal(plugin: &mut Plugin, case: &Path) -> Result<bool> {
    let data = Data::read(&case.join("data"))?;
    let projection = plugin.load_projection(&fs::read(case.join("projection.safetensors"))?)?;
    let (documents, queries) = (plugin.transform(&data.raw_documents())?, plugin.transform(&data.raw_queries())?);
    let k = projection.components;
    let mut equal = true;
    for (rule, file) in [("dual", "negatives.jsonl"), ("capped", "negatives-capped.jsonl")] {
        let expected = fs::read_to_string(case.join(file))?;

        let pairs = data.pairs(data.raw_queries(), data.raw_documents());
        let part = plugin.select(&pairs, &data.raw_documents(), &[("rule", rule), ("top", "5")])?;
        equal &= data.lines(&part)? == expected;

        let pairs = data.pairs(Vectors::projected(&queries, k), Vectors::projected(&documents, k));
        let mut miner = plugin.miner(&pairs, &[("rule", rule), ("top", "5"), ("projection", &projection.fingerprint)])?;
        let mut parts = Vec::new();
        for (i, block) in documents.chunks(7 * k).enumerate() {
            miner.push(&Vectors::projected(block, k), 7 * i as u64)?;
            if i == 10 {
                parts.push(miner.finish()?); // what is mined so far, as a shard would send it
            }
        }
        parts.push(miner.finish()?);
        equal &= data.lines(&plugin.merge(&parts)?)? == expected;
    }
    Ok(equal)
}

fn main() -> Result<()> {
    let begin = Instant::now();
    let args: Vec<String> = env::args().collect();
    let [_, module, cache, case, version] = &args[..] else { return Err("usage: mine plugin.wasm CACHE CASE VERSION".into()) };
    let (wasm, cache, case) = (fs::read(module)?, Path::new(cache), Path::new(case));
    let mut plugin = Plugin::new(&Engine::cached(&wasm, cache)?)?;
    plugin.info()?;
    let start = milliseconds(begin);

    let mut same = equal(&mut plugin, case)?;
    for _ in 1..LOADS {
        same &= equal(&mut Plugin::new(&Engine::cached(&wasm, cache)?)?, case)?; // and the first
    }
    eprintln!("loaded {LOADS} times; negatives {}", if same { "equal" } else { "differ" });

    let mut bench = Bench { plugin, folder: case.join("bench"), equal: same };
    let projection = bench.read("projection.safetensors")?;
    bench.plugin.call(Operation::LoadProjection, &projection)?;
    let (speed, raw, projected) =
        (bench.megabytes()?, bench.selects("select-raw.safetensors")?, bench.selects("select-projected.safetensors")?);
    println!(
        "{}",
        json!({"host": "Rust, wasmtime", "version": version, "start_ms": start, "in_mb_s": speed,
            "select_raw_ms": raw, "select_projected_ms": projected, "equal": bench.equal})
    );
    if bench.equal { Ok(()) } else { Err("answers differ from the command line's".into()) }
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Measures calls with the prepared messages, and compares each answer.
struct Bench {
    plugin: Plugin,
    folder: std::path::PathBuf,
    equal: bool,
}

impl Bench {
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.join(name))?)
    }

    /// Megabytes of documents a second that push takes, by the median of ten.
    fn megabytes(&mut self) -> Result<f64> {
        let (begin, push, expected) = (self.read("begin.safetensors")?, self.read("push.safetensors")?, self.read("push.part")?);
        let mut times = Vec::new();
        for _ in 0..10 {
            self.plugin.call(Operation::Begin, &begin)?;
            let t = Instant::now();
            self.plugin.call(Operation::Push, &push)?;
            times.push(milliseconds(t));
            self.equal &= self.plugin.call(Operation::Finish, &[])? == expected;
        }
        Ok((push.len() as f64 / 1e3 / percentile(&mut times, 0.5)).round())
    }

    fn selects(&mut self, name: &str) -> Result<Value> {
        let (select, expected) = (self.read(name)?, self.read("select.part")?);
        let mut times = Vec::new();
        for _ in 0..220 {
            let t = Instant::now();
            let part = self.plugin.call(Operation::Select, &select)?;
            times.push(milliseconds(t));
            self.equal &= part == expected;
        }
        let mut times = times.split_off(20); // the first warm up
        Ok(json!({"median": percentile(&mut times, 0.5), "p99": percentile(&mut times, 0.99)}))
    }
}

fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(p * values.len() as f64).ceil() as usize - 1]
}
