//! Hard negatives by quarry's plugin. wasmtime runs the module, by its raw exports. `docs/ABI.md` describes operations, options and errors.
//!
//! Project documents once by [`Plugin::transform`]; then [`Plugin::select`] finds the negatives of a pair among the hits of a search, and a
//! [`Miner`] those of many pairs in a corpus that comes in blocks.

mod message;
mod runtime;

pub use message::{Error, Negative, Options, Pairs, Part, Vectors};
pub use runtime::{Engine, Operation, Plugin};

use message::Message;

/// What `load_projection` says of a projection.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Projection {
    /// The SHA-256 of the file. Vectors that different projections made are not to be compared.
    #[serde(rename = "projection")]
    pub fingerprint: String,
    /// Values of a raw vector, all models together.
    pub columns: usize,
    /// Values of a projected vector.
    pub components: usize,
}

impl Plugin {
    /// Says what the module is, as JSON: its version, operations, kernels and limits.
    pub fn info(&mut self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.call(Operation::Info, &[])?).into_owned())
    }

    /// Loads a projection file, as `quarry fit` writes it. Raw vectors need one.
    pub fn load_projection(&mut self, file: &[u8]) -> Result<Projection, Error> {
        let answer = self.call(Operation::LoadProjection, file)?;
        serde_json::from_slice(&answer).map_err(|e| Error::internal(e.to_string()))
    }

    /// Projects raw vectors. It gives as many rows, one after the other, each as long as the projection has components.
    pub fn transform(&mut self, raw: &Vectors) -> Result<Vec<f32>, Error> {
        let message = Message::new(&[]).vectors("documents", raw).encode()?;
        message::floats(&self.call(Operation::Transform, &message)?, "documents")
    }

    /// Mines pairs among documents in one call, and keeps nothing. The first document is at position 0.
    pub fn select(&mut self, pairs: &Pairs, documents: &Vectors, options: Options) -> Result<Part, Error> {
        let message = pairs.message(options).vectors("documents", documents).encode()?;
        Part::read(self.call(Operation::Select, &message)?)
    }

    /// Begins to mine pairs among documents that come in blocks.
    pub fn miner(&mut self, pairs: &Pairs, options: Options) -> Result<Miner<'_>, Error> {
        let message = pairs.message(options).encode()?;
        self.call(Operation::Begin, &message)?;
        Ok(Miner { plugin: self })
    }

    /// Joins parts of the same pairs and of other documents.
    pub fn merge(&mut self, parts: &[Part]) -> Result<Part, Error> {
        let mut message = Message::new(&[]);
        for (i, part) in parts.iter().enumerate() {
            message = message.bytes(format!("part{i}"), part.as_bytes());
        }
        Part::read(self.call(Operation::Merge, &message.encode()?)?)
    }
}

/// Mines documents that come in blocks of any size, in any order.
pub struct Miner<'a> {
    plugin: &'a mut Plugin,
}

impl Miner<'_> {
    /// Mines documents, the first of which is at that position. Each position may come once.
    pub fn push(&mut self, documents: &Vectors, first: u64) -> Result<(), Error> {
        let message = Message::new(&[("first", &first.to_string())]).vectors("documents", documents).encode()?;
        self.plugin.call(Operation::Push, &message).map(drop)
    }

    /// The negatives among all documents so far. The pairs stay, ready for another part.
    pub fn finish(&mut self) -> Result<Part, Error> {
        Part::read(self.plugin.call(Operation::Finish, &[])?)
    }
}
