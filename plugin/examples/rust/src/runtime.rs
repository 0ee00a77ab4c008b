use std::hash::{DefaultHasher, Hash, Hasher};
use std::{fs, path::Path};

use wasmtime::{InstancePre, Linker, Memory, Module, Store, TypedFunc};

use crate::Error;

/// Operations of the module, with their numbers.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Operation {
    Info,
    LoadProjection,
    Transform,
    Begin,
    Push,
    Finish,
    Select,
    Merge,
    Reset,
}

/// The module, compiled. Threads share it, and each opens a [`Plugin`] of its own.
#[derive(Clone)]
pub struct Engine(InstancePre<()>);

impl Engine {
    /// Compiles plugin.wasm, which takes some seconds.
    pub fn new(wasm: &[u8]) -> Result<Self, Error> {
        Self::link(&Module::new(&wasmtime::Engine::default(), wasm)?)
    }

    /// Compiles plugin.wasm, or takes what was compiled before from a folder. Nobody else may write to the folder: what it holds is run.
    pub fn cached(wasm: &[u8], folder: &Path) -> Result<Self, Error> {
        let engine = wasmtime::Engine::default();
        let mut hash = DefaultHasher::new();
        (wasm, engine.precompile_compatibility_hash()).hash(&mut hash);
        let file = folder.join(format!("{:016x}.cwasm", hash.finish()));
        if !file.exists() {
            fs::create_dir_all(folder)?;
            let unfinished = folder.join(format!("{:016x}.{}", hash.finish(), std::process::id()));
            fs::write(&unfinished, Module::new(&engine, wasm)?.serialize()?)?;
            fs::rename(&unfinished, &file)?;
        }
        // SAFETY: the file is what serialize wrote for this module and this version of wasmtime.
        Self::link(&unsafe { Module::deserialize_file(&engine, &file) }?)
    }

    fn link(module: &Module) -> Result<Self, Error> {
        let mut linker = Linker::new(module.engine());
        linker.define_unknown_imports_as_traps(module)?; // Extism's, of which the raw exports call none
        Ok(Self(linker.instantiate_pre(module)?))
    }
}

/// An instance of the module: it keeps a projection, and the pairs of a [`Miner`](crate::Miner).
pub struct Plugin {
    store: Store<()>,
    memory: Memory,
    buffer: TypedFunc<u32, u32>,
    call: TypedFunc<(u32, u32), u32>,
    output: TypedFunc<(), u64>,
    fault: TypedFunc<(), u64>,
}

impl Plugin {
    pub fn new(engine: &Engine) -> Result<Self, Error> {
        let mut store = Store::new(engine.0.module().engine(), ());
        let instance = engine.0.instantiate(&mut store)?;
        let memory =
            instance.get_memory(&mut store, "memory").ok_or_else(|| Error::internal("the module exports no memory".into()))?;
        Ok(Self {
            memory,
            buffer: instance.get_typed_func(&mut store, "quarry_buffer")?,
            call: instance.get_typed_func(&mut store, "quarry_call")?,
            output: instance.get_typed_func(&mut store, "quarry_output")?,
            fault: instance.get_typed_func(&mut store, "quarry_fault")?,
            store,
        })
    }

    /// Runs an operation on a message, and gives its answer. After an error of code `internal` the instance is of no more use.
    pub fn call(&mut self, operation: Operation, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self.raw(operation, message) {
            Ok((0, answer)) => Ok(answer),
            Ok((_, error)) => Err(Error::read(&error)),
            Err(trap) => {
                let why = self.fault.call(&mut self.store, ()).map(|place| self.read(place)).unwrap_or_default();
                Err(if why.is_empty() { trap.into() } else { Error::read(&why) })
            }
        }
    }

    fn raw(&mut self, operation: Operation, message: &[u8]) -> wasmtime::Result<(u32, Vec<u8>)> {
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let address = self.buffer.call(&mut self.store, bytes)?;
        if address == 0 {
            let over = format!(r#"{{"code":"limit","message":"a message of {} bytes is over the limit"}}"#, message.len());
            return Ok((3, over.into_bytes()));
        }
        self.memory.write(&mut self.store, address as usize, message)?;
        let status = self.call.call(&mut self.store, (operation as u32, bytes))?;
        let place = self.output.call(&mut self.store, ())?;
        Ok((status, self.read(place)))
    }

    fn read(&self, place: u64) -> Vec<u8> {
        let (address, bytes) = ((place >> 32) as usize, place as u32 as usize);
        self.memory.data(&self.store)[address..address + bytes].to_vec()
    }
}
