use std::borrow::Cow;
use std::collections::HashMap;

use bytemuck::{cast_slice, pod_collect_to_vec};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// What failed. `code` is one of those of `docs/ABI.md`, or `io`.
#[derive(Debug, thiserror::Error, serde::Deserialize)]
#[error("{code}: {message}")]
pub struct Error {
    pub code: String,
    pub message: String,
    /// The tensor of the message that the error is about.
    pub tensor: Option<String>,
    /// The row of that tensor, from 0.
    pub row: Option<u64>,
}

impl Error {
    fn new(code: &str, message: String) -> Self {
        Self { code: code.into(), message, tensor: None, row: None }
    }

    pub(crate) fn internal(message: String) -> Self {
        Self::new("internal", message)
    }

    /// Reads an error as the plugin writes it.
    pub(crate) fn read(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_else(|_| Self::internal(String::from_utf8_lossy(json).into_owned()))
    }
}

impl From<wasmtime::Error> for Error {
    fn from(e: wasmtime::Error) -> Self {
        Self::internal(format!("{e:?}"))
    }
}

impl From<safetensors::SafeTensorError> for Error {
    fn from(e: safetensors::SafeTensorError) -> Self {
        Self::new("bad_message", e.to_string())
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::new("io", e.to_string())
    }
}

/// Options of `begin` and `select`, as `docs/ABI.md` lists them: `&[("rule", "capped"), ("top", "5")]`.
pub type Options<'a> = &'a [(&'a str, &'a str)];

/// Rows of vectors, one after the other: raw, those of each model; or projected.
#[derive(Debug, Clone)]
pub struct Vectors<'a>(Vec<Rows<'a>>);

#[derive(Debug, Clone)]
struct Rows<'a> {
    model: &'a str, // empty if projected
    dtype: Dtype,
    shape: [usize; 2],
    values: &'a [u8],
}

impl<'a> Vectors<'a> {
    /// Vectors as [`Plugin::transform`](crate::Plugin::transform) gives them, `components` values each.
    pub fn projected(values: &'a [f32], components: usize) -> Self {
        Self::raw().f32("", values, components)
    }

    /// Vectors as models made them. Add each model of the projection. The plugin projects them, which is most of the work of a call.
    pub fn raw() -> Self {
        Self(Vec::new())
    }

    /// Adds the vectors of a model, `width` values each.
    pub fn f32(self, model: &'a str, values: &'a [f32], width: usize) -> Self {
        self.model(model, Dtype::F32, cast_slice(values), values.len().checked_div(width).unwrap_or(0), width)
    }

    /// Adds the vectors of a model in float16, by their bits.
    pub fn f16(self, model: &'a str, bits: &'a [u16], width: usize) -> Self {
        self.model(model, Dtype::F16, cast_slice(bits), bits.len().checked_div(width).unwrap_or(0), width)
    }

    fn model(mut self, model: &'a str, dtype: Dtype, values: &'a [u8], rows: usize, width: usize) -> Self {
        self.0.push(Rows { model, dtype, shape: [rows, width], values });
        self
    }

    fn rows(&self) -> usize {
        self.0.first().map_or(0, |model| model.shape[0])
    }
}

/// Queries with their positives, and the documents that are never their negatives.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    /// Each query once.
    pub queries: Vectors<'a>,
    /// Each positive document once.
    pub positives: Vectors<'a>,
    /// Rows of `queries` and of `positives`. Results are in this order.
    pub pairs: Vec<(usize, usize)>,
    /// By row of `queries`: positions of documents that are never its negatives. The positives belong here too.
    pub exclude: HashMap<usize, Vec<i64>>,
}

