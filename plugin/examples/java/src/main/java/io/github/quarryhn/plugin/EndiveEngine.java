package io.github.quarryhn.plugin;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.function.Function;
import run.endive.compiler.Cache;
import run.endive.compiler.InterpreterFallback;
import run.endive.compiler.MachineFactoryCompiler;
import run.endive.runtime.ByteArrayMemory;
import run.endive.runtime.ExportFunction;
import run.endive.runtime.HostFunction;
import run.endive.runtime.ImportValues;
import run.endive.runtime.Machine;
import run.endive.wasm.Parser;
import run.endive.wasm.WasmEngineException;
import run.endive.wasm.WasmModule;
import run.endive.wasm.types.FunctionImport;
import run.endive.wasm.types.FunctionType;

/**
 * plugin-scalar.wasm in Java alone: Endive compiles it to the JVM's bytecode, and the module is called by its raw exports. Endive's compiler
 * does not take the SIMD of plugin.wasm.
 */
public final class EndiveEngine implements Engine {
    private final WasmModule module;
    private final Function<run.endive.runtime.Instance, Machine> machine;

    /**
     * @param file the file plugin-scalar.wasm
     * @param cache a folder to keep the bytecode in, which saves most of a start
     */
    public EndiveEngine(Path file, Path cache) throws IOException {
        Files.createDirectories(cache);
        module = Parser.parse(file);
        machine = MachineFactoryCompiler.builder(module)
                .withInterpreterFallback(InterpreterFallback.FAIL)
                .withCache(new Folder(cache))
                .compile();
    }

    @Override
    public Instance open() {
        // The raw exports call none of the imports, which are Extism's.
        ImportValues.Builder imports = ImportValues.builder();
        module.importSection().stream().map(FunctionImport.class::cast).forEach(i -> imports.addFunction(
                new HostFunction(i.module(), i.name(), (FunctionType) module.typeSection().getType(i.typeIndex()), (instance, arguments) -> {
                    throw new IllegalStateException(i.name());
                })));
        return new Raw(run.endive.runtime.Instance.builder(module)
                .withImportValues(imports.build())
                .withMachineFactory(machine)
                .withMemoryFactory(ByteArrayMemory::new)
                .build());
    }

    /** The raw exports of an instance. */
    private static final class Raw implements Instance {
        private final run.endive.runtime.Instance instance;
        private final ExportFunction buffer;
        private final ExportFunction call;
        private final ExportFunction output;

        Raw(run.endive.runtime.Instance instance) {
            this.instance = instance;
            buffer = instance.export("quarry_buffer");
            call = instance.export("quarry_call");
            output = instance.export("quarry_output");
        }

        @Override
        public byte[] call(Operation operation, byte[] message) {
            long status;
            byte[] answer;
            try {
                int address = (int) buffer.apply(message.length)[0];
                if (address == 0) {
                    throw new QuarryException("limit", "a message of " + message.length + " bytes is over the limit", null, null, null);
                }
                instance.memory().write(address, message);
                status = call.apply(operation.ordinal(), message.length)[0];
                answer = read(output);
            } catch (WasmEngineException trap) {
                throw QuarryException.of(text(read(instance.export("quarry_fault"))), trap);
            }
            if (status != 0) {
                throw QuarryException.of(text(answer), null);
            }
            return answer;
        }

        private byte[] read(ExportFunction of) {
            long place = of.apply()[0];
            return instance.memory().readBytes((int) (place >>> 32), (int) place);
        }

        private static String text(byte[] utf8) {
            return new String(utf8, StandardCharsets.UTF_8);
        }

        @Override
        public void close() {} // the garbage collector takes its memory
    }

    /** Keeps bytecode in files. A key is the SHA-256 of the module, in base 64. */
    private record Folder(Path path) implements Cache {
        private Path file(String key) {
            return path.resolve(key.replace('/', '_').replace(':', '-'));
        }

        @Override
        public byte[] get(String key) throws IOException {
            return Files.exists(file(key)) ? Files.readAllBytes(file(key)) : null;
        }

        @Override
        public void putIfAbsent(String key, byte[] bytecode) throws IOException {
            Path unfinished = Files.createTempFile(path, "bytecode", null);
            Files.move(Files.write(unfinished, bytecode), file(key), StandardCopyOption.ATOMIC_MOVE);
        }
    }
}