impl Pairs<'_> {
    pub(crate) fn message(&self, options: Options) -> Message<'_> {
        let (mut offsets, mut exclude) = (vec![0], Vec::new());
        for query in 0..self.queries.rows() {
            exclude.extend(self.exclude.get(&query).into_iter().flatten());
            offsets.push(exclude.len() as i64);
        }
        Message::new(options)
            .vectors("queries", &self.queries)
            .vectors("positives", &self.positives)
            .integers("pair_query", self.pairs.iter().map(|p| p.0 as i64).collect())
            .integers("pair_positive", self.pairs.iter().map(|p| p.1 as i64).collect())
            .integers("exclude_offsets", offsets)
            .integers("exclude", exclude)
    }
}

/// A message to the plugin: a safetensors file in memory.
pub(crate) struct Message<'a> {
    options: HashMap<String, String>,
    tensors: Vec<Tensor<'a>>,
}

struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    values: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    pub fn new(options: Options) -> Self {
        Self { options: options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(), tensors: Vec::new() }
    }

    pub fn vectors(mut self, kind: &str, vectors: &Vectors<'a>) -> Self {
        for rows in &vectors.0 {
            let name = if rows.model.is_empty() { kind.to_string() } else { format!("{kind}/{}", rows.model) };
            self.tensors.push(Tensor { name, dtype: rows.dtype, shape: rows.shape.to_vec(), values: rows.values.into() });
        }
        self
    }

    pub fn integers(mut self, name: &str, values: Vec<i64>) -> Self {
        let bytes = cast_slice::<_, u8>(&values).to_vec();
        self.tensors.push(Tensor { name: name.into(), dtype: Dtype::I64, shape: vec![values.len()], values: bytes.into() });
        self
    }

    pub fn bytes(mut self, name: String, values: &'a [u8]) -> Self {
        self.tensors.push(Tensor { name, dtype: Dtype::U8, shape: vec![values.len()], values: values.into() });
        self
    }

    pub fn encode(self) -> Result<Vec<u8>, Error> {
        let views = self.tensors.iter().map(|t| Ok((&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.values)?)));
        Ok(safetensors::serialize(views.collect::<Result<Vec<_>, Error>>()?, Some(self.options))?)
    }
}

/// The values of a tensor in a message of the plugin.
pub(crate) fn floats(message: &[u8], name: &str) -> Result<Vec<f32>, Error> {
    Ok(pod_collect_to_vec(SafeTensors::deserialize(message)?.tensor(name)?.data()))
}

/// A negative: the document's position, s(Q,D) and s(PD,D).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Negative {
    pub position: i64,
    pub score: f64,
    pub score_to_positive: f64,
}

/// A result for ranges of documents.
#[derive(Debug, Clone)]
pub struct Part {
    bytes: Vec<u8>,
    offsets: Vec<i64>,
    negatives: Vec<Negative>,
    /// s(Q,PD) of each pair.
    pub positive_scores: Vec<f64>,
    /// For each pair, 1 if any document that is not excluded lay in the rule's window, otherwise 0.
    pub window: Vec<u8>,
}

impl Part {
    /// Reads a part, as [`Part::as_bytes`] gives it.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(&bytes)?;
        let data = |name| file.tensor(name).map(|tensor| tensor.data());
        let (positions, scores, to_positive): (Vec<i64>, Vec<f64>, Vec<f64>) =
            (pod_collect_to_vec(data("position")?), pod_collect_to_vec(data("s_q_d")?), pod_collect_to_vec(data("s_pd_d")?));
        let negatives = positions.iter().zip(scores.iter().zip(&to_positive));
        Ok(Self {
            offsets: pod_collect_to_vec(data("offsets")?),
            negatives: negatives
                .map(|(&position, (&score, &score_to_positive))| Negative { position, score, score_to_positive })
                .collect(),
            positive_scores: pod_collect_to_vec(data("s_q_pd")?),
            window: data("window")?.to_vec(),
            bytes,
        })
    }

    /// The part as a safetensors file, to keep or to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The negatives of a pair, the nearest to the query first.
    pub fn negatives(&self, pair: usize) -> &[Negative] {
        &self.negatives[self.offsets[pair] as usize..self.offsets[pair + 1] as usize]
    }
}
